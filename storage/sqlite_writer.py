"""The one thread of a process that writes to SQLite: group commit under a lock between processes.

Works that wait are committed together, up to 64 at a time, each in a savepoint of its own, with
one COMMIT and therefore one fsync. `write.lock` (flock) is held over every commit, checkpoint and
close of a writing connection: SQLite's own busy handler polls and starves the loser for seconds,
and SQLite before 3.51.3 can corrupt the database when two processes commit and checkpoint at once.
"""

import asyncio
import contextvars
import fcntl
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic

from storage import sqlite_connection as sqlite
from storage.database import Row, T, Value, Work
from storage.errors import Unavailable

GROUP = 64
"""Works in one commit, at most."""

PATIENCE = 30
"""Seconds a work may wait for its turn."""


class FileLock:
    """An exclusive lock between processes; the kernel frees it when its holder dies.

    Open it after forking: a child would share its parent's lock instead of waiting for it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)


class SqliteTransaction:
    """The writer's connection, as a work sees it: no await here ever suspends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, *args: Value) -> int:
        return sqlite.execute(self._connection, sql, args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        return sqlite.fetch(self._connection, sql, args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        return sqlite.fetch_one(self._connection, sql, args)


class Job(Generic[T]):
    """One work on its way to the writer and back."""

    def __init__(self, work: Work[T]) -> None:
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work = work
        self._context = contextvars.copy_context()
        self._claim = threading.Lock()
        self._value: T | None = None
        self.error: BaseException | None = None

    def claim(self) -> bool:
        """Win the race between running this work and giving it up; True once."""
        return self._claim.acquire(blocking=False)

    def give_up(self) -> None:
        """Stop waiting, unless the writer has begun."""
        if self.claim() and not self.future.done():
            busy = Unavailable("the database has been busy for too long: try again")
            self.future.set_exception(busy)

    def run(self, transaction: SqliteTransaction) -> None:
        """Drive the work to its end and keep its value or error."""
        self.error = None
        try:
            self._value = self._context.run(_drive, self._work, transaction)
        except BaseException as error:
            self.error = error

    def settle(self) -> None:
        """Hand value or error over, on the event loop that waits."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self._value)  # type: ignore[arg-type]
        elif isinstance(self.error, sqlite3.Error):
            self.future.set_exception(sqlite.translate(self.error))
        else:
            self.future.set_exception(self.error)


def _drive(work: Work[T], transaction: SqliteTransaction) -> T:
    steps = work(transaction).__await__()
    try:
        next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
    close = getattr(steps, "close", None)
    if close is not None:
        close()
    raise RuntimeError("a transaction awaited something that is not its database")


class Writer:
    """Runs works in order of arrival, in a thread that alone owns the writing connection."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "packhouse.db"
        self._wal = directory / "packhouse.db-wal"
        self._lock = FileLock(directory / "write.lock")
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._ending = False
        self._connection: sqlite3.Connection
        self._transaction: SqliteTransaction
        self._thread: threading.Thread
        self._ended: asyncio.Future[None]

    async def open(self) -> None:
        """Start the thread; return when the database exists and is open."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._ended = loop.create_future()
        # A daemon: to die with the process in the middle of a commit is what SQLite is made for.
        self._thread = threading.Thread(
            target=self._main, args=(loop, opened), name="sqlite-writer", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except BaseException:
            self._queue.put(None)
            raise

    async def run(self, work: Work[T], *, patience: float | None = PATIENCE) -> T:
        """Run `work` in the next group; return its value once the commit is durable.

        A caller that is cancelled while its work waits takes it back; once begun, it is committed.

        Raises Unavailable when its turn does not come within `patience` seconds (None: for ever).
        """
        job = Job(work)
        self._queue.put(job)
        timer = patience and job.future.get_loop().call_later(patience, job.give_up)
        try:
            return await job.future
        finally:
            job.claim()
            if timer:
                timer.cancel()

    async def close(self) -> None:
        """Commit what waits, then close the connection."""
        self._queue.put(None)
        await self._ended
        self._thread.join()

    def owns_thread(self) -> bool:
        """Say whether the caller runs inside a work."""
        return threading.get_ident() == self._thread.ident

    def _main(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        try:
            with self._lock():
                self._connection = sqlite.connect_writer(self._path)
        except BaseException as error:
            self._lock.close()
            _call(loop, _settle, opened, error)
            return
        self._transaction = SqliteTransaction(self._connection)
        _call(loop, _settle, opened, None)
        while not self._ending:
            self._serve()
        with self._lock():
            self._connection.close()  # the last close of a database checkpoints it
        self._lock.close()
        _call(loop, _settle, self._ended, None)

    def _serve(self) -> None:
        """Wait for works, commit them, report, and tidy up when nothing waits."""
        first = self._queue.get()
        if first is None:
            self._ending = True
            return
        jobs = [first]
        try:
            with self._lock():  # works that arrive while it waits join the group
                jobs = [job for job in self._group(first) if job.claim()]
                if jobs:
                    self._commit(jobs)
        except OSError as error:
            first.error = error
        _report(jobs)
        if self._queue.empty():
            self._shrink()

    def _group(self, first: Job[Any]) -> list[Job[Any]]:
        jobs = [first]
        with suppress(Empty):
            while len(jobs) < GROUP:
                job = self._queue.get_nowait()
                if job is None:
                    self._ending = True
                    break
                jobs.append(job)
        return jobs

    def _commit(self, jobs: Sequence[Job[Any]]) -> None:
        """Commit `jobs` as one transaction, or each alone where they fail together.

        A full disk or a deferred foreign key ends the whole transaction; alone, every work meets
        its own fate. Nothing has been reported yet, and a work may run more than once.
        """
        try:
            self._transact(jobs)
        except Exception as error:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
            if len(jobs) == 1 or sqlite.is_busy(error):
                for job in jobs:
                    job.error = error
            else:
                for job in jobs:
                    self._commit([job])

    def _transact(self, jobs: Sequence[Job[Any]]) -> None:
        self._connection.execute("begin immediate")
        for job in jobs:
            self._connection.execute("savepoint work")
            job.run(self._transaction)
            if not self._connection.in_transaction:
                # SQLite itself rolls everything back on a full disk or a failed write.
                if isinstance(job.error, sqlite3.Error):
                    raise job.error
                raise RuntimeError("a transaction was ended from inside") from job.error
            if job.error is not None:
                self._connection.execute("rollback to work")
            self._connection.execute("release work")
        self._connection.execute("commit")

    def _shrink(self) -> None:
        """Cut a large write-ahead log back; a reader in the way means not now."""
        with suppress(OSError, sqlite3.Error):
            if self._wal.stat().st_size <= sqlite.WAL_LIMIT:
                return
            with self._lock():
                self._connection.execute("pragma busy_timeout = 0")
                try:
                    self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
                finally:
                    self._connection.execute("pragma busy_timeout = 5000")


def _report(jobs: Sequence[Job[Any]]) -> None:
    """Wake each waiting event loop once for all its works."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[Job[Any]]] = defaultdict(list)
    for job in jobs:
        loops[job.future.get_loop()].append(job)
    for loop, settled in loops.items():
        _call(loop, _settle_all, settled)


def _settle_all(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        job.settle()


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, function: Any, *args: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *args)
