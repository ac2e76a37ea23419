"""Fixtures of the registry's HTTP tests: a registry with people in it, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from registry.config import Config
from tests.registry.client import Client
from tests.registry.world import SetClock, World

settings.register_profile("busy", deadline=None)  # no timing on a machine that is busy
settings.load_profile("busy")


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A registry on each database in turn; nothing may be left that no row names."""
    config = Config(data=str(tmp_path / "data"), database=database_url, reserve_bytes=0)
    config.directory.mkdir(mode=0o700)
    made = World(config, SetClock())
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
