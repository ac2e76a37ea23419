"""What gc removes and when, and everything it must leave."""

from auth.audit import OPERATOR
from storage.digest import Digest
from tests.registry.gc.depot import APP, DAY, HOUR, Depot, image

OTHER = "admin/other"


async def test_a_blob_that_no_manifest_names_goes_after_its_grace_and_its_bytes_after_it(
    depot: Depot,
) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}
    depot.clock.advance(2)
    assert await depot.gc() == {"links": 1}
    assert not await depot.has_blob(digest)
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}
    depot.clock.advance(2)
    assert await depot.gc() == {"blobs": 1, "bytes": 5}
    assert len(depot.objects()) == 1
    depot.clock.advance(HOUR - 1)
    assert await depot.gc() == {}
    depot.clock.advance(2)
    assert await depot.gc() == {"objects": 1}
    assert depot.objects() == []
    assert await depot.count("trash") == 0


async def test_what_a_live_manifest_names_stays_for_ever_tagged_or_not(depot: Depot) -> None:
    await depot.push_image(b"tagged")
    untagged = await depot.push_image(b"untagged", tag="")
    before = await depot.rows("blobs", "manifests", "manifest_blobs")
    for _ in range(4):
        depot.clock.advance(40 * DAY)
        assert not await depot.gc()
    assert await depot.read("v1") == image([b"tagged"])
    assert await depot.has(untagged)
    assert await depot.read_blob(Digest.of(b"untagged")) == b"untagged"
    after = await depot.rows("blobs", "manifests", "manifest_blobs")
    assert after["manifests"] == before["manifests"]
    assert after["manifest_blobs"] == before["manifest_blobs"]


async def test_a_blob_pushed_again_begins_its_grace_anew(depot: Depot) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {"objects": 1}, "the second copy of the bytes"
    assert await depot.has_blob(digest)


async def test_a_yes_to_a_pusher_holds_an_orphan_for_the_grace(depot: Depot) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    assert await depot.has_blob(digest)
    depot.clock.advance(DAY - 1)
    assert await depot.gc() == {}
    assert await depot.read_blob(digest) == b"layer"
    await depot.push(image([b"layer"]), "v1")


async def test_a_yes_writes_nothing_while_it_is_fresh_or_a_manifest_names_the_blob(
    depot: Depot,
) -> None:
    fresh = await depot.push_blob(b"fresh")
    await depot.push_image(b"named")
    depot.clock.advance(599)
    before = await depot.rows()
    assert await depot.has_blob(fresh)
    depot.clock.advance(DAY)
    assert await depot.has_blob(Digest.of(b"named"))
    assert await depot.rows() == before
    assert await depot.has_blob(fresh)
    assert await depot.rows() != before


async def test_a_yes_to_a_reader_holds_nothing(depot: Depot) -> None:
    await depot.services.accounts.create_user(OPERATOR, "reader", None)
    digest = await depot.push_blob(b"layer", APP)
    await depot.database.execute("update packages set visibility = 2 where repository = $1", APP)
    depot.clock.advance(DAY - 1)
    before = await depot.rows()
    pusher, reader = depot.who, await depot.services.accounts.get("reader")
    depot.who = type(pusher)(reader.id, "reader", "user")
    assert await depot.has_blob(digest)
    depot.who = pusher
    assert await depot.rows() == before


async def test_a_mounted_blob_lives_on_when_its_source_has_gone(depot: Depot) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    assert await depot.mount(digest, OTHER)
    await depot.push(image([b"layer"]), "v1", repository=OTHER)
    depot.clock.advance(DAY)
    assert (await depot.gc())["links"] == 1
    for _ in range(3):
        depot.clock.advance(DAY)
        await depot.gc()
    assert not await depot.has_blob(digest)
    assert await depot.read_blob(digest, OTHER) == b"layer"


async def test_a_blob_mounted_in_the_last_moment_stays(depot: Depot) -> None:
    digest = await depot.push_blob(b"layer")
    depot.clock.advance(DAY - 1)
    assert await depot.mount(digest, OTHER)
    for _ in range(20):
        depot.clock.advance(HOUR)
        await depot.gc()
    assert await depot.read_blob(digest, OTHER) == b"layer"


async def test_a_wrong_hint_is_cleared_and_hides_what_only_deleted_manifests_name(
    depot: Depot,
) -> None:
    digest = await depot.push_image(b"layer")
    await depot.push_blob(b"layer")  # readable by itself now, though a manifest names it
    await depot.delete(digest)
    assert await depot.has_blob(Digest.of(b"layer"))
    depot.clock.advance(DAY + 1)
    await depot.gc()
    assert not await depot.has_blob(Digest.of(b"layer"))
    assert await depot.count("repository_blobs") == 1
    (link,) = (await depot.rows("repository_blobs"))["repository_blobs"]
    assert link[2:] == (None, None)


async def test_the_object_of_a_replaced_copy_goes_when_it_is_due(depot: Depot) -> None:
    await depot.push_image(b"layer")
    await depot.push_blob(b"layer")
    assert len(depot.objects()) == 2
    assert await depot.gc() == {"objects": 1}
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"


async def test_trash_that_a_row_names_again_is_nobodys_to_delete(depot: Depot) -> None:
    await depot.push_image(b"layer")
    upload = await depot.begin()
    await depot.append(upload, b"half")
    await depot.database.execute(
        "insert into trash (store, key, due_at) select 0, key, 0 from blobs "
        "union all select 0, key, 0 from upload_segments"
    )
    assert await depot.gc() == {}
    assert await depot.count("trash") == 0
    assert await depot.read_blob(Digest.of(b"layer")) == b"layer"
    assert len(depot.objects()) == 2


async def test_a_crash_between_object_and_row_is_repeated(depot: Depot) -> None:
    await depot.push_blob(b"layer")
    await depot.push_blob(b"layer")
    (key,) = [row[0] for row in (await depot.rows("trash"))["trash"]]
    await depot.store.delete([str(key)])
    assert await depot.gc() == {"objects": 1}
    assert await depot.count("trash") == 0


async def test_more_than_a_chunk_is_removed_in_chunks(depot: Depot) -> None:
    await depot.push_blob(b"first")

    await depot.database.execute(
        "insert into blobs (digest, size, key, created_at, orphaned_at) "
        "select 'sha256:' || value, 1, value, 0, 1 from json_each(cast($1 as text)) where 1 = 1",
        str([f"{n:032x}" for n in range(1234)]).replace("'", '"'),
    )
    term = await depot.term()
    from registry.gc import remove_blobs

    done = await remove_blobs(term, depot.collector.retention, depot.clock())
    assert done == {"blobs": 500, "bytes": 500}
    assert await depot.gc() == {"blobs": 734, "bytes": 734}
    assert await depot.count("trash") == 1234
