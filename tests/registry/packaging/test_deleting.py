"""A version that is deleted is gone from every document, comes back whole, is never replaced."""

import asyncio

import pytest

from auth.principals import Role
from registry.errors import ManifestUnknown, VersionExists
from registry.packaging.version_rows import LIST_FRAGMENTS
from storage.errors import Denied
from storage.names import parse_repository, parse_tag
from tests.registry.client import Client
from tests.registry.packaging.shelf import PAD, Shelf

REPOSITORY = parse_repository(PAD)
MONTH = 31


async def shelved(shelf: Shelf, *versions: str) -> None:
    """Publish versions, a second apart."""
    for version in versions:
        await shelf.publish(version)
        shelf.world.clock.advance(1)


async def rows_of_versions(shelf: Shelf) -> dict[str, int]:
    tables = ("package_versions", "version_files", "version_fragments")
    footprint = await shelf.world.footprint()
    return {table: footprint[table] for table in tables}


async def test_whoever_deletes_its_tag_deletes_the_version(shelf: Shelf, writer: Client) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    digest, before = await shelf.digest("1.0.0"), await shelf.revision()
    deleted = await writer.delete(f"/v2/{PAD}/manifests/1.0.0")
    assert deleted.status_code == 202
    assert await shelf.versions() == ["1.0.1"]
    assert (await writer.get(f"/v2/{PAD}/manifests/{digest}")).status_code == 404
    assert await shelf.packaging.versions.find(await shelf.id(), "1.0.0") is None
    assert (await shelf.events())[-1] == ("version.delete", "1.0.0", digest)
    assert await shelf.revision() > before


async def test_whoever_deletes_its_manifest_deletes_the_version(
    shelf: Shelf, writer: Client
) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    digest = await shelf.digest("1.0.1")
    assert (await writer.delete(f"/v2/{PAD}/manifests/{digest}")).status_code == 202
    assert await shelf.versions() == ["1.0.0"]
    assert set(await shelf.tags()) == {"1.0.0", "latest"}


async def test_an_alias_goes_alone(shelf: Shelf) -> None:
    await shelf.publish("1.0.0", "beta")
    await shelf.world.services.deletion.delete_tag(shelf.who, REPOSITORY, parse_tag("beta"))
    assert await shelf.versions() == ["1.0.0"]
    assert await shelf.aliases() == {"latest": "1.0.0"}
    assert (await shelf.events())[-1] == ("tag.delete", "beta", "")


async def test_the_default_alias_does_not_go(shelf: Shelf, writer: Client) -> None:
    await shelf.publish("1.0.0")
    before = await shelf.world.footprint()
    refused = await writer.delete(f"/v2/{PAD}/manifests/latest")
    assert refused.status_code == 405
    assert "latest always names a version" in refused.json()["errors"][0]["message"]
    assert await shelf.world.footprint() == before


async def test_in_a_repository_of_containers_every_tag_goes_alone(writer: Client) -> None:
    image = await writer.push_image("acme/app", "latest")
    assert (await writer.delete("/v2/acme/app/manifests/latest")).status_code == 202
    assert (await writer.get(f"/v2/acme/app/manifests/{image.digest}")).status_code == 200


async def test_the_default_alias_moves_to_the_newest_left(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "3.0.0-rc.1", "1.9.0", "1.10.0")
    await shelf.publish("2.0.0", "latest", "beta")
    await shelf.delete("2.0.0")
    assert await shelf.aliases() == {"latest": "1.10.0"}
    await shelf.delete("1.0.0")
    assert await shelf.aliases() == {"latest": "1.10.0"}
    for version in ("1.10.0", "1.9.0"):
        await shelf.delete(version)
    assert await shelf.aliases() == {"latest": "3.0.0-rc.1"}
    await shelf.delete("3.0.0-rc.1")
    assert await shelf.tags() == {}


