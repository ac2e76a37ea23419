"""Uploads and deletions end by their age, and nothing else does."""

import pytest

from registry.errors import OutOfOrder, UploadUnknown
from registry.expiry import MANIFEST_CHUNK, expire_manifests
from storage.digest import Digest
from storage.names import parse_repository
from tests.registry.gc.depot import APP, DAY, HOUR, Depot, body, image, index

MONTH = 30 * DAY


async def days(depot: Depot, count: int) -> None:
    """Let days pass, with gc at work on each."""
    for _ in range(count):
        depot.clock.advance(DAY + 1)
        await depot.gc()


async def test_an_upload_is_purged_a_day_after_its_last_byte_with_its_objects(
    depot: Depot,
) -> None:
    upload = await depot.begin()
    await depot.append(upload, b"one")
    depot.clock.advance(DAY - 1)
    await depot.append(upload, b"two")
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}
    depot.clock.advance(1)
    assert await depot.gc() == {"uploads": 1}
    assert await depot.count("upload_segments") == 0
    assert len(depot.objects()) == 2
    depot.clock.advance(HOUR)
    assert await depot.gc() == {"objects": 2}
    assert depot.objects() == []


async def test_tombstones_of_finished_and_cancelled_uploads_go_too(depot: Depot) -> None:
    name = parse_repository(APP)
    finished, cancelled = await depot.begin(), await depot.begin()
    digest = Digest.of(b"layer")
    await depot.services.uploads.finish(depot.who, name, finished, digest, body(b"layer"), None)
    await depot.append(cancelled, b"half")
    await depot.services.uploads.cancel(depot.who, name, cancelled)
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {"objects": 1}
    assert await depot.count("uploads") == 2
    depot.clock.advance(1)
    assert (await depot.gc())["uploads"] == 2
    assert await depot.has_blob(digest)
    for upload in (finished, cancelled):
        with pytest.raises(UploadUnknown):
            await depot.services.uploads.status(depot.who, name, upload)


async def test_a_request_that_outlasts_its_upload_is_out_of_order_and_leaves_nothing(
    depot: Depot,
) -> None:
    upload = await depot.begin()
    await depot.append(upload, b"one")
    depot.clock.advance(DAY - 1)
    slow = body(b"two")
    chunks = slow.chunks

    async def late() -> object:
        async for chunk in chunks():
            depot.clock.advance(2)
            await depot.gc()
            yield chunk

    slow.chunks = late  # type: ignore[method-assign,assignment]
    with pytest.raises(OutOfOrder):
        await depot.services.uploads.append(depot.who, parse_repository(APP), upload, slow, None)
    depot.clock.advance(HOUR)
    await depot.gc()
    assert depot.objects() == []
    assert await depot.count("uploads") == 0


async def test_an_upload_of_many_segments_is_purged_in_chunks(depot: Depot) -> None:
    upload = await depot.begin()
    for _ in range(5):
        await depot.append(upload, b"x")
    await depot.database.execute(
        "insert into upload_segments (upload_id, start_byte, size, key, sha256) "
        "select s.upload_id, s.start_byte + 5 + cast(j.value as bigint), 1, s.key || j.value, "
        "s.sha256 from upload_segments s, json_each(cast($1 as text)) j where s.start_byte = 0",
        str(list(range(1000))),
    )
    depot.clock.advance(DAY)
    assert await depot.gc() == {"uploads": 1}
    assert await depot.count("trash") == 1005


async def test_a_deleted_manifest_goes_after_its_window_with_all_that_it_held(
    depot: Depot,
) -> None:
    digest = await depot.push_image(b"layer")
    await depot.delete(digest)
    depot.clock.advance(MONTH - 1)
    assert await depot.gc() == {}
    assert await depot.count("manifest_contents") == 1
    depot.clock.advance(2)
    assert await depot.gc() == {"manifests": 1}
    for table in ("manifests", "manifest_contents", "manifest_blobs", "deletions", "deleted_tags"):
        assert await depot.count(table) == 0, table
    await days(depot, 2)
    assert await depot.gc() == {}
    depot.clock.advance(HOUR)
    await depot.gc()
    assert depot.objects() == []


async def test_history_keeps_no_content_and_loses_only_what_went(depot: Depot) -> None:
    first = await depot.push_image(b"first")
    await depot.push_image(b"second")
    await depot.delete(first)
    depot.clock.advance(MONTH + 1)
    await depot.gc()
    (kept,) = (await depot.rows("tag_history"))["tag_history"]
    assert kept[2] == "v1"
    assert await depot.read("v1") == image([b"second"])


