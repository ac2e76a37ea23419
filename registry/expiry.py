"""What ends by its age: uploads nobody continues, and deletions whose window has passed.

Each function does one chunk in short transactions under the lease and returns what it removed, or
None when nothing is due. It decides again inside the transaction, under the package's lock: what
was pushed or restored since the list was read stays.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from registry.blobs import TRASH_DELAY
from registry.leases import Term
from registry.retention import CHUNK, HOLD_PACKAGE, PURGED, Retention, ids, throw_away
from storage.database import Row, Transaction

MANIFEST_CHUNK = 100
"""Manifests of one transaction: each brings some dozens of edges."""

LIST_EXPIRED_UPLOADS = """
select id from uploads where updated_at <= $1 order by updated_at limit $2
"""
CLOSE_EXPIRED_UPLOADS = """
update uploads set closed_at = coalesce(closed_at, $3)
where id in (select value from json_each(cast($1 as text))) and updated_at <= $2 returning id
"""
LIST_SEGMENT_KEYS = """
select store, key from upload_segments
where upload_id in (select value from json_each(cast($1 as text))) limit $2
"""
DELETE_SEGMENTS_BY_KEY = """
delete from upload_segments where key in (select value from json_each(cast($1 as text)))
"""
DELETE_UPLOADS = """
delete from uploads where id in (select value from json_each(cast($1 as text)))
  and not exists (select 1 from upload_segments s where s.upload_id = uploads.id)
"""

LIST_UNMARKED = """
select m.id, m.repository_id from deletions d join manifests m on m.deletion_id = d.id
where d.deleted_at = $1 and m.deleted_at > $1
  and not exists (select 1 from manifest_children e where e.child_id = m.id)
limit $2
"""
MARK_PURGED = """
update manifests set deleted_at = $2
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and exists (select 1 from deletions d where d.id = manifests.deletion_id and d.deleted_at = $2)
"""
LIST_EXPIRED_MANIFESTS = """
select id, repository_id from manifests where deleted_at < $1 order by deleted_at limit $2
"""
LIST_EXPIRED_PARENTS = """
select distinct p.id, p.repository_id
from manifest_children e join manifests p on p.id = e.parent_id
where e.child_id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and p.deleted_at < $2 limit $3
"""
LIST_REMOVABLE = """
select m.id, m.content_id, m.deletion_id, m.deleted_at from manifests m
where m.id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and m.deleted_at < $2
  and not exists (select 1 from manifest_children e where e.child_id = m.id)
"""
LIST_BLOBS_OF = """
select distinct blob_id from manifest_blobs
where manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_BLOB_EDGES = """
delete from manifest_blobs
where manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_CHILD_EDGES = """
delete from manifest_children
where parent_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_TAGS_OF = """
delete from tags
where manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_DELETED_TAGS_OF = """
delete from deleted_tags
where manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
_OF_VERSIONS = """
version_id in (select v.id from package_versions v
  where v.manifest_id in (select cast(value as bigint) from json_each(cast($1 as text))))
"""
DELETE_FRAGMENTS_OF = f"delete from version_fragments where {_OF_VERSIONS}"
DELETE_FILES_OF = f"delete from version_files where {_OF_VERSIONS}"
BURN_VERSIONS = """
update package_versions set manifest_id = null, facts = '{}', state = '{}'
where manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_MANIFESTS = """
delete from manifests
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_HISTORY_OF = """
delete from tag_history
where content_id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and repository_id = $2
"""
DELETE_CONTENTS = """
delete from manifest_contents
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and not exists (select 1 from manifests m where m.content_id = manifest_contents.id)
  and not exists (select 1 from tag_history h where h.content_id = manifest_contents.id)
"""
ORPHAN_BLOBS = """
update repository_blobs set
  orphaned_at = case when uploaded_at is null then cast($4 as bigint) else cast($3 as bigint) end
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and not exists (select 1 from manifest_blobs e
    where e.repository_id = repository_blobs.repository_id
      and e.blob_id = repository_blobs.blob_id)
"""
REVIVE_CHILDREN = """
update manifests set deleted_at = null, deletion_id = null
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and deleted_at < $2
  and exists (select 1 from manifest_children e join manifests p on p.id = e.parent_id
    where e.child_id = manifests.id and p.deleted_at is null)
"""
POSTPONE_CHILDREN = """
update manifests set deleted_at = (
  select max(p.deleted_at) from manifest_children e join manifests p on p.id = e.parent_id
  where e.child_id = manifests.id)
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and deleted_at < $2
  and exists (select 1 from manifest_children e join manifests p on p.id = e.parent_id
    where e.child_id = manifests.id and p.deleted_at >= $2)
"""