async def test_a_version_comes_back_with_all_it_had(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    parts, tags = await shelf.versions("full"), await shelf.tags()
    found = await shelf.packaging.versions.find(await shelf.id(), "1.0.0")
    await shelf.delete("1.0.0")
    before = await shelf.revision()
    assert await shelf.restore() == {}
    assert await shelf.versions("full") == parts
    assert await shelf.tags() == tags
    assert await shelf.packaging.versions.find(await shelf.id(), "1.0.0") == found
    assert await shelf.revision() > before


async def test_the_default_alias_comes_back_unless_somebody_moved_it(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "1.0.1", "1.0.2")
    await shelf.delete("1.0.0")
    assert await shelf.aliases() == {"latest": "1.0.2"}
    shelf.world.clock.advance(1)
    await shelf.publish("1.0.3", "latest")
    assert set(await shelf.restore()) == {"latest"}
    assert await shelf.aliases() == {"latest": "1.0.3"}


async def test_the_only_version_comes_back_with_its_aliases(shelf: Shelf) -> None:
    await shelf.publish("1.0.0", "beta")
    tags = await shelf.tags()
    await shelf.delete("1.0.0")
    assert await shelf.restore() == {}
    assert await shelf.tags() == tags


async def test_what_comes_back_alone_gets_the_default_alias(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await shelf.publish("1.0.1", "latest")
    await shelf.delete("1.0.0")
    await shelf.delete("1.0.1")
    first = (await shelf.deletions())[0]
    await shelf.world.services.restoration.restore(shelf.who, PAD, first)
    assert await shelf.aliases() == {"latest": "1.0.0"}


async def test_a_deleted_version_takes_no_bytes_and_says_how_it_comes_back(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    digest = await shelf.digest("1.0.0")
    await shelf.delete("1.0.0")
    before = await shelf.world.footprint()
    cure = f"'packhouse package restore {PAD} --digest {digest}'"
    for more in (b"", b"other"):
        with pytest.raises(VersionExists) as refused:
            await shelf.publish("1.0.0", more=more)
        assert cure in refused.value.message
    assert await shelf.world.footprint() == before
    await shelf.restore()
    assert await shelf.versions() == ["1.0.0"]


@pytest.mark.parametrize("more", [b"", b"other"])
async def test_a_purged_version_takes_no_bytes(shelf: Shelf, more: bytes) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    await shelf.delete("1.0.0")
    (deletion,) = await shelf.deletions()
    await shelf.world.services.restoration.purge(shelf.who, PAD, deletion)
    for _ in range(2):
        with pytest.raises(VersionExists, match="deleted for good"):
            await shelf.publish("1.0.0", more=more)
        await shelf.gc(days=1)
    assert await shelf.versions() == ["1.0.1"]


async def test_what_gc_removed_leaves_a_name_and_nothing_else(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    await shelf.delete("1.0.0")
    await shelf.gc(days=MONTH - 2)
    assert await rows_of_versions(shelf) == {
        "package_versions": 2,
        "version_files": 2,
        "version_fragments": 4,
    }
    await shelf.gc(days=2)
    assert await rows_of_versions(shelf) == {
        "package_versions": 2,
        "version_files": 1,
        "version_fragments": 2,
    }
    (row,) = await shelf.world.rows("select * from package_versions where name = '1.0.0'")
    assert (row["manifest_id"], row["facts"], row["state"]) == (None, "{}", "{}")
    with pytest.raises(VersionExists, match="deleted for good"):
        await shelf.publish("1.0.0")
    for _ in range(3):
        await shelf.gc(days=2)
    assert len(await shelf.world.keys()) == 2
    assert await shelf.versions() == ["1.0.1"]
    assert await shelf.aliases() == {"latest": "1.0.1"}


async def test_a_package_goes_and_comes_back_as_one(shelf: Shelf, writer: Client) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    parts, tags = await shelf.versions("full"), await shelf.tags()
    await shelf.world.services.packages.delete(shelf.who, PAD)
    assert await shelf.versions() == []
    assert (await writer.get(f"/v2/{PAD}/manifests/1.0.0")).status_code == 404
    with pytest.raises(VersionExists, match="was deleted"):
        await shelf.publish("1.0.0")
    assert await shelf.restore() == {}
    assert await shelf.versions("full") == parts
    assert await shelf.tags() == tags


async def test_a_publication_brings_its_package_back_without_what_was_deleted(
    shelf: Shelf,
) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    await shelf.world.services.packages.delete(shelf.who, PAD)
    shelf.world.clock.advance(1)
    made = await shelf.publish("1.0.2")
    assert await shelf.versions() == ["1.0.2"]
    assert await shelf.tags() == {"1.0.2": made.digest, "latest": made.digest}
    conflicts = await shelf.restore()
    assert set(conflicts) == {"latest"}
    assert sorted(await shelf.versions()) == ["1.0.0", "1.0.1", "1.0.2"]
    assert await shelf.aliases() == {"latest": "1.0.2"}


async def test_a_package_that_gc_removed_keeps_the_names_of_its_versions(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await shelf.world.services.packages.delete(shelf.who, PAD)
    await shelf.gc(days=MONTH)
    await shelf.gc(days=2)
    assert await rows_of_versions(shelf) == {
        "package_versions": 1,
        "version_files": 0,
        "version_fragments": 0,
    }
    with pytest.raises(VersionExists, match="deleted for good"):
        await shelf.publish("1.0.0")
    await shelf.publish("1.0.1")
    assert await shelf.aliases() == {"latest": "1.0.1"}


async def test_who_may_not_delete_deletes_nothing(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await shelf.world.set_role("writer", Role.READ)
    with pytest.raises(Denied):
        await shelf.delete("1.0.0")
    await shelf.world.set_role("writer", Role.WRITE)
    with pytest.raises(ManifestUnknown):
        await shelf.delete("1.0.1")
    assert await shelf.versions() == ["1.0.0"]


async def test_of_ten_deletions_at_once_one_counts(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    each = (shelf.delete("1.0.1") for _ in range(10))
    done = await asyncio.gather(*each, return_exceptions=True)
    assert sum(isinstance(answer, ManifestUnknown) for answer in done) == 9
    assert await shelf.aliases() == {"latest": "1.0.0"}
    assert len(await shelf.deletions()) == 1


async def test_a_document_shows_live_versions_alone_while_a_package_goes(shelf: Shelf) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    await shelf.delete("1.0.0")
    rows = await shelf.world.services.database.fetch(LIST_FRAGMENTS, await shelf.id(), "short")
    assert [row["name"] for row in rows] == ["1.0.1"]


async def test_a_plan_says_which_tags_would_go(shelf: Shelf) -> None:
    await shelf.publish("1.0.0", "beta")
    plan, digest = shelf.world.services.deletion.plan, await shelf.digest("1.0.0")
    assert (await plan(shelf.who, REPOSITORY, digest)).tags == ["1.0.0", "beta", "latest"]
    await shelf.publish("1.0.1")
    assert (await plan(shelf.who, REPOSITORY, digest)).tags == ["1.0.0", "beta"]


async def test_referrers_go_with_their_version_and_come_back(shelf: Shelf, writer: Client) -> None:
    await shelved(shelf, "1.0.0", "1.0.1")
    digest = await shelf.digest("1.0.0")
    pulled = await writer.get(f"/v2/{PAD}/manifests/1.0.0")
    subject = {
        "mediaType": pulled.headers["content-type"],
        "digest": digest,
        "size": len(pulled.content),
    }
    await writer.push_artifact(PAD, "", "application/x-sign", subject=subject)
    await shelf.delete("1.0.0")
    assert (await writer.get(f"/v2/{PAD}/referrers/{digest}")).json()["manifests"] == []
    await shelf.restore()
    (found,) = (await writer.get(f"/v2/{PAD}/referrers/{digest}")).json()["manifests"]
    assert found["artifactType"] == "application/x-sign"
