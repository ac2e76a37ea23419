"""Fixtures of the registry's HTTP tests: a registry with people in it, on both databases."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from registry.app import FORMATS
from registry.config import Config
from registry.packaging.formats import Formats
from tests.origins import Origin, PostgresOrigin, SqliteOrigin
from tests.postgres import PostgresServer
from tests.registry.client import Client
from tests.registry.world import SetClock, World

settings.register_profile("busy", deadline=None)  # no timing on a machine that is busy
settings.load_profile("busy")


async def begin(url: str, directory: Path) -> dict[str, str]:
    """Make what every world begins with; return the people's tokens."""
    made = World(Config(data=str(directory), database=url, reserve_bytes=0), SetClock())
    await made.open()
    try:
        await made.populate()
    finally:
        await made.close()
    return made.tokens


@pytest.fixture(scope="session")
def sqlite_origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """What worlds on SQLite begin with."""
    return SqliteOrigin(begin, tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="session")
def postgresql_origin(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """What worlds on PostgreSQL begin with."""
    directory = tmp_path_factory.mktemp("origin")
    with closing(PostgresOrigin(begin, directory, postgres_server)) as origin:
        yield origin


@pytest.fixture(params=["sqlite", "postgresql"])
def origin(request: pytest.FixtureRequest) -> Origin:
    """What worlds begin with, on each database in turn."""
    found: Origin = request.getfixturevalue(f"{request.param}_origin")
    return found


@pytest.fixture
def peopled(origin: Origin, tmp_path: Path) -> Config:
    """A data directory and a database with the people of a world."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return Config(data=str(directory), database=origin.fill(directory), reserve_bytes=0)


@pytest.fixture
def formats() -> Formats:
    """The adapters of the world."""
    return FORMATS


@pytest.fixture
async def world(peopled: Config, origin: Origin, formats: Formats) -> AsyncIterator[World]:
    """A registry on each database in turn; nothing may be left that no row names."""
    made = World(peopled, SetClock(), formats)
    made.tokens |= origin.made
    await made.open()
    try:
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
