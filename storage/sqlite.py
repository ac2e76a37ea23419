"""The embedded database: SQLite in WAL mode, one thread that writes, readers that never wait."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from storage import migrations as schema
from storage import sqlite_connection as sqlite
from storage.database import Database, Question, Row, T, Transaction, Value, Work
from storage.errors import Unavailable
from storage.sqlite_answers import Answers
from storage.sqlite_writer import Writer

SCANNERS = 2
"""Connections, each in its thread, for reads that may take long."""


class SqliteDatabase(Database):
    """`packhouse.db` and `write.lock` in one directory, shared by any number of processes."""

    engine = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._path = directory / "packhouse.db"
        self._writer = Writer(directory)
        self._reader: sqlite3.Connection
        self._answers: Answers
        self._scanners: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._threads = ThreadPoolExecutor(SCANNERS, "sqlite-scanner")
        self._closed = False

    @classmethod
    async def open(cls, directory: Path) -> Self:
        """Open the database of `directory`, making both where they are missing.

        Raises DatabaseUnsuitable on a network file system or with an SQLite before 3.35, and
        Unavailable when the files cannot be opened.
        """
        sqlite.prepare_directory(directory)
        self = cls(directory)
        with _translated():
            await self._writer.open()
            try:
                # Only now is the file in WAL mode, whoever made it.
                self._reader = sqlite.connect_reader(self._path)
                self._answers = Answers(self._reader)
                for _ in range(SCANNERS):
                    self._scanners.put(sqlite.connect_scanner(self._path))
            except BaseException:
                await self._writer.close()
                raise
        return self

    async def write(self, work: Work[T]) -> T:
        self._check_caller()
        return await self._writer.run(work)

    async def execute(self, sql: str, *args: Value) -> int:
        async def work(tx: Transaction) -> int:
            return await tx.execute(sql, *args)

        return await self.write(work)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        self._check_caller()
        try:
            return self._answers.fetch_one(sql, args)
        except sqlite3.Error as error:
            return await self._read_later(error, sqlite.fetch_one, sql, args)

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[Any]:
        self._check_caller()
        try:
            return self._answers.fetch_column(sql, args)
        except sqlite3.Error as error:
            return await self._read_later(error, sqlite.fetch_column, sql, args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        self._check_caller()
        with _translated():
            return await self._scan(sqlite.fetch, sql, args)

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        self._check_caller()
        with _translated():
            return await self._scan(sqlite.fetch_all, questions)

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        return await self._read(sqlite.fetch_all, questions)

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        latest = schema.latest(migrations)
        for number, sql in migrations:
            step = schema.Step(self.engine, number, sql, latest)
            await self._writer.run(step.run, patience=None)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        # Each close runs behind the scans already queued, and takes a connection no scan holds.
        closing = [loop.run_in_executor(self._threads, self._close_one) for _ in range(SCANNERS)]
        await asyncio.gather(*closing)
        self._threads.shutdown()
        self._reader.close()
        await self._writer.close()

    def _check_caller(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed: the server is stopping")
        if self._writer.owns_thread():
            raise RuntimeError("a transaction used the database instead of its Transaction")

    async def _read(self, read: Callable[..., T], *asked: object) -> T:
        self._check_caller()
        try:
            return read(self._reader, *asked)
        except sqlite3.Error as error:
            return await self._read_later(error, read, *asked)

    async def _read_later(self, error: sqlite3.Error, read: Callable[..., T], *asked: object) -> T:
        """Wait off the loop for who was in the way, as after a crash: its log is recovered."""
        if not sqlite.is_busy(error):
            raise sqlite.translate(error)
        with _translated():
            return await self._scan(read, *asked)

    async def _scan(self, read: Callable[..., T], *asked: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._scan_here, read, *asked)

    def _scan_here(self, read: Callable[..., T], *asked: object) -> T:
        connection = self._scanners.get()
        try:
            return read(connection, *asked)
        finally:
            self._scanners.put(connection)

    def _close_one(self) -> None:
        self._scanners.get().close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise sqlite.translate(error)  # noqa: B904 - translate() sets the cause
