"""The steps of undoing a deletion, or of ending its window, each a transaction of its own.

Children come before their indexes, manifests before tags, and the package last. A child that
another deletion hid comes back with its index: a live index has live children.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from auth.principals import Principal
from registry.expiry import close_deletions
from registry.manifest_push import INSERT_TAG_HISTORY, UPSERT_TAG
from registry.package_deletion import record_event
from registry.packaging.default_alias import follow_if_gone
from registry.retention import CHUNK, HOLD_PACKAGE, PURGED, Retention, ids
from registry.search_terms import write_terms
from storage.database import Row, Transaction
from storage.errors import Conflict, NotFound

FIND_DELETION = """
select d.deleted_at as at, d.reason,
  p.deleted_at as package_deleted_at, p.deletion_id as package_deletion_id
from deletions d join packages p on p.id = d.repository_id
where d.id = $1 and d.repository_id = $2
"""
LIST_HIDDEN_MANIFESTS = """
select id from manifests where deletion_id = $1 and id > $2 order by id limit $3
"""
LIST_HIDDEN_CHILDREN = """
select distinct m.id from manifest_children e join manifests m on m.id = e.child_id
where e.parent_id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and m.deleted_at is not null and coalesce(m.deletion_id, 0) <> $2
"""
SHOW_MANIFESTS = """
update manifests set deleted_at = null, deletion_id = null
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
LIST_HIDDEN_TAGS = """
select g.name, g.manifest_id, m.content_id, m.deleted_at, m.deletion_id,
  t.manifest_id as now_id, c.digest as now, case when t.updated_at = d.deleted_at then 1 else 0 end
    as moved_by_it
from deleted_tags g
  join deletions d on d.id = g.deletion_id
  join manifests m on m.id = g.manifest_id
  left join tags t on t.repository_id = g.repository_id and t.name = g.name
  left join manifests n on n.id = t.manifest_id
  left join manifest_contents c on c.id = n.content_id
where g.deletion_id = $1 and g.name > $2 order by g.name limit $3
"""
FORGET_HIDDEN_TAG = "delete from deleted_tags where deletion_id = $1 and name = $2"
SHOW_PACKAGE = """
update packages set deleted_at = null, deletion_id = null, revision = revision + 1
where id = $1 and deletion_id = $2
"""
BUMP_PACKAGE = "update packages set revision = revision + 1 where id = $1"
PURGE_MANIFESTS = """
update manifests set deleted_at = $2
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
LIST_HIDDEN_BLOBS = """
select blob_id from repository_blobs
where repository_id = $1 and blob_id > $2 and uploaded_at is null and orphaned_at is not null
order by blob_id limit $3
"""
PURGE_BLOBS = """
update repository_blobs set orphaned_at = $3
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and uploaded_at is null
  and not exists (select 1 from manifest_blobs e
    where e.repository_id = repository_blobs.repository_id
      and e.blob_id = repository_blobs.blob_id)
