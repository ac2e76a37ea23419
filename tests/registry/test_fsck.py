"""fsck finds what is not as the rows say, marks it, and the next push heals it."""

import asyncio
import fcntl
import io
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from registry.fsck import PAGE, Finding, Fsck, Position
from registry.progress import Pace, Progress
from storage.blobs import BlobStore
from storage.filesystem import FilesystemStore
from tests.registry.client import Client, digest_of, image_manifest
from tests.registry.processes import Server, run
from tests.registry.world import World

REPOSITORY = "acme/app"


def fsck(
    world: World,
    *,
    repair: bool = False,
    quick: bool = False,
    pace: Pace | None = None,
    store: BlobStore | None = None,
) -> Fsck:
    services = world.services
    where = services.database, store or services.store, services.clock, world.config.directory
    return Fsck(*where, repair=repair, quick=quick, pace=pace or Pace(None))


async def check(world: World, **options: bool) -> Position:
    return await fsck(world, **options).run(Progress("fsck", 0, io.StringIO()))


async def found(world: World, **options: bool) -> list[Finding]:
    return (await check(world, **options)).findings


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.digest) for finding in findings]


async def status(client: Client, digest: str) -> int:
    return (await client.head(f"/v2/{REPOSITORY}/blobs/{digest}")).status_code


async def test_a_sound_registry_has_no_findings(world: World, writer: Client) -> None:
    await writer.push_image(REPOSITORY, "v1", b"layer", b"x" * 3_000_000)
    await writer.push_blob(REPOSITORY, b"long digest", "sha512")
    started = await writer.start(REPOSITORY)
    assert (await writer.patch(started, content=b"half an upload")).status_code == 202
    position = await check(world, repair=True)
    assert position.findings == []
    assert not position.wrong
    blobs = (b"layer", b"x" * 3_000_000, b"long digest", b'{"image": "acme/app:v1"}')
    assert dict(position.checked) == {
        "blobs": len(blobs),
        "bytes": sum(map(len, blobs)),
        "manifests": 1,
        "objects": len(blobs) + 1,
    }


def missing(file: Path) -> None:
    file.unlink()


def truncated(file: Path) -> None:
    os.truncate(file, 3)


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("spoil", [missing, truncated, damaged])
@pytest.mark.parametrize("repair", [False, True])
async def test_what_is_spoiled_is_found_marked_and_healed_by_the_next_push(
    world: World, writer: Client, spoil: Callable[[Path], None], *, repair: bool
) -> None:
    await writer.push_image(REPOSITORY, "v1", b"spoiled", b"whole")
    digest = digest_of(b"spoiled")
    file = await world.file_of_blob(digest)
    spoil(file)
    position = await check(world, repair=repair)
    (finding,) = position.findings
    assert (finding.kind, finding.digest) == (spoil.__name__, digest)
    assert finding.repositories == [REPOSITORY]
    assert position.wrong
    assert await status(writer, digest) == 404
    assert await status(writer, digest_of(b"whole")) == 200
    quarantined = world.config.directory / "quarantine" / file.name
    if repair and spoil is not missing:
        assert not file.exists()
        assert quarantined.stat().st_size == finding.size or spoil is truncated
        assert json.loads(quarantined.with_suffix(".json").read_text())["digest"] == digest
    else:
        assert not quarantined.exists()
    assert kinds(await found(world)) == [("missing" if repair else spoil.__name__, digest)]
    await writer.push_blob(REPOSITORY, b"spoiled")
    assert await status(writer, digest) == 200
    assert await found(world) == []


async def test_reading_keeps_to_its_rate(world: World, writer: Client) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    for data in (b"x" * 3000, b"y" * 2000):
        await writer.push_blob(REPOSITORY, data)
    await fsck(world, pace=Pace(10, sleep)).run(Progress("fsck", 0, io.StringIO()))
    assert waits == [pytest.approx(300, rel=0.1), pytest.approx(500, rel=0.1)]
    waits.clear()
    await fsck(world, pace=Pace(None, sleep)).run(Progress("fsck", 0, io.StringIO()))
    assert waits == []


