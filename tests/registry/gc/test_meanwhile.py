"""Between the list and the deed the world moves on: every step decides again in its transaction."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from auth.audit import OPERATOR
from registry.expiry import expire_deletions, expire_manifests, purge_uploads
from registry.gc import Step, remove_blobs, remove_links
from registry.watched import WatchedDatabase
from storage.database import Database, Row, Value
from storage.digest import Digest
from storage.names import parse_repository
from tests.registry.gc.depot import APP, DAY, Depot, body, image, purge_behind_another

Deed = Callable[[Depot], Awaitable[object]]


class Interrupted(WatchedDatabase):
    """A database that lets something happen once, after the first list was read."""

    def __init__(self, inner: Database, depot: Depot, deed: Deed) -> None:
        super().__init__(inner)
        self._depot = depot
        self._deed: Deed | None = deed

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        rows = await self._inner.fetch(sql, *args)
        deed, self._deed = self._deed, None
        if deed is not None:
            assert rows, "something must be due"
            await deed(self._depot)
        return rows


async def do(step: Step, depot: Depot, deed: Deed) -> int:
    """Run a step with something in between; return how much it removed."""
    term = await depot.term()
    term = replace(term, database=Interrupted(depot.database, depot, deed))
    done = await step(term, depot.collector.retention, depot.clock())
    return sum((done or {}).values())


async def ask(depot: Depot) -> None:
    assert await depot.has_blob(Digest.of(b"layer"))


async def push_again(depot: Depot) -> None:
    await depot.push_blob(b"layer")


async def push_manifest(depot: Depot) -> None:
    await depot.push(image([b"layer"]), "v1")


@pytest.mark.parametrize("deed", [ask, push_again, push_manifest])
async def test_a_link_that_somebody_was_told_of_stays(depot: Depot, deed: Deed) -> None:
    await depot.push_blob(b"layer")
    depot.clock.advance(DAY + 1)
    assert await do(remove_links, depot, deed) == 0
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_a_blob_that_was_pushed_again_stays(depot: Depot) -> None:
    await depot.push_blob(b"layer")
    for _ in range(2):
        depot.clock.advance(DAY + 1)
        term = await depot.term()
        await remove_links(term, depot.collector.retention, depot.clock())
    assert await do(remove_blobs, depot, push_again) == 0
    depot.clock.advance(7200)
    await depot.gc()
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_what_a_purge_marked_and_somebody_pushed_again_stays(depot: Depot) -> None:
    for step in (expire_manifests, remove_links, remove_blobs):
        await purge_behind_another(depot, await depot.delete(await depot.push_image(b"layer")))
        term = await depot.term()
        for before in (expire_manifests, remove_links, remove_blobs):
            if before is step:
                break
            await before(term, depot.collector.retention, depot.clock())
        assert await do(step, depot, push_again) == (step is expire_manifests)
        await depot.gc()
        await depot.push(image([b"layer"]), "v2")
        assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_a_blob_that_was_linked_and_unlinked_again_has_a_new_grace(depot: Depot) -> None:
    async def come_and_go(depot: Depot) -> None:
        await push_again(depot)
        await depot.database.execute("delete from repository_blobs where blob_id > 0")

    await depot.push_blob(b"layer")
    await depot.database.execute("delete from repository_blobs where blob_id > 0")
    depot.clock.advance(DAY + 1)
    assert await do(remove_blobs, depot, come_and_go) == 0


async def test_a_manifest_that_was_restored_stays(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    deletion = await depot.delete(digest)
    depot.clock.advance(30 * DAY)

    depot.clock.advance(1)

    async def in_time(depot: Depot) -> None:
        depot.clock.advance(-2)
        await depot.services.restoration.restore(OPERATOR, APP, deletion)
        depot.clock.advance(2)

    assert await do(expire_manifests, depot, in_time) == 0
    assert await depot.read("v1") == image([b"layer"])
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_a_manifest_that_was_pushed_again_stays(depot: Depot) -> None:
    async def push(depot: Depot) -> None:
        await depot.push_image(b"layer", tag="v2")

    await depot.delete(await depot.push_image(b"layer"))
    depot.clock.advance(31 * DAY)
    assert await do(expire_manifests, depot, push) == 0
    assert await depot.read("v2") == image([b"layer"])


async def test_a_manifest_that_was_pushed_and_deleted_again_has_a_new_window(
    depot: Depot,
) -> None:
    async def come_and_go(depot: Depot) -> None:
        await depot.push_image(b"layer", tag="v2")
        await depot.delete(Digest.of(image([b"layer"])))

    await depot.delete(await depot.push_image(b"layer"))
    depot.clock.advance(31 * DAY)
    assert await do(expire_manifests, depot, come_and_go) == 0
    assert await depot.count("manifests") == 1


async def test_a_deletion_of_a_tag_that_was_restored_stays_undone(depot: Depot) -> None:
    await depot.push_image(b"layer")
    deletion = await depot.delete("v1")
    depot.clock.advance(30 * DAY + 1)

    async def in_time(depot: Depot) -> None:
        depot.clock.advance(-2)
        await depot.services.restoration.restore(OPERATOR, APP, deletion)
        depot.clock.advance(2)

    assert await do(expire_deletions, depot, in_time) == 0
    assert await depot.has("v1")


async def test_an_upload_that_went_on_stays(depot: Depot) -> None:
    upload = await depot.begin()
    await depot.append(upload, b"one")
    depot.clock.advance(DAY)

    async def go_on(depot: Depot) -> None:
        depot.clock.advance(-1)
        await depot.append(upload, b"two")
        depot.clock.advance(1)

    assert await do(purge_uploads, depot, go_on) == 0
    depot.clock.advance(-2)
    await depot.append(upload, b"three")
    assert await depot.count("upload_segments") == 3


async def test_an_upload_that_was_finished_leaves_its_object_to_the_blob(depot: Depot) -> None:
    upload = await depot.begin()
    await depot.append(upload, b"layer")
    depot.clock.advance(DAY)

    async def finish(depot: Depot) -> None:
        depot.clock.advance(-1)
        await depot.services.uploads.finish(
            depot.who, parse_repository(APP), upload, Digest.of(b"layer"), body(b""), None
        )
        depot.clock.advance(1)

    assert await do(purge_uploads, depot, finish) == 0
    depot.clock.advance(7200)
    await depot.gc()
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"