"""
PURGE_DELETION = "update deletions set deleted_at = $2 where id = $1"


@dataclass(frozen=True, slots=True)
class TagChunk:
    """Tags looked at: how many came back, why others did not, and the name to go on after."""

    count: int
    conflicts: dict[str, str]
    last: str | None


@dataclass(frozen=True, slots=True)
class Undoing:
    """One deletion of one package, step by step; `package` is the row of its state.

    `default_alias` is the one that its versions have, "" for none.
    """

    package: Row
    deletion_id: int
    who: Principal
    retention: Retention
    default_alias: str
    at: int

    async def check(self, tx: Transaction) -> None:
        """Raises NotFound, Conflict."""
        row = await self._begin(tx)
        hidden_by = row["package_deletion_id"]
        if row["at"] < self.retention.deleted_before(self.at):
            raise Conflict(f"deletion {self.deletion_id} can no longer be restored: its time is up")
        if row["package_deleted_at"] is not None and hidden_by != self.deletion_id:
            cure = f"restore deletion {hidden_by} first" if hidden_by else "push to it again"
            raise Conflict(f"the whole package {self._name} was deleted: {cure}")

    async def show_manifests(self, tx: Transaction) -> int:
        """Show some manifests, and the children that they need; 0 when all are back."""
        await tx.execute(HOLD_PACKAGE, self.package["id"])
        chosen = await tx.fetch(LIST_HIDDEN_MANIFESTS, self.deletion_id, 0, CHUNK)
        count, shown = 0, chosen
        while shown:
            count += await tx.execute(SHOW_MANIFESTS, ids(shown))
            shown = await tx.fetch(LIST_HIDDEN_CHILDREN, ids(shown), self.deletion_id)
        return count

    async def show_tags(self, tx: Transaction, after: str) -> TagChunk:
        """Show some of the tags, where their names are free and their manifests are live."""
        await tx.execute(HOLD_PACKAGE, self.package["id"])
        rows = await tx.fetch(LIST_HIDDEN_TAGS, self.deletion_id, after, CHUNK)
        count, conflicts = 0, {}
        for row in rows:
            if reason := _conflict(row, self.default_alias):
                conflicts[str(row["name"])] = reason
            else:
                count += await self._show_tag(tx, row)
            if row["deleted_at"] is None:
                await tx.execute(FORGET_HIDDEN_TAG, self.deletion_id, row["name"])
        return TagChunk(count, conflicts, rows[-1]["name"] if rows else None)

    async def _show_tag(self, tx: Transaction, row: Row) -> int:
        if row["now_id"] == row["manifest_id"]:
            return 0  # it names the same manifest already
        package_id, name, by = self.package["id"], row["name"], self.who.account_id or None
        await tx.execute(UPSERT_TAG, package_id, name, row["manifest_id"], self.at, by)
        await tx.execute(INSERT_TAG_HISTORY, package_id, name, row["content_id"], by, self.at)
        return 1

    async def finish(self, tx: Transaction) -> None:
        """Show the package if this deletion hid it, and record what happened."""
        package_id = self.package["id"]
        await tx.execute(BUMP_PACKAGE, package_id)
        await tx.execute(SHOW_PACKAGE, package_id, self.deletion_id)
        await follow_if_gone(tx, self.who, package_id, self.default_alias, self.at)
        await write_terms(tx, package_id)
        await self.close(tx)
        await record_event(tx, self.who, "deletion.restore", package_id, self.package, self.at)

    async def close(self, tx: Transaction) -> None:
        """Forget the deletion once it hides nothing any more."""
        await close_deletions(tx, self.package["id"], f"[{self.deletion_id}]")

    async def purge(self, tx: Transaction) -> bool:
        """End the window: from now on nothing of it can be restored.

        Says whether the whole package was deleted by it. Raises NotFound.
        """
        row = await self._begin(tx)
        await tx.execute(PURGE_DELETION, self.deletion_id, PURGED)
        package_id = self.package["id"]
        await record_event(tx, self.who, "deletion.purge", package_id, self.package, self.at)
        return bool(row["reason"] == "package")

    async def purge_manifests(self, tx: Transaction, after: int) -> Sequence[int]:
        """End it for some of the manifests after a row id; return their ids, none at the end."""
        await tx.execute(HOLD_PACKAGE, self.package["id"])
        rows = await tx.fetch(LIST_HIDDEN_MANIFESTS, self.deletion_id, after, CHUNK)
        await tx.execute(PURGE_MANIFESTS, ids(rows), PURGED)
        return [row["id"] for row in rows]

    async def purge_blobs(self, tx: Transaction, after: int) -> Sequence[int]:
        """End the grace of some of the blobs that a deleted package holds for no manifest.

        They are hidden like what was deleted: one that was pushed again has its `uploaded_at`.
        """
        await tx.execute(HOLD_PACKAGE, self.package["id"])
        rows = await tx.fetch(LIST_HIDDEN_BLOBS, self.package["id"], after, CHUNK)
        await tx.execute(PURGE_BLOBS, self.package["id"], ids(rows, "blob_id"), PURGED)
        return [row["blob_id"] for row in rows]

    async def _begin(self, tx: Transaction) -> Row:
        await tx.execute(HOLD_PACKAGE, self.package["id"])
        row = await tx.fetch_one(FIND_DELETION, self.deletion_id, self.package["id"])
        if row is None:
            raise NotFound(
                f"{self._name} has no deletion {self.deletion_id}: "
                f"see 'packhouse package deletions {self._name}'"
            )
        return row

    @property
    def _name(self) -> str:
        name: str = self.package["repository"]
        return name


def _conflict(row: Row, default_alias: str) -> str | None:
    """Say why a tag cannot come back; a default alias does that the deletion moved on last."""
    if row["deleted_at"] is not None:
        other = row["deletion_id"]
        return f"its manifest was deleted too: restore deletion {other} first"
    moved_back = row["name"] == default_alias and row["moved_by_it"]
    if row["now_id"] not in (None, row["manifest_id"]) and not moved_back:
        return f"it exists again and names {row['now']}"
    return None
