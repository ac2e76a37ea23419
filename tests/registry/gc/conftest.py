"""A depot on each database in turn."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.connect import open_database
from storage.database import Database
from tests.origins import Origin, PostgresOrigin, SqliteOrigin
from tests.postgres import PostgresServer
from tests.registry.gc.depot import Depot, SetClock


async def begin(url: str, directory: Path) -> None:
    """Make what every depot begins with."""
    async with await open_database(url, directory) as database:
        depot = Depot(database, directory / "data", SetClock())
        await depot.populate()
        await depot.close()


@pytest.fixture(scope="session")
def sqlite_depots(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """What depots on SQLite begin with."""
    return SqliteOrigin(begin, tmp_path_factory.mktemp("depot"))


@pytest.fixture(scope="session")
def postgresql_depots(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """What depots on PostgreSQL begin with."""
    directory = tmp_path_factory.mktemp("depot")
    with closing(PostgresOrigin(begin, directory, postgres_server)) as origin:
        yield origin


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with a depot's schema and rows: '' (SQLite) and PostgreSQL in turn."""
    origin: Origin = request.getfixturevalue(f"{request.param}_depots")
    return origin.fill(tmp_path)


@pytest.fixture
async def depot(database: Database, tmp_path: Path) -> AsyncIterator[Depot]:
    made = Depot(database, tmp_path / "data", SetClock())
    await made.populate()
    try:
        yield made
    finally:
        await made.close()
