"""What a round of garbage collection would remove, and why; reads only."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from registry.gc import CHUNKS
from registry.retention import CHUNK, PURGED, Retention
from registry.sweep import LIST_KNOWN_KEYS, UNKNOWN_AGE
from storage.blobs import BlobStore
from storage.clock import SECOND, Clock, rfc3339
from storage.database import Database, Row

PREVIEW_UPLOADS = """
select id as name, repository, updated_at as since from uploads
where updated_at <= $1 order by updated_at limit $2
"""
PREVIEW_MANIFESTS = """
select c.digest as name, p.repository, m.deleted_at as since
from manifests m
  join manifest_contents c on c.id = m.content_id join packages p on p.id = m.repository_id
where m.deleted_at < $1
  and not exists (select 1 from manifest_children e join manifests x on x.id = e.parent_id
    where e.child_id = m.id and (x.deleted_at is null or x.deleted_at >= $1))
order by m.deleted_at limit $2
"""
PREVIEW_DELETIONS = """
select cast(d.id as text) as name, p.repository, d.deleted_at as since
from deletions d join packages p on p.id = d.repository_id
where d.deleted_at < $1 order by d.deleted_at limit $2
"""
PREVIEW_LINKS = """
select b.digest as name, p.repository, rb.orphaned_at as since
from repository_blobs rb join blobs b on b.id = rb.blob_id
  join packages p on p.id = rb.repository_id
where rb.orphaned_at < $1
  and not exists (select 1 from manifest_blobs e
    where e.repository_id = rb.repository_id and e.blob_id = rb.blob_id)
order by rb.orphaned_at limit $2
"""
PREVIEW_BLOBS = """
select b.digest as name, '' as repository, b.orphaned_at as since from blobs b
where b.orphaned_at < $1
  and not exists (select 1 from repository_blobs rb where rb.blob_id = b.id)
order by b.orphaned_at limit $2
"""
PREVIEW_OBJECTS = """
select key as name, '' as repository, due_at as since from trash
where store = 0 and due_at <= $1 order by due_at limit $2
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that would go: its kind, where it is, its name, and why."""

    kind: str
    repository: str
    name: str
    why: str


class Preview:
    """Asks what is due, as the steps of a round would."""

    def __init__(
        self, database: Database, store: BlobStore, retention: Retention, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._retention = retention
        self._clock = clock

    async def removals(self) -> AsyncGenerator[Removal]:
        """Yield what a round would remove now, in its order."""
        at, keep = self._clock(), self._retention
        deleted, orphaned = keep.deleted_before(at), keep.orphaned_before(at)
        steps = (
            ("upload", PREVIEW_UPLOADS, keep.uploads_until(at), "its last byte came {}"),
            ("manifest", PREVIEW_MANIFESTS, deleted, "deleted {}, and that cannot be undone now"),
            ("deletion", PREVIEW_DELETIONS, deleted, "its window began {} and has passed"),
            ("link", PREVIEW_LINKS, orphaned, "no manifest has named it here since {}"),
            ("blob", PREVIEW_BLOBS, orphaned, "no repository has linked it since {}"),
            ("object", PREVIEW_OBJECTS, at, "trash, due since {}"),
        )
        for kind, sql, before, why in steps:
            for row in await self._database.fetch(sql, before, CHUNK * CHUNKS):
                yield _removal(kind, row, why)
        async for removal in self._unknown(at - UNKNOWN_AGE * SECOND):
            yield removal

    async def _unknown(self, before: int) -> AsyncIterator[Removal]:
        """Objects that the sweep would throw away."""
        page: dict[str, int] = {}
        async for stored in self._store.list():
            if stored.modified_at < before:
                page[stored.key] = stored.modified_at
            if len(page) == CHUNK:
                for removal in await self._unnamed(page):
                    yield removal
                page = {}
        for removal in await self._unnamed(page):
            yield removal

    async def _unnamed(self, page: dict[str, int]) -> Sequence[Removal]:
        rows = await self._database.fetch(LIST_KNOWN_KEYS, json.dumps(sorted(page)))
        named = {row["key"] for row in rows}
        return [
            Removal("unknown object", "", key, f"no row has named it since {rfc3339(page[key])}")
            for key in sorted(page)
            if key not in named
        ]


def _removal(kind: str, row: Row, why: str) -> Removal:
    said = why.format(rfc3339(row["since"])) if row["since"] != PURGED else "purged"
    return Removal(kind, row["repository"], row["name"], said)
