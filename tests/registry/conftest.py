"""Fixtures of the registry's HTTP tests: a registry with people in it, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from registry.app import FORMATS
from registry.config import Config
from registry.packaging.formats import Formats
from storage import migrations
from storage.postgres import PostgresDatabase
from tests.postgres import PostgresServer
from tests.registry.client import Client
from tests.registry.world import SetClock, World

settings.register_profile("busy", deadline=None)  # no timing on a machine that is busy
settings.load_profile("busy")


@pytest.fixture(scope="session")
def migrated_url(postgres_server: PostgresServer) -> str:
    """One PostgreSQL database with our schema, whose tables each test empties."""

    async def make() -> str:
        url = await postgres_server.create_database()
        async with await PostgresDatabase.open(url) as database:
            await database.migrate(migrations.load())
        return url

    return asyncio.run(make())


@pytest.fixture(params=["sqlite", "postgresql"])
def world_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database for a world: SQLite's and the migrated PostgreSQL's in turn."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("migrated_url")
    return url


async def empty(url: str) -> None:
    """Delete all rows but the schema's: five times as fast as another database."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        tables = [row["tablename"] for row in rows if row["tablename"] != "schema"]
        await connection.execute("set session_replication_role = replica")  # in any order
        await connection.execute(";".join(f"delete from {table}" for table in tables))
    finally:
        await connection.close()


@pytest.fixture
def formats() -> Formats:
    """The adapters of the world."""
    return FORMATS


@pytest.fixture
async def world(world_url: str, formats: Formats, tmp_path: Path) -> AsyncIterator[World]:
    """A registry on each database in turn; nothing may be left that no row names."""
    if world_url:
        await empty(world_url)
    config = Config(data=str(tmp_path / "data"), database=world_url, reserve_bytes=0)
    config.directory.mkdir(mode=0o700)
    made = World(config, SetClock(), formats)
    await made.open()
    try:
        await made.populate()
        yield made
        if not made.damaged:
            await made.check()
    finally:
        await made.close()


@pytest.fixture
def writer(world: World) -> Client:
    """Somebody who may push to acme."""
    return world.client("writer")


@pytest.fixture
def reader(world: World) -> Client:
    """Somebody who may pull from acme."""
    return world.client("reader")


@pytest.fixture
def stranger(world: World) -> Client:
    """Somebody without any role at acme."""
    return world.client("stranger")


@pytest.fixture
def anonymous(world: World) -> Client:
    """Nobody."""
    return world.client("")
