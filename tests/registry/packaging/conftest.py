"""A registry that holds packages of the generic format, and somebody who publishes them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.principals import Principal
from registry.config import Config
from registry.packaging.formats import Formats
from tests.registry.packaging.shelf import FORMATS, Shelf
from tests.registry.world import SetClock, World


@pytest.fixture
def formats() -> Formats:
    """The adapters of the world."""
    return FORMATS


@pytest.fixture
async def other(tmp_path: Path, formats: Formats) -> AsyncIterator[World]:
    """Another registry, with people of the same names."""
    config = Config(data=str(tmp_path / "other"), reserve_bytes=0)
    config.directory.mkdir(mode=0o700)
    made = World(config, SetClock(), formats)
    await made.open()
    try:
        await made.populate()
        yield made
        await made.check()
    finally:
        await made.close()


@pytest.fixture
async def writer_of_acme(world: World) -> Principal:
    """Somebody who may push to acme, as a request brings him."""
    found = await world.services.tokens.find(world.tokens["writer"])
    assert found is not None
    return Principal(found.account_id, found.name, found.kind, found.token_id)


@pytest.fixture
def shelf(world: World, writer_of_acme: Principal) -> Shelf:
    """The packages of acme."""
    return Shelf(world, writer_of_acme)
