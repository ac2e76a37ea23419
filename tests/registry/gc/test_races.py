"""PostgreSQL, two transactions open at once: whoever comes second sees it, and nobody fails.

SQLite has one writer, so there is nothing to interleave. Each test holds one side's transaction
open, lets the other run until it waits for a lock or ends, and then commits the first.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from registry.expiry import expire_manifests
from registry.gc import remove_blobs, remove_links
from storage.connect import open_database
from storage.digest import Digest
from storage.postgres import split_url
from tests.registry.gc.depot import APP, DAY, Depot, SetClock, image, purge_behind_another

WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = $1"
OTHER = "admin/other"


@pytest.fixture
async def depot(postgres_url: str, tmp_path: Path) -> AsyncIterator[Depot]:
    async with await open_database(postgres_url, tmp_path) as database:
        made = Depot(database, tmp_path / "data", SetClock())
        await made.populate()
        try:
            yield made
        finally:
            await made.close()


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(split_url(postgres_url)[0])
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def watcher(postgres_url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(split_url(postgres_url)[0])
    try:
        yield opened
    finally:
        await opened.close()


async def until_waiting(watcher: Any, task: "asyncio.Task[Any]") -> None:
    """Return when the task's transaction waits for a lock, or has ended."""
    database = await watcher.fetchval("select current_database()")
    while not task.done() and not await watcher.fetchval(WAITING, database):
        pass


async def orphan_in(depot: Depot, repository: str) -> Digest:
    """A blob that lost its last link long ago."""
    digest = await depot.push_blob(b"layer", repository)
    depot.clock.advance(DAY + 1)
    term = await depot.term()
    await remove_links(term, depot.collector.retention, depot.clock())
    depot.clock.advance(DAY + 1)
    return digest


async def purged_in(depot: Depot, repository: str) -> Digest:
    """A blob that has just lost its last link to a purge, which leaves the rest to gc."""
    assert repository == APP
    await purge_behind_another(depot, await depot.delete(await depot.push_image(b"layer")))
    term = await depot.term()
    for step in (expire_manifests, remove_links):
        assert await step(term, depot.collector.retention, depot.clock())
    return Digest.of(b"layer")


@pytest.mark.parametrize("lose", [orphan_in, purged_in])
async def test_a_mount_that_began_before_gc_removes_the_blob_wins(
    depot: Depot,
    connection: Any,
    watcher: Any,
    lose: Callable[[Depot, str], Awaitable[Digest]],
) -> None:
    digest = await lose(depot, APP)
    await depot.push_blob(b"something", OTHER)
    term = await depot.term()
    opened = connection.transaction()
    await opened.start()
    await connection.execute(
        "insert into repository_blobs select p.id, b.id, 1, null from packages p, blobs b "
        "where p.repository = $1 and b.digest = $2",
        OTHER,
        digest,
    )
    removing = asyncio.create_task(remove_blobs(term, depot.collector.retention, depot.clock()))
    await until_waiting(watcher, removing)
    await opened.commit()
    assert not ((await removing) or {}).get("blobs")
    assert await depot.read_blob(digest, OTHER) == b"layer"


async def test_a_push_of_a_manifest_waits_for_gc_and_is_told_what_is_missing(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    await depot.push_blob(b"layer")
    opened = connection.transaction()
    await opened.start()
    await connection.execute("update packages set revision = revision")
    await connection.execute("delete from repository_blobs")
    pushing = asyncio.create_task(depot.push(image([b"layer"]), "v1"))
    await until_waiting(watcher, pushing)
    await opened.commit()
    with pytest.raises(Exception, match="push these first"):
        await pushing


async def test_gc_waits_for_the_push_of_a_manifest_and_keeps_its_blobs(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    digest = await depot.push_blob(b"layer")
    manifest = image([], note="other")
    await depot.push(manifest)
    depot.clock.advance(DAY + 1)
    term = await depot.term()
    opened = connection.transaction()
    await opened.start()
    await connection.execute("update packages set revision = revision + 1")
    await connection.execute(
        "insert into manifest_blobs (manifest_id, repository_id, blob_id) "
        "select m.id, rb.repository_id, rb.blob_id from manifests m, repository_blobs rb"
    )
    removing = asyncio.create_task(remove_links(term, depot.collector.retention, depot.clock()))
    await until_waiting(watcher, removing)
    await opened.commit()
    assert (await removing or Counter()).total() == 0
    assert await depot.has_blob(digest)


async def test_a_renewal_that_began_before_gc_removes_the_link_wins(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY + 1)
    term = await depot.term()
    opened = connection.transaction()
    await opened.start()
    await connection.execute("update repository_blobs set orphaned_at = $1", depot.clock())
    removing = asyncio.create_task(remove_links(term, depot.collector.retention, depot.clock()))
    await until_waiting(watcher, removing)
    await opened.commit()
    assert (await removing or Counter()).total() == 0
    assert await depot.has_blob(digest)


async def test_a_renewal_that_comes_after_gc_says_no(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY + 1)
    opened = connection.transaction()
    await opened.start()
    await connection.execute("delete from repository_blobs")
    asking = asyncio.create_task(depot.has_blob(digest))
    await until_waiting(watcher, asking)
    await opened.commit()
    assert not await asking


async def test_a_push_of_the_same_content_elsewhere_survives_the_expiry_of_this_one(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    manifest = image([])
    await depot.push(manifest)
    opened = connection.transaction()
    await opened.start()
    await connection.execute("delete from manifests")
    await connection.execute("delete from manifest_contents")
    pushing = asyncio.create_task(depot.push(manifest, "v1", repository=OTHER))
    await until_waiting(watcher, pushing)
    await opened.commit()
    await pushing
    assert await depot.read("v1", OTHER) == manifest


async def test_gc_that_expires_a_content_pushed_elsewhere_at_this_moment_keeps_it(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    manifest = image([])
    digest = await depot.push(manifest)
    await depot.push_blob(b"something", OTHER)
    await depot.delete(digest)
    depot.clock.advance(31 * DAY)
    term = await depot.term()
    opened = connection.transaction()
    await opened.start()
    await connection.execute(
        "insert into manifests (repository_id, content_id, media_type, created_at) "
        "select p.id, c.id, m.media_type, 1 "
        "from packages p, manifest_contents c, manifests m where p.repository = $1",
        OTHER,
    )
    expiring = asyncio.create_task(expire_manifests(term, depot.collector.retention, depot.clock()))
    await until_waiting(watcher, expiring)
    await opened.commit()
    assert (await expiring) == {"manifests": 1}
    assert await depot.read(digest, OTHER) == manifest


async def test_a_lease_is_not_taken_while_a_transaction_under_it_is_open(
    depot: Depot, connection: Any, watcher: Any
) -> None:
    term = await depot.term()
    opened = connection.transaction()
    await opened.start()
    held = await connection.execute(
        "update leases set held_until = held_until where fence = $1", term.fence
    )
    assert held == "UPDATE 1"
    stealing = asyncio.create_task(depot.term())
    await until_waiting(watcher, stealing)
    assert not stealing.done()
    await opened.commit()
    assert (await stealing).fence == term.fence + 1
