"""Deletions of a repository: listed, undone, or made final before their time.

A deletion is undone as one: its manifests, the children they need, its tags, and the package if
that was deleted. What happened since goes first: a tag that exists again is left where it points
and reported. For callers that were authorized.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from auth.principals import Principal
from registry.packaging.formats import Formats
from registry.purging import Purging
from registry.retention import CHUNK, PURGED
from registry.undoing import Undoing
from storage.clock import SECOND, Clock
from storage.database import Database, Row
from storage.errors import NotFound
from storage.names import parse_repository

FIND_PACKAGE_STATE = """
select id, owner_id, repository, deleted_at, deletion_id from packages where repository = $1
"""
LIST_DELETIONS = """
select d.id, d.reason, d.deleted_at, a.name as deleted_by,
  (select count(*) from manifests m where m.deletion_id = d.id) as manifests,
  (select count(*) from deleted_tags g where g.deletion_id = d.id) as tags
from deletions d left join accounts a on a.id = d.deleted_by
where d.repository_id = $1 and d.id > $2 order by d.id limit $3
"""


@dataclass(frozen=True, slots=True)
class ListedDeletion:
    """One deletion: what it hid, and when that ends (µs UTC; None once it was purged)."""

    id: int
    reason: str
    deleted_by: str | None
    deleted_at: int
    restorable_until: int | None
    manifests: int
    tags: int


@dataclass(slots=True)
class Restored:
    """What came back; `conflicts` maps a tag to the reason why it did not."""

    manifests: int = 0
    tags: int = 0
    conflicts: dict[str, str] = field(default_factory=dict)


class Restoration:
    """Lists, restores and purges, by repository and the deletion's id."""

    def __init__(
        self, database: Database, purging: Purging, formats: Formats, clock: Clock
    ) -> None:
        self._database = database
        self._purging = purging
        self._retention = purging.retention
        self._formats = formats
        self._clock = clock

    async def list(
        self, repository: str, after: int = 0, limit: int = CHUNK
    ) -> Sequence[ListedDeletion]:
        """Return deletions that can be restored or wait for gc, oldest first. Raises NotFound."""
        package = await self._package(repository)
        rows = await self._database.fetch(LIST_DELETIONS, package["id"], after, limit)
        return [
            ListedDeletion(
                id=row["id"],
                reason=row["reason"],
                deleted_by=row["deleted_by"],
                deleted_at=row["deleted_at"],
                restorable_until=self._until(row["deleted_at"]),
                manifests=row["manifests"],
                tags=row["tags"],
            )
            for row in rows
        ]

    async def restore(self, who: Principal, repository: str, deletion_id: int) -> Restored:
        """Undo a deletion, in chunks.

        Raises NotFound, Conflict when its window has passed or the whole package is deleted.
        """
        package = await self._package(repository)
        restored = Restored()
        undoing = self._undoing(package, deletion_id, who)
        await self._database.write(undoing.check)
        await self._show(undoing, restored)
        await self._database.write(undoing.finish)
        if package["deleted_at"] is not None:
            # A deletion that was still under way has hidden more, and ends now that it is back.
            await self._show(undoing, restored)
            await self._database.write(undoing.close)
        return restored

    async def _show(self, undoing: Undoing, restored: Restored) -> None:
        while chunk := await self._database.write(undoing.show_manifests):
            restored.manifests += chunk
        last: str | None = ""
        while last is not None:
            last = await self._restore_tags(undoing, last, restored)

    async def purge(self, who: Principal, repository: str, deletion_id: int) -> None:
        """End the window of a deletion, and remove the bytes that nothing else needs.

        A package's takes along what it holds for no manifest. Raises NotFound.
        """
        package = await self._package(repository)
        undoing = self._undoing(package, deletion_id, who)
        whole = await self._database.write(undoing.purge)
        await self._purge_all(undoing.purge_manifests)
        if whole:
            await self._purge_all(undoing.purge_blobs)
        await self._purging.finish()

    def _undoing(self, package: Row, deletion_id: int, who: Principal) -> Undoing:
        default = self._formats.default_alias(parse_repository(package["repository"]))
        return Undoing(package, deletion_id, who, self._retention, default, self._clock())

    async def _purge_all(self, step: Callable[..., Awaitable[Sequence[int]]]) -> None:
        """Run a step to its end: each turn goes on after the last row id of the one before."""
        after = 0
        while purged := await self._database.write(partial(step, after=after)):
            after = purged[-1]

    async def _package(self, repository: str) -> Row:
        row = await self._database.fetch_one(FIND_PACKAGE_STATE, repository)
        if row is None:
            raise NotFound(f"there is no package {repository}")
        return row

    async def _restore_tags(self, undoing: Undoing, after: str, restored: Restored) -> str | None:
        chunk = await self._database.write(lambda tx: undoing.show_tags(tx, after))
        restored.tags += chunk.count
        restored.conflicts.update(chunk.conflicts)
        return chunk.last

    def _until(self, deleted_at: int) -> int | None:
        return None if deleted_at == PURGED else deleted_at + self._retention.restore * SECOND
