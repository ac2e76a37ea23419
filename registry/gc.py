"""Garbage collection: always on, incremental, in one process at a time, and never in the way.

Foreign keys say what is needed; `orphaned_at` only suggests where to look. A repository's link to
a blob goes when nothing has named it for the grace, a blob goes when no repository links it, its
object goes when it has lain in the trash. Every step is one chunk of short transactions under the
lease and decides again inside, so a push that comes in between wins; keys are never used again, so
an object in the trash is nobody's.

Reading list: docs/decisions, "Deletion is in two steps"; registry/expiry.py for what comes before,
registry/sweep.py for what crashes leave.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from registry.audit import expire_audit
from registry.blobs import TRASH_DELAY
from registry.expiry import by_repository, expire_deletions, expire_manifests, purge_uploads
from registry.leases import Term
from registry.retention import (
    CHUNK,
    HOLD_PACKAGE,
    PURGED,
    PurgedAlone,
    Retention,
    ids,
    throw_away,
)
from registry.sign_in_expiry import expire_browsers, expire_sign_ins
from registry.sweep import Sweep
from storage.blobs import BlobStore
from storage.clock import Clock
from storage.database import Row, Transaction

LEASE = "gc"
CHUNKS = 20
"""Chunks of one step in one round, at most."""

LIST_ORPHANED_LINKS = """
select repository_id, blob_id from repository_blobs where orphaned_at < $1
order by orphaned_at limit $2
"""
DELETE_LINKS = """
delete from repository_blobs
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and orphaned_at < $3
  and not exists (select 1 from manifest_blobs e
    where e.repository_id = repository_blobs.repository_id
      and e.blob_id = repository_blobs.blob_id)
returning blob_id, orphaned_at
"""
CLEAR_LINK_HINTS = """
update repository_blobs set orphaned_at = null, uploaded_at = null
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and orphaned_at < $3
"""
SUSPECT_BLOBS = """
update blobs set orphaned_at = $2
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
LIST_ORPHANED_BLOBS = """
select id from blobs where orphaned_at < $1 order by orphaned_at limit $2
"""
DELETE_BLOBS = """
delete from blobs
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and orphaned_at < $2
  and not exists (select 1 from repository_blobs rb where rb.blob_id = blobs.id)
returning store, key, size, orphaned_at
"""
CLEAR_BLOB_HINTS = """
update blobs set orphaned_at = null
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and orphaned_at < $2
"""
LIST_DUE_TRASH = "select key from trash where store = 0 and due_at <= $1 order by due_at limit $2"
RESCUE_TRASH = """
delete from trash
where store = 0 and key in (select value from json_each(cast($1 as text)))
  and (exists (select 1 from blobs b where b.key = trash.key)
    or exists (select 1 from upload_segments s where s.key = trash.key))
"""
LIST_TRASH = """
select key from trash
where store = 0 and key in (select value from json_each(cast($1 as text)))
"""
DELETE_TRASH = """
delete from trash
where store = 0 and key in (select value from json_each(cast($1 as text)))
"""

Step = Callable[[Term, Retention, int], Awaitable[Counter[str] | None]]
"""One chunk of work: what it removed, or None when nothing is due."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round removed, and whether it left nothing due."""

    removed: Counter[str]
    finished: bool


