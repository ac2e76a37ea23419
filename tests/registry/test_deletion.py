"""Deleting tags, manifests and blobs: hidden at once, with what exists only because of it."""

import pytest

from tests.registry.client import (
    Client,
    Pushed,
    digest_of,
    index_manifest,
    refused,
)
from tests.registry.world import World

LAYER = b"a layer"


async def delete(client: Client, reference: str) -> None:
    response = await client.delete(f"/v2/acme/app/manifests/{reference}")
    assert response.status_code == 202, response.text


async def gone(client: Client, *references: str) -> None:
    for reference in references:
        path = f"/v2/acme/app/manifests/{reference}"
        refused(await client.get(path), 404, "MANIFEST_UNKNOWN", reference)
        assert (await client.head(path)).status_code == 404
        refused(await client.delete(path), 404, "MANIFEST_UNKNOWN", reference)


async def there(client: Client, *references: str) -> None:
    for reference in references:
        assert (await client.get(f"/v2/acme/app/manifests/{reference}")).status_code == 200


async def attach(client: Client, subject: Pushed, tag: str = "", **notes: str) -> Pushed:
    return await client.push_artifact(
        "acme/app", tag, "a/b", subject=subject.descriptor, annotations=notes
    )


async def test_deleting_a_tag_leaves_everything_else(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    await writer.push_manifest("acme/app", "v2", image.data, image.media_type)
    await delete(writer, "v1")
    await gone(writer, "v1")
    await there(writer, "v2", image.digest)
    await delete(writer, "v2")
    await there(writer, image.digest)
    assert (await writer.get(f"/v2/acme/app/blobs/{digest_of(LAYER)}")).content == LAYER


async def test_deleting_a_manifest_takes_its_tags(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    await writer.push_manifest("acme/app", "v2", image.data, image.media_type)
    other = await writer.push_image("acme/app", "v3", b"other")
    await delete(writer, image.digest)
    await gone(writer, "v1", "v2", image.digest)
    await there(writer, "v3", other.digest)
    assert (await writer.get("/v2/acme/app/tags/list")).json()["tags"] == ["v3"]


async def test_a_deleted_manifest_may_be_pushed_again(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    await delete(writer, image.digest)
    await writer.push_image("acme/app", "v1", LAYER)
    await there(writer, "v1", image.digest)
    assert (await writer.get(f"/v2/acme/app/blobs/{digest_of(LAYER)}")).content == LAYER


async def test_blobs_of_a_deleted_manifest_are_hidden(writer: Client) -> None:
    """CVE-2026-35172: deleted content read again through a cache of digests."""
    image = await writer.push_image("acme/app", "v1", LAYER)
    path = f"/v2/acme/app/blobs/{digest_of(LAYER)}"
    assert (await writer.get(path)).status_code == 200
    await delete(writer, image.digest)
    refused(await writer.get(path), 404, "BLOB_UNKNOWN")
    assert (await writer.head(path)).status_code == 404
    refused(await writer.delete(path), 404, "BLOB_UNKNOWN")


async def test_blobs_another_manifest_needs_stay(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    await writer.push_image("acme/app", "v2", LAYER, b"more")
    await writer.push_image("acme/other", "v1", LAYER)
    await delete(writer, image.digest)
    for name in ("acme/app", "acme/other"):
        assert (await writer.get(f"/v2/{name}/blobs/{digest_of(LAYER)}")).content == LAYER


async def test_an_index_takes_the_children_nothing_else_holds(writer: Client) -> None:
    loose = await writer.push_image("acme/app", digest_of(b"")[:20].replace(":", "-"), b"loose")
    await delete(writer, digest_of(b"")[:20].replace(":", "-"))
    tagged = await writer.push_image("acme/app", "tagged", b"tagged")
    shared = await writer.push_image("acme/app", "x", b"shared")
    await delete(writer, "x")
    first = await writer.push_manifest("acme/app", "a", index_manifest(loose, tagged, shared))
    second = await writer.push_manifest("acme/app", "b", index_manifest(shared))
    await delete(writer, first.digest)
    await gone(writer, first.digest, loose.digest)
    await there(writer, tagged.digest, shared.digest, second.digest)
    await delete(writer, second.digest)
    await gone(writer, shared.digest)


async def test_nested_indexes_go_together(writer: Client) -> None:
    image = await writer.push_image("acme/app", "x")
    await delete(writer, "x")
    inner = await writer.push_manifest("acme/app", "", index_manifest(image))
    outer = await writer.push_manifest("acme/app", "v1", index_manifest(inner))
    await delete(writer, outer.digest)
    await gone(writer, outer.digest, inner.digest, image.digest, "v1")


async def test_a_child_of_a_live_index_stays(world: World, writer: Client) -> None:
    """ "Delete untagged" tools have broken many a multi-platform image."""
    image = await writer.push_image("acme/app", "v1")
    index = await writer.push_manifest("acme/app", "multi", index_manifest(image))
    before = await world.footprint()
    response = await writer.delete(f"/v2/acme/app/manifests/{image.digest}")
    error = refused(response, 405, "UNSUPPORTED", index.digest, "delete that first")
    assert error["detail"] == {"digest": image.digest, "index": index.digest}
    assert await world.footprint() == before
    await delete(writer, "v1")
    await there(writer, "multi", image.digest)


async def test_referrers_go_with_their_subject(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    sbom = await attach(writer, image)
    signature = await attach(writer, sbom, kind="signature of the sbom")
    kept = await attach(writer, image, "kept", kind="tagged, so somebody wants it")
    await delete(writer, image.digest)
    await gone(writer, image.digest, sbom.digest, signature.digest)
    await there(writer, "kept", kept.digest)


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
async def test_what_is_tagged_after_the_digest_goes_too(writer: Client, suffix: str) -> None:
    image = await writer.push_image("acme/app", "v1")
    tag = image.digest.replace(":", "-") + suffix
    signature = await writer.push_image("acme/app", tag, b"signature")
    unrelated = "sha256-" + "0" * 64 + suffix
    await writer.push_image("acme/app", unrelated, b"of another")
    await delete(writer, image.digest)
    await gone(writer, tag, signature.digest)
    await there(writer, unrelated)


async def test_a_referrer_that_a_live_index_names_stays(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    referrer = await attach(writer, image)
    index = await writer.push_manifest("acme/app", "all", index_manifest(referrer))
    await delete(writer, image.digest)
    await gone(writer, image.digest)
    await there(writer, "all", index.digest, referrer.digest)


async def test_a_subject_that_goes_leaves_the_index_that_is_no_referrer(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    other = await writer.push_image("acme/app", "v2", b"other")
    await attach(writer, image)
    kept = await attach(writer, other)
    await delete(writer, image.digest)
    await there(writer, "v2", kept.digest)
    found = await writer.get(f"/v2/acme/app/referrers/{other.digest}")
    assert [entry["digest"] for entry in found.json()["manifests"]] == [kept.digest]


async def test_a_blob_is_deleted_from_one_repository(writer: Client) -> None:
    for name in ("acme/app", "acme/other"):
        await writer.push_blob(name, LAYER)
    path = f"/v2/acme/app/blobs/{digest_of(LAYER)}"
    assert (await writer.delete(path)).status_code == 202
    for response in (await writer.get(path), await writer.delete(path)):
        refused(response, 404, "BLOB_UNKNOWN", digest_of(LAYER))
    assert (await writer.head(path)).status_code == 404
    assert (await writer.get(path.replace("app", "other"))).content == LAYER
    await writer.push_blob("acme/app", LAYER)
    assert (await writer.get(path)).content == LAYER


async def test_a_blob_a_manifest_needs_stays(world: World, writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    before = await world.footprint()
    response = await writer.delete(f"/v2/acme/app/blobs/{digest_of(LAYER)}")
    error = refused(response, 405, "UNSUPPORTED", image.digest, "delete that first")
    assert error["detail"] == {"digest": digest_of(LAYER), "manifest": image.digest}
    assert await world.footprint() == before


async def test_a_deleted_blob_may_not_be_named(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", LAYER)
    await delete(writer, image.digest)
    response = await writer.put_manifest("acme/app", "v2", image.data, image.media_type)
    refused(response, 404, "MANIFEST_BLOB_UNKNOWN", digest_of(LAYER))


async def test_a_deletion_is_one_row_with_its_tags(world: World, writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    await writer.push_manifest("acme/app", "v2", image.data, image.media_type)
    await delete(writer, image.digest)
    (deletion,) = await world.rows("select id, reason, deleted_by from deletions")
    assert deletion["reason"] == "manifest"
    tags = await world.rows("select name, deletion_id from deleted_tags order by name")
    assert [(row["name"], row["deletion_id"]) for row in tags] == [
        ("v1", deletion["id"]),
        ("v2", deletion["id"]),
    ]
    (event,) = await world.rows("select subject from events where kind = 'manifest.delete'")
    assert event["subject"] == image.digest


async def test_deleting_in_a_repository_that_is_not_there(world: World, writer: Client) -> None:
    before = await world.footprint()
    for reference in ("v1", digest_of(b"x")):
        response = await writer.delete(f"/v2/acme/none/manifests/{reference}")
        refused(response, 404, "MANIFEST_UNKNOWN")
    response = await writer.delete(f"/v2/acme/none/blobs/{digest_of(b'x')}")
    refused(response, 404, "BLOB_UNKNOWN")
    assert await world.footprint() == before
