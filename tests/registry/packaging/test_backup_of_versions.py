"""Versions are in a backup like everything else: live, deleted, and burned."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.backup import Backup
from registry.config import Config
from registry.errors import VersionExists
from registry.fsck import Fsck
from registry.progress import Pace, Progress
from registry.restore import Restore, finish, load_rows
from tests.postgres import PostgresServer
from tests.registry.packaging.shelf import Shelf
from tests.registry.world import World


@pytest.fixture
async def empty_place(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Config]:
    """A data directory and a database that hold nothing."""
    server: PostgresServer | None = None
    if world.config.database:
        server = request.getfixturevalue("postgres_server")
    url = "" if server is None else await server.create_database()
    config = Config(data=str(tmp_path / "restored"), database=url, reserve_bytes=0)
    config.directory.mkdir(mode=0o700)
    yield config
    if server is not None:
        await server.drop_database(url)


async def test_versions_come_back_from_a_backup(
    shelf: Shelf, empty_place: Config, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.0.1", "1.0.2"):
        await shelf.publish(version)
    await shelf.delete("1.0.0")
    await shelf.gc(days=31)
    await shelf.delete("1.0.1")
    world, to = shelf.world, tmp_path / "backup"
    progress = Progress("test", None, io.StringIO())
    over = (world.services.database, world.services.store, world.clock)
    manifest = await Backup(world.config, *over, to).run(progress)
    await load_rows(to, manifest, empty_place)
    restored = World(empty_place, world.clock, world.formats)
    await restored.open()
    try:
        services = restored.services
        await Restore(services.database, services.store, world.clock, to).run(progress)
        finish(empty_place)
        over_restored = (services.database, services.store, world.clock)
        there = Shelf(restored, shelf.who)
        assert await there.versions("full") == await shelf.versions("full")
        assert await there.tags() == await shelf.tags()
        for version in ("1.0.0", "1.0.1", "1.0.2"):
            with pytest.raises(VersionExists):
                await there.publish(version)
        assert await there.restore() == {}
        assert sorted(await there.versions()) == ["1.0.1", "1.0.2"]
        await there.publish("1.0.3")
        await restored.check()
        fsck = Fsck(
            *over_restored, empty_place.directory, repair=False, quick=False, pace=Pace(None)
        )
        assert (await fsck.run(progress)).findings == []
    finally:
        await restored.close()
