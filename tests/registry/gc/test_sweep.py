"""What no hint points at is found by the sweep, and nothing that is needed is taken for it."""

import json
import os
import time
from collections.abc import AsyncIterator

import pytest

from auth.audit import OPERATOR
from registry.gc import LEASE, Step
from registry.leases import LeaseLost, Term
from registry.package_deletion import HIDE_PACKAGE
from storage.digest import Digest
from tests.registry.gc.depot import APP, DAY, HOUR, Depot, image


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_links_and_blobs_that_lost_their_hints_are_found(depot: Depot) -> None:
    await depot.push_image(b"named")
    await depot.push_blob(b"linked for nothing")
    await depot.push_blob(b"not linked", "admin/other")
    await depot.database.execute(
        "delete from repository_blobs where repository_id = "
        "(select id from packages where repository = 'admin/other')"
    )
    await depot.database.execute("update repository_blobs set orphaned_at = null where blob_id > 0")
    await depot.database.execute("update blobs set orphaned_at = null where id > 0")
    await depot.gc()
    for _ in range(2):
        depot.clock.advance(DAY + 1)
        await depot.gc()
    assert [row[1] for row in (await depot.rows("blobs"))["blobs"]] == [Digest.of(b"named")]


async def test_contents_that_nothing_names_go(depot: Depot) -> None:
    await depot.push(image([]), "v1")
    await depot.database.execute(
        "insert into manifest_contents (digest, size, bytes) values ($1, 1, $2)", "sha256:x", b"x"
    )
    assert await depot.gc() == {"contents": 1}
    assert await depot.has("v1")


async def test_an_object_that_no_row_names_goes_after_a_day_and_an_hour(depot: Depot) -> None:
    await depot.push_image(b"layer")
    upload = await depot.begin()
    await depot.append(upload, b"half")
    stored = await depot.store.write(pieces(b"left by a crash"))
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}
    await depot.append(upload, b"more")
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}, "the sweep comes once a day"
    depot.clock.advance(2)
    assert (await depot.gc())["unknown objects"] == 1
    assert stored.key in depot.objects()
    depot.clock.advance(HOUR)
    assert (await depot.gc())["objects"] >= 1
    assert stored.key not in depot.objects()
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_an_object_whose_row_comes_after_the_sweep_has_seen_it_stays(depot: Depot) -> None:
    """A machine slept between the last byte and the row, and gc woke up first."""
    stored = await depot.store.write(pieces(b"slow"))
    depot.clock.advance(DAY + 1)
    assert await depot.gc() == {"unknown objects": 1}
    await depot.push_image(b"slow")
    await depot.database.execute("update blobs set key = $1 where size = 4", stored.key)
    depot.clock.advance(HOUR)
    await depot.gc()
    assert await depot.read_blob(Digest.of(b"slow")) == b"slow"


async def test_drafts_of_a_day_ago_go(depot: Depot) -> None:
    await depot.push_image(b"layer")
    draft = depot.directory / "incoming" / ("ab" * 16)
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    young = draft.with_name("cd" * 16)
    young.write_bytes(b"being written")
    written = time.time() - DAY - 60
    os.utime(draft, (written, written))
    assert await depot.gc() == {"drafts": 1}
    assert not draft.exists()
    assert young.exists()


async def test_a_package_deletion_that_a_crash_cut_short_is_finished(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    await depot.database.execute(
        "insert into deletions (repository_id, reason, deleted_at) "
        "select id, 'package', $1 from packages",
        depot.clock(),
    )
    (deletion,) = (await depot.rows("deletions"))["deletions"]
    package_id, deletion_id = int(str(deletion[1])), int(str(deletion[0]))
    await depot.database.execute(HIDE_PACKAGE, package_id, depot.clock(), deletion_id)
    await depot.gc()
    (manifest,) = (await depot.rows("manifests"))["manifests"]
    assert manifest[4] == deletion_id
    await depot.services.restoration.restore(OPERATOR, APP, deletion_id)
    assert await depot.read("v1") == image([b"layer"])
    assert await depot.has(digest)


async def test_the_sweep_goes_on_where_the_last_round_left_it(depot: Depot) -> None:
    keys = [(await depot.store.write(pieces(b"x"))).key for _ in range(3)]
    await depot.database.execute(
        "insert into blobs (digest, size, key, created_at) "
        "select 'sha256:' || value, 1, value, 0 from json_each(cast($1 as text)) where 1 = 1",
        json.dumps([f"{number:032x}" for number in range(20_000)]),
    )
    depot.clock.advance(DAY + 1)
    term = await depot.services.leases.acquire(LEASE, HOUR)
    assert term is not None
    rounds, removed = 0, 0
    finished = False
    while not finished:
        done = await depot.collector.round(term)
        finished, rounds = done.finished, rounds + 1
        removed += done.removed["unknown objects"]
    assert rounds >= 2
    assert removed == len(keys)
    assert await depot.count("trash") == len(keys)


@pytest.mark.parametrize("closed", [False, True])
async def test_a_sweep_that_is_closed_begins_anew(depot: Depot, closed: bool) -> None:
    term = await depot.term()
    await depot.push_image(b"layer")
    step = depot.collector.sweep.chunk
    assert await step(term, depot.collector.retention, depot.clock()) is not None
    if closed:
        await depot.collector.sweep.close()
    while await step(term, depot.collector.retention, depot.clock()) is not None:
        pass
    assert await step(term, depot.collector.retention, depot.clock()) is None


async def test_a_sweep_that_failed_begins_anew(depot: Depot) -> None:
    stored = await depot.store.write(pieces(b"left by a crash"))
    depot.clock.advance(DAY + 1)
    step = depot.collector.sweep.chunk
    sleeper = await depot.term()
    await depot.term()
    with pytest.raises(LeaseLost):
        await to_the_end(step, sleeper, depot)
    await to_the_end(step, await depot.term(), depot)
    assert [row[0] for row in (await depot.rows("trash"))["trash"]] == [stored.key]


async def to_the_end(step: Step, term: Term, depot: Depot) -> None:
    while await step(term, depot.collector.retention, depot.clock()) is not None:
        pass