async def test_a_content_that_another_repository_holds_stays(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    await depot.push_image(b"layer", repository="admin/other")
    await depot.delete(digest)
    depot.clock.advance(MONTH + 1)
    assert (await depot.gc())["manifests"] == 1
    await days(depot, 4)
    assert await depot.read("v1", "admin/other") == image([b"layer"])
    assert await depot.read_blob(Digest.of(b"layer"), "admin/other") == b"layer"
    assert not await depot.has_blob(Digest.of(b"layer"))


async def test_an_index_goes_with_its_children_its_signature_and_their_tags(
    depot: Depot,
) -> None:
    await depot.push_image(b"amd64", tag="")
    await depot.push_image(b"arm64", tag="")
    top = index([image([b"amd64"]), image([b"arm64"])])
    digest = await depot.push(top, "v1")
    await depot.push(image([b"amd64"], subject=top), f"sha256-{digest.hex}.sig")
    await depot.delete(digest)
    depot.clock.advance(MONTH + 1)
    assert await depot.gc() == {"manifests": 4}
    assert await depot.count("manifest_children") == 0
    assert await depot.count("deletions") == 0


@pytest.mark.parametrize("count", [1, 99, 250])
async def test_indexes_go_before_children_however_many_share_a_chunk(
    depot: Depot, count: int
) -> None:
    child = image([])
    await depot.push(child)
    tops = [index([child], note=str(number)) for number in range(count)]
    for top in tops:
        await depot.push(top)
    for top in tops:
        await depot.delete(Digest.of(top))
    depot.clock.advance(MONTH + 1)
    assert await depot.gc() == {"manifests": count + 1}


async def test_an_index_is_found_behind_more_children_than_a_chunk(depot: Depot) -> None:
    children = [image([], note=str(number)) for number in range(MANIFEST_CHUNK + 20)]
    for child in children:
        await depot.push(child)
    await depot.delete(await depot.push(index(children)))
    await depot.database.execute(
        "update manifests set deleted_at = deleted_at - 1 where artifact_type <> ''"
    )
    depot.clock.advance(MONTH + 1)
    term = await depot.term()
    removed = 0
    for _ in range(3):
        done = await expire_manifests(term, depot.collector.retention, depot.clock())
        removed += (done or {}).get("manifests", 0)
    assert removed == len(children) + 1


async def test_a_content_that_another_repository_holds_without_a_tag_stays(
    depot: Depot,
) -> None:
    digest = await depot.push_image(b"layer", tag="")
    await depot.push_image(b"layer", tag="", repository="admin/other")
    await depot.delete(digest)
    depot.clock.advance(MONTH + 1)
    assert (await depot.gc())["manifests"] == 1
    assert await depot.read(digest, "admin/other") == image([b"layer"])


async def test_a_child_waits_for_the_index_that_may_come_back(depot: Depot) -> None:
    child = image([], note="child")
    await depot.push(child)
    digest = await depot.push(index([child]))
    await depot.delete(digest)
    await depot.push(child)  # revived, and deleted again
    await depot.delete(Digest.of(child))
    await depot.database.execute(
        "update manifests set deleted_at = 1 where deleted_at > 0 and id = "
        "(select min(id) from manifests)"
    )
    assert await depot.gc() == {}
    assert await depot.count("manifest_children") == 1
    depot.clock.advance(MONTH + 1)
    assert await depot.gc() == {"manifests": 2}


async def test_a_child_of_a_live_index_is_shown_instead_of_removed(depot: Depot) -> None:
    child = image([], note="child")
    await depot.push(child)
    await depot.push(index([child]), "v1")
    await depot.database.execute(
        "update manifests set deleted_at = 1, deletion_id = 99 where id = "
        "(select min(id) from manifests)"
    )
    assert await depot.gc() == {}
    assert await depot.read(Digest.of(child)) == child


async def test_a_deleted_tag_is_forgotten_after_the_window_and_its_manifest_is_not(
    depot: Depot,
) -> None:
    digest = await depot.push_image(b"layer")
    await depot.delete("v1")
    depot.clock.advance(MONTH - 1)
    assert await depot.gc() == {}
    depot.clock.advance(2)
    assert await depot.gc() == {"deletions": 1}
    assert await depot.count("deleted_tags") == 0
    assert await depot.has(digest)


async def test_a_manifest_pushed_again_before_its_end_stays(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    await depot.delete(digest)
    depot.clock.advance(MONTH + 1)
    await depot.push_image(b"layer", tag="v2")
    await depot.gc()
    await days(depot, 4)
    assert await depot.read("v2") == image([b"layer"])
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_a_blob_of_an_expired_manifest_has_a_grace_whatever_its_hint_said(
    depot: Depot,
) -> None:
    digest = await depot.push_image(b"layer")
    await depot.delete(digest)
    await depot.database.execute("update repository_blobs set orphaned_at = 1 where blob_id > 0")
    depot.clock.advance(MONTH + 1)
    assert await depot.gc() == {"manifests": 1}
    assert await depot.count("repository_blobs") == 1
    depot.clock.advance(DAY + 1)
    assert await depot.gc() == {"links": 1}
