"""`why` names every holder and when it ends; a preview names what would go and changes nothing."""

import re
from collections.abc import AsyncIterator

import pytest

from registry.expiry import expire_manifests
from registry.explain import Explainer
from registry.gc import remove_blobs, remove_links
from registry.preview import Preview
from storage.clock import SECOND, rfc3339
from storage.digest import Digest
from storage.errors import DigestInvalid, Invalid
from tests.registry.gc.depot import APP, DAY, HOUR, Depot, image, index, purge_behind_another

MONTH = 30 * DAY


async def why(depot: Depot, subject: str) -> list[str]:
    found = await Explainer(depot.database, depot.collector.retention).why(subject)
    return [fact.text for fact in found.facts]


def after(depot: Depot, seconds: int) -> str:
    return rfc3339(depot.clock() + seconds * SECOND)


async def test_a_blob_is_explained_by_each_repository_that_holds_it(depot: Depot) -> None:
    layer = Digest.of(b"layer")
    live = await depot.push_image(b"layer")
    deleted = await depot.push_image(b"layer", repository="admin/deleted")
    deletion = await depot.delete(deleted, "admin/deleted")
    await depot.mount(layer, "admin/mounted")
    (blob,) = (await depot.rows("blobs"))["blobs"]
    assert await why(depot, layer) == [
        f"it is a blob of 5 bytes in object {blob[3]}",
        f"manifest {live} of {APP} names it: live, tagged v1",
        f"manifest {deleted} of admin/deleted names it: deleted {after(depot, 0)} by deletion "
        f"{deletion}: can be restored until {after(depot, MONTH)}",
        "it was pushed or mounted in admin/mounted and no manifest names it: kept until "
        + after(depot, DAY),
    ]


async def test_an_orphan_is_explained_until_its_last_hour(depot: Depot) -> None:
    layer = await depot.push_blob(b"layer")
    (blob,) = (await depot.rows("blobs"))["blobs"]
    depot.clock.advance(DAY + 1)
    await depot.gc()
    _, text = await why(depot, layer)
    assert text == f"no repository links it: its bytes go into the trash after {after(depot, DAY)}"
    depot.clock.advance(DAY + 1)
    await depot.gc()
    assert await why(depot, layer) == []
    assert await why(depot, str(blob[3])) == [f"it is trash: removed {after(depot, HOUR)}"]


async def test_a_manifest_is_explained_by_tags_indexes_and_deletions(depot: Depot) -> None:
    child = image([], note="child")
    digest = await depot.push(child, "a", "b")
    top = await depot.push(index([child]))
    assert await why(depot, digest) == [
        f"it is a manifest of {APP}: live, tagged a, b",
        f"it is part of the live index {top} of {APP}",
    ]
    assert await why(depot, top) == [f"it is a manifest of {APP}: live without a tag: kept"]
    deletion = await depot.delete(top)
    (text,) = await why(depot, top)
    assert f"by deletion {deletion}: can be restored until {after(depot, MONTH)}" in text
    await purge_behind_another(depot, deletion)
    assert await why(depot, top) == [
        f"it is a manifest of {APP}: purged: gone with the next round of gc"
    ]


async def test_what_a_purge_left_to_gc_is_explained_at_each_step(depot: Depot) -> None:
    layer = Digest.of(b"layer")
    await purge_behind_another(depot, await depot.delete(await depot.push_image(b"layer")))
    going = "purged: gone with the next round of gc"
    (blob,) = (await depot.rows("blobs"))["blobs"]
    preview = Preview(depot.database, depot.store, depot.collector.retention, depot.clock)
    shown = []
    for step in (expire_manifests, remove_links, remove_blobs):
        shown += [*await why(depot, layer)][1:]
        due = [removal async for removal in preview.removals()]
        assert {one.why for one in due} == {"purged"}
        await step(await depot.term(), depot.collector.retention, depot.clock())
    assert shown == [
        f"manifest {Digest.of(image([b'layer']))} of {APP} names it: {going}",
        f"{APP} held it: {going}",
        f"no repository links it: {going}",
    ]
    assert await why(depot, str(blob[3])) == [f"it is trash: {going}"]


async def test_an_upload_explains_its_bytes_and_its_object(depot: Depot) -> None:
    upload = await depot.begin()
    await depot.append(upload, b"half")
    ((_, _, key),) = (await depot.rows("upload_segments"))["upload_segments"]
    for subject in (str(Digest.of(b"half")), str(key)):
        assert await why(depot, subject) == [
            f"an unfinished upload to {APP} holds these bytes in object {key}: until "
            + after(depot, DAY)
        ]


async def test_the_key_of_an_object_leads_to_its_blob(depot: Depot) -> None:
    await depot.push_image(b"layer")
    (key,) = depot.objects()
    layer = Digest.of(b"layer")
    assert await why(depot, key) == [f"it holds the bytes of {layer}", *await why(depot, layer)]


async def test_nothing_explains_what_is_unknown(depot: Depot) -> None:
    assert await why(depot, Digest.of(b"?")) == []
    assert await why(depot, "ab" * 16) == []
    with pytest.raises(DigestInvalid):
        await why(depot, "sha256:short")
    with pytest.raises(Invalid):
        await why(depot, "v1")


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_preview_names_what_a_round_removes_and_changes_nothing(depot: Depot) -> None:
    await depot.push_image(b"kept", tag="kept")
    await depot.push_image(b"old", tag="old")
    await depot.delete("old")
    await depot.delete(Digest.of(image([b"old"])))
    await depot.push_blob(b"never named")
    await depot.push_blob(b"linked nowhere", "admin/other")
    await depot.database.execute(
        "delete from repository_blobs where repository_id = "
        "(select id from packages where repository = 'admin/other')"
    )
    await depot.append(await depot.begin(), b"half")
    await depot.push_blob(b"kept")  # its second copy is trash
    await depot.store.write(pieces(b"left by a crash"))
    depot.clock.advance(MONTH + 1)
    before, files = await depot.rows(), depot.objects()
    preview = Preview(depot.database, depot.store, depot.collector.retention, depot.clock)
    shown = [removal async for removal in preview.removals()]
    assert await depot.rows() == before
    assert depot.objects() == files
    kinds = [removal.kind for removal in shown]
    assert all(re.search(r"since|deleted|came|began", removal.why) for removal in shown)
    removed = await depot.gc()
    removed.pop("bytes")
    assert {f"{kind}s": kinds.count(kind) for kind in kinds} == {
        **removed,
        "deletions": kinds.count("deletion"),
    }


async def test_a_preview_leaves_out_what_a_round_would_keep(depot: Depot) -> None:
    child = image([], note="child")
    await depot.push(child)
    await depot.push(index([child]), "v1")
    await depot.push_image(b"layer")
    await depot.database.execute(
        "update manifests set deleted_at = 1 where id = (select min(id) from manifests)"
    )
    await depot.database.execute("update repository_blobs set orphaned_at = 1 where blob_id > 0")
    await depot.database.execute("update blobs set orphaned_at = 1 where id > 0")
    preview = Preview(depot.database, depot.store, depot.collector.retention, depot.clock)
    assert [removal async for removal in preview.removals()] == []