class Collector:
    """Removes what nobody needs, a bounded round at a time."""

    def __init__(self, store: BlobStore, retention: Retention, clock: Clock) -> None:
        self._store = store
        self.retention = retention
        self._clock = clock
        self._purged = PurgedAlone()
        self.sweep = Sweep(store)
        self.steps: tuple[Step, ...] = (
            purge_uploads,
            expire_manifests,
            expire_deletions,
            remove_links,
            remove_blobs,
            expire_audit,
            expire_sign_ins,
            expire_browsers,
            self._remove_objects,
            self.sweep.chunk,
        )

    async def round(self, term: Term) -> Round:
        """Do what is due, at most CHUNKS chunks of each step. Raises LeaseLost."""
        removed: Counter[str] = Counter()
        finished = True
        for step in self.steps:
            for _ in range(CHUNKS):
                done = await step(term, self.retention, self._clock())
                if done is None:
                    break
                removed += done
            else:
                finished = False
        return Round(removed, finished)

    async def purge(self, term: Term) -> Counter[str]:
        """Do all that was purged, to its end, and nothing that is due by age. Raises LeaseLost."""
        removed: Counter[str] = Counter()
        steps: tuple[Step, ...] = (
            expire_manifests,
            expire_deletions,
            remove_links,
            remove_blobs,
            self._remove_objects,
        )
        for step in steps:
            while (done := await step(term, self._purged, self._clock())) is not None:
                removed += done
        return removed

    async def _remove_objects(
        self, term: Term, retention: Retention, at: int
    ) -> Counter[str] | None:
        """T8: delete the objects of due trash, then their rows; a crash between repeats it."""
        until = retention.trashed_until(at)
        due = ids(await term.database.fetch(LIST_DUE_TRASH, until, CHUNK), "key")
        if due == "[]":
            return None

        async def check(tx: Transaction) -> list[str]:
            await tx.execute(RESCUE_TRASH, due)
            return [row["key"] for row in await tx.fetch(LIST_TRASH, due)]

        keys = await term.write(check)
        await self._store.delete(keys)
        await term.write(lambda tx: tx.execute(DELETE_TRASH, due))
        return Counter({"objects": len(keys)})


async def remove_links(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """T6: remove repositories' links to blobs that no manifest has named for the grace.

    Where a manifest does, the hint was wrong and is cleared.
    """
    before = retention.orphaned_before(at)
    due = await term.database.fetch(LIST_ORPHANED_LINKS, before, CHUNK)
    removed: Counter[str] = Counter()
    for repository_id, rows in by_repository(due):
        removed += await _remove_links(term, repository_id, ids(rows, "blob_id"), before, at)
    return removed if due else None


async def _remove_links(
    term: Term, repository_id: int, blobs: str, before: int, at: int
) -> Counter[str]:
    async def work(tx: Transaction) -> Counter[str]:
        await tx.execute(HOLD_PACKAGE, repository_id)
        gone = await tx.fetch(DELETE_LINKS, repository_id, blobs, before)
        await tx.execute(CLEAR_LINK_HINTS, repository_id, blobs, before)
        purged, others = _apart(gone)
        await tx.execute(SUSPECT_BLOBS, ids(others, "blob_id"), at)
        await tx.execute(SUSPECT_BLOBS, ids(purged, "blob_id"), PURGED)
        return Counter({"links": len(gone)})

    return await term.write(work)


async def remove_blobs(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """T7: remove blobs that no repository has linked for the grace; their objects become trash.

    There they lie for an hour, so that who has just been told the key still finds them; those of a
    purge do not: what deletion hid has no new readers, and an open file survives its removal.
    """
    before = retention.orphaned_before(at)
    due = ids(await term.database.fetch(LIST_ORPHANED_BLOBS, before, CHUNK))
    if due == "[]":
        return None

    async def work(tx: Transaction) -> Counter[str]:
        gone = await tx.fetch(DELETE_BLOBS, due, before)
        purged, others = _apart(gone)
        await throw_away(tx, others, at + TRASH_DELAY)
        await throw_away(tx, purged, PURGED)
        await tx.execute(CLEAR_BLOB_HINTS, due, before)
        return Counter({"blobs": len(gone), "bytes": sum(row["size"] for row in gone)})

    return await term.write(work)


def _apart(gone: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return what a purge orphaned, and the rest: the mark goes from links to blobs to objects."""
    purged = [row for row in gone if row["orphaned_at"] == PURGED]
    return purged, [row for row in gone if row["orphaned_at"] != PURGED]
