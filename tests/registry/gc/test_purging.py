"""A purge takes its bytes along at once, and never what somebody else holds or was told of."""

import asyncio

import pytest

from auth.audit import OPERATOR
from registry.app import FORMATS
from registry.leases import LeaseLost, Leases
from registry.purging import LEASE, Purging
from registry.restoration import Restoration
from registry.watched import WatchedDatabase
from storage.database import Database, T, Work
from storage.digest import Digest
from tests.registry.gc.depot import (
    APP,
    DAY,
    Depot,
    image,
    index,
    purge_behind_another,
)

OTHER = "admin/other"
LAYER = b"layer"
ROUNDS = 200


async def purge(depot: Depot, deletion: int, repository: str = APP) -> None:
    await depot.services.restoration.purge(OPERATOR, repository, deletion)


async def delete_package(depot: Depot, repository: str = APP) -> int:
    return (await depot.services.packages.delete(OPERATOR, repository)).id


async def assert_nothing_left(depot: Depot) -> None:
    assert depot.objects() == []
    for table in ("manifests", "manifest_contents", "repository_blobs", "blobs", "trash"):
        assert await depot.count(table) == 0, table


async def test_the_bytes_of_a_version_are_gone_when_its_purge_returns(depot: Depot) -> None:
    await purge(depot, await depot.delete(await depot.push_image(b"one", b"two")))
    await assert_nothing_left(depot)


async def test_the_bytes_of_an_index_and_its_children_go_together(depot: Depot) -> None:
    children = [image([layer]) for layer in (b"arm", b"amd")]
    for layer, child in zip((b"arm", b"amd"), children, strict=True):
        await depot.push_blob(layer)
        await depot.push(child)
    await purge(depot, await depot.delete(await depot.push(index(children), "v1")))
    await assert_nothing_left(depot)


async def test_a_purged_package_takes_along_what_no_manifest_named(depot: Depot) -> None:
    await depot.push_image(LAYER)
    await depot.push_blob(b"never named")
    await purge(depot, await delete_package(depot))
    await assert_nothing_left(depot)


async def test_a_purged_version_leaves_what_waits_for_its_manifest(depot: Depot) -> None:
    deletion = await depot.delete(await depot.push_image(LAYER))
    await depot.push_blob(b"waiting")
    await purge(depot, deletion)
    assert await depot.read_blob(Digest.of(b"waiting")) == b"waiting"
    assert len(depot.objects()) == 1


async def test_a_layer_that_was_pushed_again_after_the_deletion_keeps_its_grace(
    depot: Depot,
) -> None:
    deletion = await depot.delete(await depot.push_image(LAYER))
    await depot.push_blob(LAYER)
    await purge(depot, deletion)
    depot.clock.advance(DAY - 1)
    await depot.gc()
    await depot.push(image([LAYER]), "v2")
    assert await depot.read_blob(Digest.of(LAYER)) == LAYER


async def test_a_package_that_was_pushed_to_again_keeps_what_came_since(depot: Depot) -> None:
    await depot.push_image(LAYER)
    await depot.push_blob(b"never named")
    deletion = await delete_package(depot)
    await depot.push_blob(b"never named")
    await purge(depot, deletion)
    assert await depot.read_blob(Digest.of(b"never named")) == b"never named"
    assert await depot.has_blob(Digest.of(LAYER)) is False


@pytest.mark.parametrize("holder", ["tag", "deleted", "package", "mount"])
async def test_a_layer_that_something_else_holds_stays_whole(depot: Depot, holder: str) -> None:
    deletion = None
    if holder == "tag":
        await depot.push_image(LAYER, b"more", tag="other")
    elif holder == "deleted":
        await depot.push_image(LAYER, b"more", tag="other")
        deletion = await depot.delete(Digest.of(image([LAYER, b"more"])))
    elif holder == "package":
        await depot.push_image(LAYER, repository=OTHER)
    purged = await depot.push_image(LAYER)
    if holder == "mount":
        assert await depot.mount(Digest.of(LAYER), OTHER)
    await purge(depot, await depot.delete(purged))
    if deletion is not None:
        await depot.services.restoration.restore(OPERATOR, APP, deletion)
    where = OTHER if holder in ("package", "mount") else APP
    assert await depot.read_blob(Digest.of(LAYER), where) == LAYER
    assert not await depot.has(purged)


async def test_what_is_due_by_age_waits_for_a_round_of_gc(depot: Depot) -> None:
    await depot.delete(await depot.push_image(b"old", tag="old"))
    depot.clock.advance(31 * DAY)
    await purge(depot, await depot.delete(await depot.push_image(LAYER)))
    assert len(depot.objects()) == 1
    assert await depot.gc() == {"manifests": 1}


