"""The sweep: once a day, page by page, what no hint points at.

Under PostgreSQL two transactions can each leave the last hint to the other, and crashes leave
objects that no row names. The sweep finds both; it gives hints and fills the trash, and the
ordinary steps decide.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from auth.audit import OPERATOR
from registry.blobs import TRASH_DELAY
from registry.expiry import DELETE_CONTENTS, by_repository
from registry.leases import Term
from registry.owner_words import LIST_PENDING, follow_words
from registry.package_deletion import delete_package
from registry.retention import CHUNK, HOLD_PACKAGE, INSERT_TRASHED, Retention, ids
from storage.blobs import BlobStore, Stored
from storage.clock import SECOND
from storage.database import Row, Transaction

PERIOD = 86400
"""Seconds from the end of one sweep to the next."""

UNKNOWN_AGE = 86400
"""Seconds an object stays that no row names: a request may be about to write that row."""

SWEEP_LINKS = """
select repository_id, blob_id,
  case when orphaned_at is not null then 1
    when exists (select 1 from manifest_blobs e where e.repository_id = rb.repository_id
      and e.blob_id = rb.blob_id) then 1
    else 0 end as known
from repository_blobs rb where (repository_id, blob_id) > ($1, $2)
order by repository_id, blob_id limit $3
"""
SUSPECT_LINKS = """
update repository_blobs set orphaned_at = $3
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and orphaned_at is null
  and not exists (select 1 from manifest_blobs e
    where e.repository_id = repository_blobs.repository_id
      and e.blob_id = repository_blobs.blob_id)
"""
SWEEP_BLOBS = """
select id, case when orphaned_at is not null then 1
    when exists (select 1 from repository_blobs rb where rb.blob_id = b.id) then 1
    else 0 end as known
from blobs b where id > $1 order by id limit $2
"""
SUSPECT_UNLINKED = """
update blobs set orphaned_at = $2
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and orphaned_at is null
  and not exists (select 1 from repository_blobs rb where rb.blob_id = blobs.id)
"""
SWEEP_CONTENTS = """
select id, case when exists (select 1 from manifests m where m.content_id = c.id) then 1
    when exists (select 1 from tag_history h where h.content_id = c.id) then 1
    else 0 end as known
from manifest_contents c where id > $1 order by id limit $2
"""
SWEEP_PACKAGES = """
select id, case when deleted_at is null then 1
    when exists (select 1 from manifests m
      where m.repository_id = p.id and m.deleted_at is null) then 0
    else 1 end as known
from packages p where id > $1 order by id limit $2
"""
LIST_KNOWN_KEYS = """
select key from blobs where key in (select value from json_each(cast($1 as text)))
union all
select key from upload_segments where key in (select value from json_each(cast($1 as text)))
union all
select key from trash
where store = 0 and key in (select value from json_each(cast($1 as text)))
"""


_Pages = AsyncGenerator[Counter[str], None]


@runtime_checkable
class KeepsDrafts(Protocol):
    """A store that writes to drafts first, which a crash may leave behind."""

    async def discard_drafts(self, before: int) -> int:
        """Remove drafts last written before `before` (µs UTC) and say how many."""


class Sweep:
    """One pass after the other, a page at a time; the place is kept in memory."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._pass: _Pass | None = None
        self._pages: _Pages | None = None
        self._next_at = 0

    async def chunk(self, term: Term, _: Retention, at: int) -> Counter[str] | None:
        """Look at one page; None when a pass has ended, and until the next is due."""
        if self._pass is None or self._pages is None:
            if at < self._next_at:
                return None
            self._pass = _Pass(self._store, term, at)
            self._pages = self._pass.pages()
        current, self._pass = self._pass, None  # an error ends the pass: the next one begins anew
        current.term, current.at = term, at
        done = await anext(self._pages, None)
        if done is None:
            self._next_at = at + PERIOD * SECOND
        else:
            self._pass = current
        return done

    async def close(self) -> None:
        """Forget the place; the next page begins a new pass."""
        if self._pages is not None:
            async with aclosing(self._pages):
                self._pass = None