async def test_quick_reads_no_bytes_and_sees_lengths(world: World, writer: Client) -> None:
    for data, spoil in ((b"first", damaged), (b"second", truncated), (b"third", missing)):
        await writer.push_blob(REPOSITORY, data)
        spoil(await world.file_of_blob(digest_of(data)))
    assert kinds(await found(world, quick=True)) == [
        ("truncated", digest_of(b"second")),
        ("missing", digest_of(b"third")),
    ]


async def test_a_mark_on_a_blob_that_is_whole_again_is_cleared_by_repair(
    world: World, writer: Client
) -> None:
    digest = await writer.push_blob(REPOSITORY, b"on a disk that was away")
    file = await world.file_of_blob(digest)
    away = file.rename(file.with_suffix(".away"))
    assert kinds(await found(world)) == [("missing", digest)]
    away.rename(file)
    assert await status(writer, digest) == 404
    position = await check(world)
    assert kinds(position.findings) == [("recovered", digest)]
    assert position.wrong
    position = await check(world, repair=True)
    assert kinds(position.findings) == [("recovered", digest)]
    assert not position.wrong
    assert await status(writer, digest) == 200


async def test_an_old_object_that_no_row_names_is_an_orphan_and_goes_to_quarantine(
    world: World, writer: Client
) -> None:
    await writer.push_blob(REPOSITORY, b"named")
    key = await store_object(world, b"named by nobody")
    assert kinds(await found(world)) == [], "it may get its row yet"
    os.utime(world.file_of(key), (0, 0))
    (finding,) = await found(world)
    assert (finding.kind, finding.key, finding.size) == ("orphaned", key, 15)
    assert world.file_of(key).exists()
    position = await check(world, repair=True)
    assert [finding.key for finding in position.findings] == [key]
    assert not position.wrong
    assert not world.file_of(key).exists()
    quarantined = world.config.directory / "quarantine" / key
    assert quarantined.read_bytes() == b"named by nobody"
    assert await found(world) == []


async def store_object(world: World, data: bytes) -> str:
    async def chunks():  # type: ignore[no-untyped-def]
        yield data

    return (await world.services.store.write(chunks())).key


async def test_objects_of_uploads_and_of_the_trash_are_no_orphans(
    world: World, writer: Client
) -> None:
    started = await writer.start(REPOSITORY)
    assert (await writer.patch(started, content=b"half an upload")).status_code == 202
    await writer.push_blob(REPOSITORY, b"twice")
    await writer.push_blob(REPOSITORY, b"twice")
    for key in await world.keys():
        os.utime(world.file_of(key), (0, 0))
    assert len(await world.keys()) == 3
    assert await found(world, repair=True) == []


async def test_a_manifest_whose_row_holds_other_bytes_is_found(
    world: World, writer: Client
) -> None:
    manifests = []
    for tag, size in (("small", 1), ("large", 100_000)):
        await writer.push_blob(REPOSITORY, b"layer")
        document = image_manifest(b"layer", b"layer", annotations={"note": "x" * size})
        manifests.append(await writer.push_manifest(REPOSITORY, tag, document))
    assert await found(world) == []
    await world.services.database.execute("update manifest_contents set bytes = $1", b"spoiled")
    findings = await found(world)
    assert kinds(findings) == [("manifest", pushed.digest) for pushed in manifests]
    assert findings[0].repositories == [REPOSITORY]


