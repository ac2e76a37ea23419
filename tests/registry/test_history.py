"""Who moved a tag when: told newest first, on the command line too."""

import argparse
import json

import pytest

from registry.running import local_api
from registry.version_commands import package_history
from tests.registry.world import World


async def test_a_tag_s_moves_are_told_newest_first(world: World) -> None:
    writer = world.client()
    first = await writer.push_image("acme/app", "v1", b"first")
    world.clock.advance(60)
    second = await world.client("admin").push_image("acme/app", "v1", b"second")
    await writer.push_image("acme/app", "v2", b"second")
    world.clock.advance(60)
    await writer.delete("/v2/acme/app/manifests/v1")
    package = await world.services.packages.get("acme/app")
    told = await world.services.packages.history(package["id"], "v1")
    start = world.clock() - 120_000_000
    assert [(row["digest"], row["account"], row["changed_at"] - start) for row in told] == [
        (None, "writer", 120_000_000),
        (second.digest, "admin", 60_000_000),
        (first.digest, "writer", 0),
    ]
    assert await world.services.packages.history(package["id"], "v1", told[-1]["id"]) == []


async def test_the_command_tells_all_tags_or_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = world.client()
    image = await writer.push_image("acme/app", "v2", b"image")
    other = await writer.push_image("acme/app", "v1", b"other")
    await writer.delete("/v2/acme/app/manifests/v2")

    async def told(**options: object) -> list[tuple[str, str]]:
        words = argparse.Namespace(repository="acme/app", json=True, **options)
        async with local_api(world.services) as api:
            await package_history(api, words)
        return [(row["tag"], row["digest"]) for row in json.loads(capsys.readouterr().out)]

    every = [("v1", other.digest), ("v2", "deleted"), ("v2", image.digest)]
    assert await told(tag=None) == every
    assert await told(tag="v2") == every[1:]
    assert await told(tag="never") == []
