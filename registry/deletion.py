"""Deleting manifests, versions, tags: hidden at once as one deletion, restorable until it expires.

With a manifest go the children that nothing else holds and what refers to it (untagged referrers,
cosign's and the referrers tag schema's tags); edges stay, so foreign keys keep the bytes until
the deletion is purged. A child of a live index stays: deleting it would break the index. Whoever
deletes a version's own tag deletes the version; the default alias moves on to the newest left.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auth.permissions import Access, Permissions
from auth.principals import Action, Principal
from registry.manifest_push import INSERT_TAG_HISTORY
from registry.manifest_store import unknown
from registry.packaging.default_alias import follow
from registry.packaging.formats import Formats
from registry.packaging.version_rows import FIND_OF_MANIFEST
from registry.repositories import lock, record
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import NotAllowed
from storage.names import RepositoryName, Tag

MAX_DELETED = 10_000
_COSIGN_SUFFIXES = ("", ".sig", ".att", ".sbom")

FIND_LIVE = """
select m.id from manifests m join manifest_contents c on c.id = m.content_id
where m.repository_id = $1 and m.deleted_at is null and c.digest = $2
"""
FIND_PARENT = """
select c.digest from manifest_children e
  join manifests m on m.id = e.parent_id
  join manifest_contents c on c.id = m.content_id
where e.child_id = $1 and m.deleted_at is null order by m.id limit 1
"""
_UNHELD = """
not exists (
  select 1 from manifest_children o join manifests p on p.id = o.parent_id
  where o.child_id = m.id and p.deleted_at is null
    and p.id not in (select cast(value as bigint) from json_each(cast($2 as text))))
"""
LIST_LOOSE_CHILDREN = f"""
select distinct e.child_id as id from manifest_children e join manifests m on m.id = e.child_id
where e.parent_id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and m.deleted_at is null
  and not exists (select 1 from tags t where t.manifest_id = m.id)
  and {_UNHELD}
"""
LIST_REFERRERS = f"""
select m.id from manifests m
where m.repository_id = $3 and m.deleted_at is null
  and m.subject in (select c.digest from manifests s join manifest_contents c on c.id = s.content_id
    where s.id in (select cast(value as bigint) from json_each(cast($1 as text))))
  and not exists (select 1 from tags t where t.manifest_id = m.id)
  and {_UNHELD}
"""
LIST_DIGESTS = """
select c.digest from manifests m join manifest_contents c on c.id = m.content_id
where m.id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
LIST_NAMED_TAGS = f"""
select t.manifest_id from tags t join manifests m on m.id = t.manifest_id
where t.repository_id = $3 and t.name in (select value from json_each(cast($1 as text)))
  and {_UNHELD}
"""
LIST_TAGS_OF = """
select t.name, t.manifest_id from tags t
where t.manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
FIND_LEFT = """
select v.id from package_versions v join manifests m on m.id = v.manifest_id
where v.package_id = $1 and m.deleted_at is null
  and m.id not in (select cast(value as bigint) from json_each(cast($2 as text))) limit 1