class Changing(FilesystemStore):
    """Does something else just before it says how long an object is."""

    def __init__(self, directory: Path, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(directory)
        self._meanwhile = meanwhile

    async def size(self, key: str) -> int:
        try:
            return await super().size(key)
        finally:
            await self._meanwhile()


async def test_a_blob_that_a_push_heals_meanwhile_is_no_finding(
    world: World, writer: Client
) -> None:
    digest = await writer.push_blob(REPOSITORY, b"healed")
    truncated(await world.file_of_blob(digest))

    async def heal() -> None:
        await writer.push_blob(REPOSITORY, b"healed")

    store = Changing(world.config.directory, heal)
    run = fsck(world, repair=True, store=store)
    assert (await run.run(Progress("", 0, io.StringIO()))).findings == []
    await store.close()
    assert await status(writer, digest) == 200


class Stopping(FilesystemStore):
    """Is interrupted after some objects."""

    def __init__(self, directory: Path, after: int) -> None:
        super().__init__(directory)
        self.left = after

    async def size(self, key: str) -> int:
        if not self.left:
            raise asyncio.CancelledError
        self.left -= 1
        return await super().size(key)


async def test_an_interrupted_run_goes_on_where_it_stopped(world: World, writer: Client) -> None:
    for number in range(5):
        await writer.push_blob(REPOSITORY, b"%d" % number)
    damaged(await world.file_of_blob(digest_of(b"1")))
    store = Stopping(world.config.directory, 3)
    with suppress(asyncio.CancelledError):
        await fsck(world, store=store).run(Progress("", 0, io.StringIO()))
        pytest.fail("it was interrupted")
    assert fsck(world, quick=True).position.checked == {}, "another kind of run starts anew"
    run = fsck(world, store=store)
    assert (run.position.checked["blobs"], await run.remaining()) == (3, 2)
    store.left = 2
    position = await run.run(Progress("", 0, io.StringIO()))
    assert kinds(position.findings) == [("damaged", digest_of(b"1"))]
    assert position.checked["blobs"] == 5
    assert fsck(world).position.checked == {}, "a finished run leaves nothing behind"
    await store.close()


async def test_a_position_nobody_can_read_is_no_position(world: World) -> None:
    file = world.config.directory / "fsck.json"
    for text in ("", "{", "[]", "5", '{"findings": [{}]}', '{"findings": [], "x": 1}'):
        file.write_text(text)
        assert fsck(world).position.checked == {}


async def test_more_than_a_page_is_looked_at(world: World, writer: Client) -> None:
    for number in range(PAGE + 5):
        await writer.push_blob(REPOSITORY, b"%d" % number)
    position = await check(world)
    assert (position.checked["blobs"], position.findings) == (PAGE + 5, [])


def test_the_command_works_beside_the_server_and_says_with_its_status_what_it_found(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with Server(data) as server, server.client() as client:
        digest = digest_of(b"spoiled")
        post = ("/v2/admin/app/blobs/uploads/", {"digest": digest})
        assert client.post(post[0], params=post[1], content=b"spoiled").status_code == 201
        assert run("fsck", "--data", data).returncode == 0
        (file,) = (path for path in (data / "blobs").rglob("*") if path.is_file())
        damaged(file)
        done = run("fsck", "--data", data, "--rate", "1000000")
        assert done.returncode == 1
        assert done.stdout.startswith(f"damaged\t{digest}\tits bytes are sha256:")
        assert done.stdout.endswith("\tadmin/app\n")
        assert client.head(f"/v2/admin/app/blobs/{digest}").status_code == 404
        done = run("fsck", "--repair", "--json", "--data", data)
        assert done.returncode == 1
        answer = json.loads(done.stdout)
        assert (answer["ok"], answer["checked"]["blobs"]) == (False, 1)
        assert [finding["kind"] for finding in answer["findings"]] == ["damaged"]
        assert client.post(post[0], params=post[1], content=b"spoiled").status_code == 201
        done = run("fsck", "--json", "--data", data)
        assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])


def test_one_fsck_runs_at_a_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run("fsck", "--data", data).returncode == 0
    with (data / "fsck.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("fsck", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "packhouse: another fsck runs: wait for its end\n"