@dataclass(slots=True)
class _Pass:
    """One pass; `term` and `at` are those of the page it is at."""

    store: BlobStore
    term: Term
    at: int

    async def pages(self) -> _Pages:
        """Do the pages of every stage, one for each turn."""
        for stage in (
            self._links,
            self._blobs,
            self._contents,
            self._packages,
            self._owners,
            self._objects,
        ):
            async with aclosing(stage()) as pages:
                async for done in pages:
                    yield done
        if isinstance(self.store, KeepsDrafts):
            await self.term.renew()
            count = await self.store.discard_drafts(self._old)
            yield Counter({"drafts": count})

    async def _links(self) -> _Pages:
        after = (0, 0)
        while rows := await self.term.database.fetch(SWEEP_LINKS, *after, CHUNK):
            after = (rows[-1]["repository_id"], rows[-1]["blob_id"])
            for repository_id, group in by_repository(_unknown(rows)):
                await self._suspect_links(repository_id, ids(group, "blob_id"))
            yield Counter()

    async def _suspect_links(self, repository_id: int, blobs: str) -> None:
        at = self.at

        async def work(tx: Transaction) -> None:
            await tx.execute(HOLD_PACKAGE, repository_id)
            await tx.execute(SUSPECT_LINKS, repository_id, blobs, at)

        await self.term.write(work)

    async def _blobs(self) -> _Pages:
        async for unknown in self._rows(SWEEP_BLOBS):
            await self._run(SUSPECT_UNLINKED, unknown, self.at)
            yield Counter()

    async def _contents(self) -> _Pages:
        async for unknown in self._rows(SWEEP_CONTENTS):
            yield Counter({"contents": await self._run(DELETE_CONTENTS, unknown)})

    async def _packages(self) -> _Pages:
        async for unfinished in self._rows(SWEEP_PACKAGES):
            for row in unfinished:
                await delete_package(self.term.write, OPERATOR, row["id"], self.at)
            yield Counter()

    async def _owners(self) -> _Pages:
        for row in await self.term.database.fetch(LIST_PENDING, CHUNK):
            await follow_words(self.term.write, row["name"])
            yield Counter()

    async def _rows(self, sql: str) -> AsyncIterator[list[Row]]:
        """Yield what is not `known` of each page of a table."""
        after = 0
        while rows := await self.term.database.fetch(sql, after, CHUNK):
            after = rows[-1]["id"]
            yield _unknown(rows)

    async def _run(self, sql: str, rows: list[Row], *args: int) -> int:
        """Run one statement over the ids of `rows`, and say how many rows it changed."""
        if not rows:
            return 0
        chosen = ids(rows)
        return await self.term.write(lambda tx: tx.execute(sql, chosen, *args))

    async def _objects(self) -> _Pages:
        objects = self.store.list()
        while page := await _take(objects, CHUNK):
            keys = [stored.key for stored in page if stored.modified_at < self._old]
            yield await self._throw_unknown(json.dumps(keys))

    async def _throw_unknown(self, keys: str) -> Counter[str]:
        """Trash those of `keys` that no row names; the trash looks once more when it is due."""
        at = self.at
        if not await self._unnamed(self.term.database, keys):
            return Counter()

        async def work(tx: Transaction) -> int:
            unnamed = await self._unnamed(tx, keys)
            return await tx.execute(INSERT_TRASHED, 0, json.dumps(unnamed), at + TRASH_DELAY)

        return Counter({"unknown objects": await self.term.write(work)})

    @staticmethod
    async def _unnamed(tx: Transaction, keys: str) -> list[str]:
        named = {row["key"] for row in await tx.fetch(LIST_KNOWN_KEYS, keys)}
        return sorted(set(json.loads(keys)) - named)

    @property
    def _old(self) -> int:
        return self.at - UNKNOWN_AGE * SECOND


def _unknown(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row["known"]]


async def _take(objects: AsyncIterator[Stored], count: int) -> list[Stored]:
    taken: list[Stored] = []
    async for stored in objects:
        taken.append(stored)
        if len(taken) == count:
            break
    return taken