"""
INSERT_DELETION = """
insert into deletions (repository_id, reason, deleted_by, deleted_at) values ($1, $2, $3, $4)
returning id
"""
HIDE_MANIFESTS = """
update manifests set deleted_at = $2, deletion_id = $3
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and deleted_at is null
"""
INSERT_DELETED_TAG = """
insert into deleted_tags (deletion_id, repository_id, name, manifest_id) values ($1, $2, $3, $4)
"""
DELETE_TAG = "delete from tags where repository_id = $1 and name = $2"
FIND_TAG = """
select t.manifest_id, c.digest from tags t join manifests m on m.id = t.manifest_id
  join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and t.name = $2
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go with a manifest: the digests of manifests, itself too, and tags."""

    digests: Sequence[str]
    tags: Sequence[str]


class Deletion:
    """Deletes tags and manifests; every method authorizes its caller."""

    def __init__(
        self, database: Database, permissions: Permissions, formats: Formats, clock: Clock
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._formats = formats
        self._clock = clock

    async def delete_tag(self, who: Principal, repository: RepositoryName, tag: Tag) -> None:
        """Remove a tag and nothing else; with a version's own tag the version goes.

        Raises ManifestUnknown, NotAllowed for the default alias, and what judge raises.
        """
        access = await self._permissions.require(who, Action.DELETE, repository)
        removal = await self._removal(who, access, tag)

        async def work(tx: Transaction) -> None:
            await lock(tx, removal.repository_id)
            row = await tx.fetch_one(FIND_TAG, removal.repository_id, tag)
            if row is None:
                raise unknown(repository, tag)
            if await removal.owns(tx, tag, row["manifest_id"]):
                await removal.hide(tx, row["manifest_id"], row["digest"])
                return
            deletion_id = await removal.begin(tx, "tag")
            await removal.remove_tags(tx, deletion_id, [(str(tag), row["manifest_id"])])
            await removal.event(tx, "tag.delete", tag)

        await self._database.write(work)

    async def delete_manifest(
        self, who: Principal, repository: RepositoryName, digest: Digest
    ) -> None:
        """Hide a manifest, its tags, and what exists only because of it.

        Raises ManifestUnknown, NotAllowed for a child of a live index, and what judge raises.
        """
        access = await self._permissions.require(who, Action.DELETE, repository)
        removal = await self._removal(who, access, digest)

        async def work(tx: Transaction) -> None:
            await lock(tx, removal.repository_id)
            row = await tx.fetch_one(FIND_LIVE, removal.repository_id, digest)
            if row is None:
                raise unknown(repository, digest)
            await removal.hide(tx, row["id"], digest)

        await self._database.write(work)

    async def plan(self, who: Principal, repository: RepositoryName, digest: Digest) -> Plan:
        """Say what `delete_manifest` would hide now. Raises what it raises."""
        access = await self._permissions.require(who, Action.DELETE, repository)
        removal = await self._removal(who, access, digest)
        row = await self._database.fetch_one(FIND_LIVE, removal.repository_id, digest)
        if row is None:
            raise unknown(repository, digest)
        await _refuse_child(self._database, row["id"], digest)
        hidden = await removal.closure(self._database, row["id"])
        digests = await self._database.fetch(LIST_DIGESTS, _json(hidden))
        rows = await self._database.fetch(LIST_TAGS_OF, _json(hidden))
        tags = {row["name"] for row in rows}
        if await self._database.fetch_one(FIND_LEFT, removal.repository_id, _json(hidden)):
            tags.discard(removal.default_alias)  # it moves there
        return Plan(sorted(row["digest"] for row in digests), sorted(tags))

    async def _removal(self, who: Principal, access: Access, reference: Digest | Tag) -> "_Removal":
        if access.package_id is None:
            raise unknown(access.repository, reference)
        default = self._formats.default_alias(access.repository)
        return _Removal(who, access, access.package_id, default, self._clock())


@dataclass(frozen=True, slots=True)
class _Removal:
    """The steps of one deletion inside its transaction."""

    who: Principal
    access: Access
    repository_id: int
    default_alias: str
    at: int

    async def owns(self, tx: Transaction, tag: Tag, manifest_id: int) -> bool:
        """Whether a tag is the own one of a version. Raises NotAllowed for the default alias."""
        version = await tx.fetch_one(FIND_OF_MANIFEST, manifest_id)
        if version is None or version["tag"] == tag:
            return version is not None
        if tag == self.default_alias:
            raise NotAllowed(
                f"{tag} always names a version of {self.access.repository}: point it at another, "
                "or delete the version that it names"
            )
        return False

    async def hide(self, tx: Transaction, manifest_id: int, digest: Digest) -> None:
        """Hide a manifest and what goes with it. Raises NotAllowed for a child of a live index."""
        await _refuse_child(tx, manifest_id, digest)
        hidden = await self.closure(tx, manifest_id)
        version = await tx.fetch_one(FIND_OF_MANIFEST, manifest_id)
        tags = {
            row["name"]: row["manifest_id"] for row in await tx.fetch(LIST_TAGS_OF, _json(hidden))
        }
        deletion_id = await self.begin(tx, "manifest")
        await tx.execute(HIDE_MANIFESTS, _json(hidden), self.at, deletion_id)
        await self.remove_tags(tx, deletion_id, tags.items())
        if version is None:
            await self.event(tx, "manifest.delete", digest)
        else:
            await self.event(tx, "version.delete", version["name"], digest)

    async def begin(self, tx: Transaction, reason: str) -> int:
        by = self.who.account_id or None
        row = await tx.fetch_one(INSERT_DELETION, self.repository_id, reason, by, self.at)
        if row is None:
            raise RuntimeError("an insert returned no row")
        deletion_id: int = row["id"]
        return deletion_id

    async def remove_tags(
        self, tx: Transaction, deletion_id: int, tags: Iterable[tuple[str, int]]
    ) -> None:
        """Remove tags; the default alias moves on instead, and is told where it came from."""
        by, package = self.who.account_id or None, (self.who, self.repository_id)
        for name, manifest_id in tags:
            await tx.execute(INSERT_DELETED_TAG, deletion_id, self.repository_id, name, manifest_id)
            if name == self.default_alias and await follow(tx, *package, name, self.at):
                continue
            await tx.execute(DELETE_TAG, self.repository_id, name)
            await tx.execute(INSERT_TAG_HISTORY, self.repository_id, name, None, by, self.at)

    async def closure(self, tx: Transaction, manifest_id: int) -> set[int]:
        """Return the manifest with everything that goes with it, to a fixpoint."""
        hidden, added = {manifest_id}, {manifest_id}
        while added and len(hidden) < MAX_DELETED:
            found = await tx.fetch(LIST_LOOSE_CHILDREN, _json(added), _json(hidden))
            ids = {row["id"] for row in found}
            found = await tx.fetch(LIST_REFERRERS, _json(added), _json(hidden), self.repository_id)
            ids |= {row["id"] for row in found}
            ids |= await self._named_after(tx, added, hidden)
            added = ids - hidden
            hidden |= added
        return hidden

    async def _named_after(self, tx: Transaction, ids: set[int], hidden: set[int]) -> set[int]:
        """Return manifests whose tags are made from the digests of `ids` (cosign 2, fallback)."""
        digests = [Digest(row["digest"]) for row in await tx.fetch(LIST_DIGESTS, _json(ids))]
        names = [digest.fallback_tag + end for digest in digests for end in _COSIGN_SUFFIXES]
        found = await tx.fetch(
            LIST_NAMED_TAGS, json.dumps(names), _json(hidden), self.repository_id
        )
        return {row["manifest_id"] for row in found}

    async def event(self, tx: Transaction, kind: str, subject: str, detail: str = "") -> None:
        by = (self.who, self.access, self.repository_id)
        await record(tx, kind, *by, subject, detail, self.at)


async def _refuse_child(tx: Transaction, manifest_id: int, digest: Digest) -> None:
    parent = await tx.fetch_one(FIND_PARENT, manifest_id)
    if parent is not None:
        raise NotAllowed(
            f"manifest {digest} is part of index {parent['digest']}: delete that first",
            detail={"digest": str(digest), "index": parent["digest"]},
        )


def _json(ids: Iterable[int]) -> str:
    return json.dumps(sorted(ids))
