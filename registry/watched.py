"""A database and a store that pass every call on: what watches them overrides some.

They are held to the contracts of storage/database.py and storage/blobs.py like any driver.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.blobs import BlobStore, Stored
from storage.database import Database, Question, Row, T, Value, Work


class WatchedDatabase(Database):
    """A database behind another of the same interface."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.engine = inner.engine

    async def execute(self, sql: str, *args: Value) -> int:
        return await self._inner.execute(sql, *args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        return await self._inner.fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        return await self._inner.fetch_one(sql, *args)

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[Any]:
        return await self._inner.fetch_column(sql, *args)

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        return await self._inner.fetch_all(*questions)

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        return await self._inner.fetch_few(*questions)

    async def write(self, work: Work[T]) -> T:
        return await self._inner.write(work)

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        await self._inner.migrate(migrations)

    async def close(self) -> None:
        await self._inner.close()


class WatchedStore:
    """A BlobStore behind another of the same interface."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        discard = getattr(inner, "discard_drafts", None)
        if discard is not None:  # a store that keeps drafts (registry/sweep.py) still does
            self.discard_drafts = discard

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Keep `chunks` under a new key."""
        return await self._inner.write(chunks)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes [start, stop)."""
        return self._inner.read(key, start, stop)

    async def size(self, key: str) -> int:
        """Return the object's size in bytes."""
        return await self._inner.size(key)

    def path(self, key: str) -> Path | None:
        """Return the local file for zero copy, or None."""
        return self._inner.path(key)

    async def url(self, key: str, expires: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL of the object, or None."""
        return await self._inner.url(key, expires, headers)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget these objects."""
        await self._inner.delete(keys)

    def list(self) -> AsyncIterator[Stored]:
        """Yield every object."""
        return self._inner.list()
