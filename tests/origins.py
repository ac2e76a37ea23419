"""What tests begin with: schema and first rows, made once a process and copied for each test."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.postgres import PostgresServer

FILE = "packhouse.db"

# What there was at first is kept beside it, in a schema of its own: one call brings it back.
_TABLES = """
    select tablename as name from pg_tables
    where schemaname = 'public' and tablename <> 'schema' order by tablename
"""
_RESTORE = """
    create function origin.restore() returns void language plpgsql as $$
    begin
        set local session_replication_role = replica;  -- in any order
        {steps}
    end $$
"""

Make = Callable[[str, Path], Coroutine[Any, Any, Any]]
"""Makes schema and rows in an empty database; returns what tests want to know of them."""


class Origin(Protocol):
    """The beginning of many tests on one engine."""

    made: Any

    def fill(self, directory: Path) -> str:
        """Put the database into a data directory; returns its URL."""

    def close(self) -> None:
        """Let go of what `fill` needs."""


class SqliteOrigin:
    """A file that is copied."""

    def __init__(self, make: Make, directory: Path) -> None:
        self._file = directory / FILE
        self.made = asyncio.run(make("", directory))
        assert not self._file.with_name(f"{FILE}-wal").exists(), "rows are not in the file yet"

    def fill(self, directory: Path) -> str:
        shutil.copy(self._file, directory)
        return ""

    def close(self) -> None:
        return


class PostgresOrigin:
    """One database, whose rows are deleted and copied: far faster than another database."""

    def __init__(self, make: Make, directory: Path, server: PostgresServer) -> None:
        self._url = asyncio.run(server.create_database())
        self.made = asyncio.run(make(self._url, directory))
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(self._connect())

    def fill(self, directory: Path) -> str:
        self._loop.run_until_complete(self._connection.execute("select origin.restore()"))
        return self._url

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()

    async def _connect(self) -> Any:
        connection = await asyncpg.connect(self._url)
        steps = []
        await connection.execute("create schema origin")
        for name in [row["name"] for row in await connection.fetch(_TABLES)]:
            steps.append(f"delete from public.{name};")
            if await connection.fetchval(f"select exists (select 1 from public.{name})"):
                await connection.execute(f"create table origin.{name} as table public.{name}")
                steps.append(f"insert into public.{name} overriding system value")
                steps.append(f"select * from origin.{name};")
        await connection.execute(_RESTORE.format(steps="\n".join(steps)))
        return connection