async def test_a_reader_who_has_begun_may_finish(depot: Depot) -> None:
    deletion = await depot.delete(await depot.push_image(LAYER * 500_000))
    (key,) = depot.objects()
    pieces = depot.store.read(key)
    read = await anext(pieces)
    await purge(depot, deletion)
    assert depot.objects() == []
    assert read + b"".join([piece async for piece in pieces]) == LAYER * 500_000


class Died(Exception):
    """A process that is no more."""


class Mortal(WatchedDatabase):
    """A database whose process dies after some transactions."""

    def __init__(self, inner: Database, transactions: int) -> None:
        super().__init__(inner)
        self.left = transactions

    async def write(self, work: Work[T]) -> T:
        if self.left == 0:
            raise Died
        self.left -= 1
        return await super().write(work)


async def test_wherever_a_purge_dies_the_next_round_of_gc_goes_on(depot: Depot) -> None:
    """It dies before each of its transactions in turn, but for the one that says "purged"."""
    died, transactions = True, 1
    while died:
        await depot.push_image(LAYER)
        deletion = await delete_package(depot)
        mortal = Mortal(depot.database, transactions)
        purging = Purging(depot.collector, Leases(mortal, depot.clock, "mortal"))
        restoration = Restoration(mortal, purging, FORMATS, depot.clock)
        try:
            await restoration.purge(OPERATOR, APP, deletion)
            died = False
        except Died:
            depot.clock.advance(2 * 60)  # its lease runs out
        await depot.gc()
        await assert_nothing_left(depot)
        transactions += 1
    assert transactions > 8


async def test_a_purge_waits_for_the_one_before(depot: Depot) -> None:
    leases = depot.services.leases
    held = await leases.acquire(LEASE, 60)
    assert held is not None
    waited = 0

    async def sleep(_: float) -> None:
        nonlocal waited
        waited += 1
        if waited == 3:
            await held.release()

    purging = Purging(depot.collector, leases, sleep=sleep)
    restoration = Restoration(depot.database, purging, FORMATS, depot.clock)
    await restoration.purge(OPERATOR, APP, await depot.delete(await depot.push_image(LAYER)))
    assert waited == 3
    await assert_nothing_left(depot)


async def test_gc_does_what_a_purge_has_waited_for_too_long(depot: Depot) -> None:
    await purge_behind_another(depot, await depot.delete(await depot.push_image(LAYER)))
    assert len(depot.objects()) == 1
    removed = await depot.gc()
    assert (removed["manifests"], removed["links"], removed["objects"]) == (1, 1, 1)
    await assert_nothing_left(depot)


async def test_a_purge_that_overslept_changes_nothing_more(depot: Depot) -> None:
    leases = depot.services.leases
    await purge_behind_another(depot, await depot.delete(await depot.push_image(LAYER)))
    term = await leases.acquire(LEASE, 60)
    assert term is not None
    depot.clock.advance(61)
    before = await depot.rows("manifests", "repository_blobs", "blobs")
    with pytest.raises(LeaseLost):
        await depot.collector.purge(term)
    assert await depot.rows("manifests", "repository_blobs", "blobs") == before


async def test_ten_purges_at_once_remove_all_that_they_name(depot: Depot) -> None:
    deletions = [
        await depot.delete(await depot.push_image(b"own %d" % number, tag=f"v{number}"))
        for number in range(10)
    ]
    await asyncio.gather(*(purge(depot, deletion) for deletion in deletions))
    await assert_nothing_left(depot)


async def test_two_hundred_pushes_beside_a_purge_of_the_same_bytes_lose_nothing(
    depot: Depot,
) -> None:
    """What a push or a mount was told is there is there for its manifest, and whole."""
    await depot.push_blob(b"something", OTHER)
    for number in range(ROUNDS):
        deletion = await depot.delete(await depot.push_image(LAYER))
        where = (APP, OTHER)[number % 2]
        delay = number // 2 % 20
        await asyncio.gather(purge(depot, deletion), push_beside(depot, where, delay))
        assert await depot.read("latest", where) == image([LAYER])
        assert await depot.read_blob(Digest.of(LAYER), where) == LAYER
        last = await depot.delete(Digest.of(image([LAYER])), where)
        if number % 3:
            await purge(depot, last, where)


async def push_beside(depot: Depot, repository: str, delay: int) -> None:
    """Ask, mount or push, and then name it; `delay` is in turns of the loop."""
    digest = Digest.of(LAYER)
    for _ in range(delay):
        await asyncio.sleep(0)
    if not await depot.has_blob(digest, repository) and not await depot.mount(digest, repository):
        await depot.push_blob(LAYER, repository)
    await depot.push(image([LAYER]), "latest", repository=repository)