LIST_EXPIRED_DELETIONS = """
select d.id, d.repository_id from deletions d
where d.deleted_at < $1 and not exists (select 1 from manifests m where m.deletion_id = d.id)
order by d.deleted_at limit $2
"""
FORGET_DELETED_TAGS = """
delete from deleted_tags where (deletion_id, name) in (
  select g.deletion_id, g.name from deleted_tags g
  where g.deletion_id in (select cast(value as bigint) from json_each(cast($1 as text)))
  limit $2)
"""
DELETE_DELETIONS = """
delete from deletions
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and not exists (select 1 from manifests m where m.deletion_id = deletions.id)
  and not exists (select 1 from deleted_tags g where g.deletion_id = deletions.id)
"""
FORGET_PACKAGE_DELETION = """
update packages set deletion_id = null
where id = $1 and deletion_id is not null
  and not exists (select 1 from deletions d where d.id = packages.deletion_id)
"""


async def purge_uploads(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """Close uploads whose last byte is too old, throw their objects away, forget them.

    Tombstones of finished and cancelled ones go too: their signed ids are too old to open anything.
    A request that still runs finds its upload closed, and its own object becomes trash.
    """
    before = retention.uploads_until(at)
    due = await term.database.fetch(LIST_EXPIRED_UPLOADS, before, CHUNK)
    if not due:
        return None

    async def work(tx: Transaction) -> Counter[str]:
        closed = ids(await tx.fetch(CLOSE_EXPIRED_UPLOADS, ids(due), before, at))
        segments = await tx.fetch(LIST_SEGMENT_KEYS, closed, CHUNK)
        await throw_away(tx, segments, at + TRASH_DELAY)  # whoever reads them may finish
        await tx.execute(DELETE_SEGMENTS_BY_KEY, ids(segments, "key"))
        removed = await tx.execute(DELETE_UPLOADS, closed)
        return Counter({"uploads": removed})

    return await term.write(work)


async def expire_manifests(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """T5: remove manifests whose deletion cannot be undone any more, indexes before children."""
    before = retention.deleted_before(at)
    due = await term.database.fetch(LIST_EXPIRED_MANIFESTS, before, MANIFEST_CHUNK)
    if not due:
        return Counter() if await _mark_purged(term) else None
    chosen = due
    while parents := await term.database.fetch(
        LIST_EXPIRED_PARENTS, ids(chosen), before, MANIFEST_CHUNK
    ):
        chosen = parents
    removed: Counter[str] = Counter()
    for repository_id, rows in by_repository(chosen):
        expired = _Expired(repository_id, ids(rows), before, at)
        removed += await term.write(expired.remove)
    return removed


async def _mark_purged(term: Term) -> bool:
    """Mark what purged deletions hide without a mark; say whether there was any.

    A purge may have died before, or an index of another deletion have needed a child until now.
    """
    due = await term.database.fetch(LIST_UNMARKED, PURGED, CHUNK)
    for repository_id, rows in by_repository(due):
        await _mark(term, repository_id, ids(rows))
    return bool(due)


async def _mark(term: Term, repository_id: int, manifests: str) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute(HOLD_PACKAGE, repository_id)
        await tx.execute(MARK_PURGED, manifests, PURGED)

    await term.write(work)


@dataclass(frozen=True, slots=True)
class _Expired:
    """Manifests of one repository on their way out, in a transaction that may run again."""

    repository_id: int
    candidates: str
    before: int
    at: int

    async def remove(self, tx: Transaction) -> Counter[str]:
        await tx.execute(HOLD_PACKAGE, self.repository_id)
        going = await tx.fetch(LIST_REMOVABLE, self.candidates, self.before)
        if going:
            await self._remove_edges(tx, going)
            await _burn(tx, ids(going))
            await tx.execute(DELETE_MANIFESTS, ids(going))
            contents = ids(going, "content_id")
            await tx.execute(DELETE_HISTORY_OF, contents, self.repository_id)
            await tx.execute(DELETE_CONTENTS, contents)
            await close_deletions(tx, self.repository_id, ids(going, "deletion_id"))
        await self._keep_children(tx)
        return Counter({"manifests": len(going)})

    async def _remove_edges(self, tx: Transaction, going: Sequence[Row]) -> None:
        """Nobody was told of a blob that only hidden manifests named: a purge needs no grace."""
        manifests = ids(going)
        purged = ids(row for row in going if row["deleted_at"] == PURGED)
        blobs = ids(await tx.fetch(LIST_BLOBS_OF, manifests), "blob_id")
        purged_blobs = ids(await tx.fetch(LIST_BLOBS_OF, purged), "blob_id")
        await tx.execute(DELETE_BLOB_EDGES, manifests)
        await tx.execute(ORPHAN_BLOBS, self.repository_id, blobs, self.at, self.at)
        await tx.execute(ORPHAN_BLOBS, self.repository_id, purged_blobs, self.at, PURGED)
        await tx.execute(DELETE_CHILD_EDGES, manifests)
        await tx.execute(DELETE_DELETED_TAGS_OF, manifests)
        await tx.execute(DELETE_TAGS_OF, manifests)

    async def _keep_children(self, tx: Transaction) -> None:
        """A child of a live index is live; one of an index that may return waits for it."""
        await tx.execute(REVIVE_CHILDREN, self.candidates, self.before)
        await tx.execute(POSTPONE_CHILDREN, self.candidates, self.before)


async def _burn(tx: Transaction, manifests: str) -> None:
    """Leave nothing of versions but their names, which never take other bytes."""
    await tx.execute(DELETE_FRAGMENTS_OF, manifests)
    await tx.execute(DELETE_FILES_OF, manifests)
    await tx.execute(BURN_VERSIONS, manifests)


async def expire_deletions(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """Forget deletions that are past their window and hold tags alone, or nothing."""
    before = retention.deleted_before(at)
    due = await term.database.fetch(LIST_EXPIRED_DELETIONS, before, CHUNK)
    removed: Counter[str] = Counter()
    for repository_id, rows in by_repository(due):
        removed += await _forget(term, repository_id, ids(rows))
    return removed if due else None


async def _forget(term: Term, repository_id: int, deletions: str) -> Counter[str]:
    async def work(tx: Transaction) -> Counter[str]:
        await tx.execute(HOLD_PACKAGE, repository_id)
        await tx.execute(FORGET_DELETED_TAGS, deletions, CHUNK)
        return Counter({"deletions": await close_deletions(tx, repository_id, deletions)})

    return await term.write(work)


async def close_deletions(tx: Transaction, repository_id: int, deletions: str) -> int:
    """Remove those of `deletions` (JSON ids) that hold nothing any more, and say how many."""
    count = await tx.execute(DELETE_DELETIONS, deletions)
    if count:
        await tx.execute(FORGET_PACKAGE_DELETION, repository_id)
    return count


def by_repository(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Group rows by their repository, in the order of its id."""
    ordered = sorted(rows, key=lambda row: int(row["repository_id"]))
    for repository_id, group in groupby(ordered, key=lambda row: int(row["repository_id"])):
        yield repository_id, list(group)
