"""The database of many machines: PostgreSQL through asyncpg.

Reading list: postgresql.org/docs/current/mvcc-serialization-failure-handling.html, and
magicstack.github.io/asyncpg.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from storage import migrations as schema
from storage.database import Database, Question, Row, T, Transaction, Value, Work
from storage.errors import NoSpace, PackhouseError, Unavailable
from storage.values import check_values

ATTEMPTS = 10
"""Runs of one work before a deadlock or serialization failure is the caller's to see."""

PATIENCE = 30
"""Seconds to wait for a connection, and for one statement outside migrations."""

_MIGRATION_LOCK = 0x7061636B  # "pack"

# SQLite has json_each built in; here `value` is text, so both cast it: cast(value as bigint).
# `rows 10` keeps the plans of `in (select value from json_each(...))` index scans.
_JSON_EACH = """
    create function json_each(list text) returns table (value text)
    language sql immutable strict parallel safe rows 10
    as 'select json_array_elements_text(list::json)'
"""

_RETRY = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

# What a work had just read may be otherwise when it writes: gc took the row it names, or another
# transaction the name that it found free. Run again, the work sees that and says so; one that
# fails every time is a bug, and passes as it is.
_OTHERWISE = (asyncpg.ForeignKeyViolationError, asyncpg.UniqueViolationError)
_OTHERWISE_ATTEMPTS = 3
_GONE = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, out of memory
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby
    *_RETRY,
)


class PostgresTransaction:
    """One connection inside BEGIN and COMMIT."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, sql: str, *args: Value) -> int:
        check_values(args)
        return _rows_changed(await self._connection.execute(sql, *args))

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        check_values(args)
        rows: Sequence[Row] = await self._connection.fetch(sql, *args)
        return rows

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        check_values(args)
        row: Row | None = await self._connection.fetchrow(sql, *args)
        return row


class PostgresDatabase(Database):
    """A pool of connections to one database."""

    engine = "postgresql"

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._running = 0
        self._closed = False
        self._idle = asyncio.Event()

    @classmethod
    async def open(cls, url: str, *, pool_size: int = 8) -> Self:
        """Connect to `postgresql://user:password@host/name`.

        `?statement_cache_size=0` turns prepared statements off, as pgbouncer's transaction mode
        needs. Raises Unavailable when the server cannot be reached or does not let us in.
        """
        dsn, cache_size = split_url(url)
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=pool_size,
                command_timeout=PATIENCE,
                statement_cache_size=cache_size,
                init=_prepare_session,
                reset=_keep_session,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable(f"PostgreSQL cannot be used: {error}") from error
        return cls(pool)

    async def write(self, work: Work[T]) -> T:
        for attempt in range(ATTEMPTS):
            async with self._connection() as connection:
                try:
                    async with connection.transaction():
                        return await work(PostgresTransaction(connection))
                except _RETRY:
                    if attempt == ATTEMPTS - 1:
                        raise
                except _OTHERWISE:
                    if attempt >= _OTHERWISE_ATTEMPTS - 1:
                        raise
            await asyncio.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311
        raise AssertionError("unreachable")

    async def execute(self, sql: str, *args: Value) -> int:
        async def work(tx: Transaction) -> int:
            return await tx.execute(sql, *args)

        return await self.write(work)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        async with self._connection() as connection:
            return await PostgresTransaction(connection).fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        async with self._connection() as connection:
            return await PostgresTransaction(connection).fetch_one(sql, *args)

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[Any]:
        return [row[0] for row in await self.fetch(sql, *args)]

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        # Each statement of "read committed" would have a snapshot of its own.
        one = {"isolation": "repeatable_read", "readonly": True}
        async with self._connection() as connection, connection.transaction(**one):
            tx = PostgresTransaction(connection)
            return [await tx.fetch(sql, *args) for sql, *args in questions]

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        return await self.fetch_all(*questions)

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        latest = schema.latest(migrations)
        async with self._connection() as connection:
            for number, sql in migrations:
                async with connection.transaction():
                    tx = PostgresTransaction(_Patient(connection))
                    # Ends with the transaction, so it also works through pgbouncer.
                    await tx.execute(f"select pg_advisory_xact_lock({_MIGRATION_LOCK})")
                    # A migration that waits for a long read makes every later read wait for it.
                    await tx.execute("set local lock_timeout = '2s'")
                    await _create_json_each(tx)
                    await schema.Step(self.engine, number, sql, latest).run(tx)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._running:
                await self._idle.wait()
            await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._closed:
            raise Unavailable("the database is closed: the server is stopping")
        self._running += 1
        try:
            async with self._pool.acquire(timeout=PATIENCE) as connection:
                try:
                    yield connection
                except asyncpg.InterfaceError as error:
                    if _is_lost(connection):
                        raise _translate(error) from error
                    raise  # wrong arguments for a statement: a bug of ours
        except _GONE as error:
            raise _translate(error) from error
        finally:
            self._running -= 1
            if self._closed and not self._running:
                self._idle.set()


class _Patient:
    """A connection without the limit on a statement's time: a migration takes what it takes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, *args: Value) -> Any:
        return self._connection.execute(sql, *args, timeout=float(24 * 3600))

    def fetchrow(self, sql: str, *args: Value) -> Any:
        return self._connection.fetchrow(sql, *args)


def split_url(url: str) -> tuple[str, int]:
    """Take `statement_cache_size` out of the URL, which the server would not understand."""
    base, _, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    ours = [pair for pair in pairs if pair.startswith("statement_cache_size=")]
    kept = "&".join(pair for pair in pairs if pair not in ours)
    size = int(ours[-1].partition("=")[2]) if ours else 100
    return f"{base}?{kept}" if kept else base, size


async def _create_json_each(tx: Transaction) -> None:
    row = await tx.fetch_one("select cast(to_regprocedure('json_each(text)') as text) as name")
    if row is None or row["name"] is None:
        await tx.execute(_JSON_EACH)


async def _prepare_session(connection: Any) -> None:
    """Compile no statement: ours take milliseconds, and compiling a large one takes seconds."""
    await connection.execute("set jit = off")


async def _keep_session(_: object) -> None:
    """Spare the pool's RESET ALL, a round trip a use: no session of ours has settings to reset.

    asyncpg has already rolled back an open transaction when it calls this.
    """


def _rows_changed(status: str) -> int:
    """Read "INSERT 0 3", "UPDATE 2"; "CREATE TABLE" is none."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


def _is_lost(connection: Any) -> bool:
    try:
        closed: bool = connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has thrown it away already
        return True
    return closed


def _translate(error: Exception) -> PackhouseError:
    if isinstance(error, asyncpg.DiskFullError):
        return NoSpace("the disk of the database is full: free some space and try again")
    reason = str(error) or type(error).__name__
    return Unavailable(f"the database cannot be used now ({reason}): try again")
