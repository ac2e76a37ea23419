"""Keys that change: what was signed goes on, on every worker, until the old key ends."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from auth.audit import OPERATOR
from auth.signing_keys import LOOK_SECONDS, PURPOSES, lifetime_seconds
from tests.registry.client import Client, digest_of, refused
from tests.registry.processes import run
from tests.registry.world import World

SCOPE = "repository:acme/app:pull,push"
DATA = b"half of a layer" * 2


async def rotate(world: World) -> None:
    """Rotate in a process of its own, as the command line does."""
    config = world.config
    keep = lifetime_seconds(config.bearer_seconds, config.upload_seconds)
    async with world.another_worker() as operator:
        await operator.services.keys.rotate(OPERATOR, keep)


def on(world: World, client: Client) -> Client:
    """The same credentials at another worker."""
    return Client(world, client.authorization)


async def test_bearers_of_the_old_and_the_new_key_are_good_everywhere(world: World) -> None:
    async with world.another_worker() as other:
        old = await world.signed_in("writer").bearer(SCOPE)
        assert (await on(other, old).get("/v2/")).status_code == 200
        await rotate(world)
        # This worker has not looked again, and signs with the old key still.
        late = await world.signed_in("writer").bearer(SCOPE)
        world.clock.advance(LOOK_SECONDS)
        new = await world.signed_in("writer").bearer(SCOPE)
        for client in (old, late, new):
            assert (await client.get("/v2/")).status_code == 200
            assert (await on(other, client).get("/v2/")).status_code == 200
        keys = {(await worker.services.keys.current("bearer")).kid for worker in (world, other)}
        assert len(keys) == 1


async def test_an_unknown_key_id_is_looked_for_at_once(world: World) -> None:
    async with world.another_worker() as other:
        assert (await (await other.signed_in("writer").bearer()).get("/v2/")).status_code == 200
        await rotate(world)
        await world.services.keys.load()
        new = await world.signed_in("writer").bearer()
        assert (await on(other, new).get("/v2/")).status_code == 200


async def test_an_upload_goes_on_across_rotations_and_workers(world: World) -> None:
    writer = world.client()
    old = await writer.start("acme/app")
    async with world.another_worker() as other:
        await rotate(world)
        elsewhere = on(other, writer)
        patched = await elsewhere.patch(old, content=DATA[:15])
        assert patched.status_code == 202
        await other.services.keys.load()
        new = await elsewhere.start("acme/app")  # signed with a key this worker has not seen
        assert (await writer.patch(new, content=DATA)).status_code == 202
    await rotate(world)
    world.clock.advance(LOOK_SECONDS)
    assert (await writer.patch(patched.headers["location"], content=DATA[15:])).status_code == 202
    for location in (old, new):
        done = await writer.put(location, params={"digest": digest_of(DATA)})
        assert done.status_code == 201


async def test_an_old_key_ends_when_nothing_that_it_signed_lives(world: World) -> None:
    config = world.config
    keep = lifetime_seconds(config.bearer_seconds, config.upload_seconds)
    assert keep > config.bearer_seconds + 24 * 3600
    bearer = await world.signed_in("writer").bearer(SCOPE)
    location = await bearer.start("acme/app")
    await rotate(world)
    world.clock.advance(24 * 3600 - 1)
    # Long after its end a bearer still finishes an upload it began.
    done = await bearer.put(location, params={"digest": digest_of(DATA)}, content=DATA)
    assert done.status_code == 201
    world.clock.advance(keep)
    for key_id in [row["kid"] for row in await world.services.keys.rows() if row["retired_at"]]:
        for purpose in PURPOSES:
            assert await world.services.keys.find(key_id, purpose) is None
    await rotate(world)
    ends = [row["retired_at"] is not None for row in await world.services.keys.rows()]
    assert ends == [True, True, False, False]


async def test_keys_that_were_stolen_end_at_once(world: World) -> None:
    bearer = await world.signed_in("writer").bearer(SCOPE)
    assert (await bearer.get("/v2/")).status_code == 200
    location = await world.client().start("acme/app")
    async with world.another_worker() as operator:
        await operator.services.keys.rotate(OPERATOR, 0)
    world.clock.advance(LOOK_SECONDS)
    refused(await bearer.get("/v2/"), 401, "UNAUTHORIZED", "not signed by this registry")
    put = await world.client().put(location, params={"digest": digest_of(DATA)}, content=DATA)
    refused(put, 404, "BLOB_UPLOAD_UNKNOWN")
    assert (await (await world.signed_in("writer").bearer()).get("/v2/")).status_code == 200


async def test_rotations_at_once_leave_keys_that_sign(world: World) -> None:
    await asyncio.gather(*(rotate(world) for _ in range(5)))
    world.clock.advance(LOOK_SECONDS)
    bearer = await world.signed_in("writer").bearer()
    assert (await bearer.get("/v2/")).status_code == 200
    signing = [row["purpose"] for row in await world.services.keys.rows() if not row["retired_at"]]
    assert set(signing) == set(PURPOSES)


@pytest.mark.parametrize("purpose", ["bearer", "upload", "all"])
def test_a_database_without_keys_gets_them_at_start(tmp_path: Path, purpose: str) -> None:
    data = tmp_path / "data"
    assert run("user", "list", "--data", data).returncode == 0
    which = "" if purpose == "all" else f" where purpose = '{purpose}'"
    with sqlite3.connect(data / "packhouse.db") as connection:
        connection.execute(f"delete from signing_keys{which}")
    connection.close()
    listed = run("key", "list", "--data", data)
    assert listed.returncode == 0
    assert {line.split("\t")[1] for line in listed.stdout.splitlines()} == set(PURPOSES)
    assert "no key to sign with" in listed.stderr
    assert "no key to sign with" not in run("key", "list", "--data", data).stderr
