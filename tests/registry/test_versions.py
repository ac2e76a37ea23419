"""Which manifests of a package are versions, in what order, and what is told of each."""

from collections.abc import Sequence

import pytest

from registry.retention import Retention
from registry.versions import Version, Versions
from storage.clock import SECOND
from storage.digest import Digest
from tests.registry.client import Client, index_manifest
from tests.registry.world import World

APP = "acme/app"
WINDOW = Retention().restore


@pytest.fixture
def versions(world: World) -> Versions:
    return Versions(world.services.database, Retention(), world.clock)


async def listed(
    world: World, versions: Versions, *, deleted: bool = False
) -> list[tuple[str, list[str]]]:
    """The digests and tags of all versions of acme/app."""
    package = await world.services.packages.get(APP)
    found = await versions.list(package["id"], deleted=deleted)
    return [(one.digest, list(one.tags)) for one in found]


async def test_tagged_and_lone_manifests_are_versions_newest_first(
    world: World, writer: Client, versions: Versions
) -> None:
    first = await writer.push_image(APP, "v1", b"first")
    second = await writer.push_image(APP, "v2", b"second")
    third = await writer.push_image(APP, "v2", b"third")
    await writer.put_manifest(APP, "latest", first.data)
    await writer.push_image("acme/other", "v9", b"first")
    assert await listed(world, versions) == [
        (third.digest, ["v2"]),
        (second.digest, []),
        (first.digest, ["latest", "v1"]),
    ]


async def test_children_and_referrers_are_parts_until_a_tag_makes_them_more(
    world: World, writer: Client, versions: Versions
) -> None:
    one, two = [await writer.push_image(APP, "", data) for data in (b"amd64", b"arm64")]
    index = await writer.push_manifest(APP, "v1", index_manifest(one, two))
    subject = {"subject": index.descriptor}
    await writer.push_artifact(APP, "", "application/vnd.example.sbom", **subject)
    assert await listed(world, versions) == [(index.digest, ["v1"])]
    await writer.put_manifest(APP, "v1-arm64", two.data)
    assert await listed(world, versions) == [(index.digest, ["v1"]), (two.digest, ["v1-arm64"])]


async def test_what_hangs_on_the_name_of_another_is_part_of_it(
    world: World, writer: Client, versions: Versions
) -> None:
    image = await writer.push_image(APP, "v1", b"image")
    name = image.digest.replace(":", "-")
    await writer.push_artifact(APP, f"{name}.sig", "application/vnd.example.signature")
    sbom = await writer.push_artifact(APP, "", "application/vnd.example.sbom")
    await writer.push_manifest(APP, name, index_manifest(sbom))
    assert await listed(world, versions) == [(image.digest, ["v1"])]
    odd = await writer.push_artifact(APP, f"{name}.more", "application/vnd.example.more")
    lone = await writer.push_artifact(APP, f"sha256-{'0' * 64}.sig", "application/vnd.example.old")
    assert [digest for digest, _ in await listed(world, versions)] == [
        lone.digest,
        odd.digest,
        image.digest,
    ]


async def test_a_referrer_whose_subject_never_came_is_a_version(
    world: World, writer: Client, versions: Versions
) -> None:
    missing = {"mediaType": "application/x", "digest": f"sha256:{'1' * 64}", "size": 3}
    early = await writer.push_artifact(APP, "", "application/vnd.example.sbom", subject=missing)
    assert await listed(world, versions) == [(early.digest, [])]


async def test_pages_go_on_after_an_id_or_skip(
    world: World, writer: Client, versions: Versions
) -> None:
    made = [await writer.push_image(APP, f"v{n}", b"%d" % n) for n in range(5)]
    package = (await world.services.packages.get(APP))["id"]
    found = await versions.list(package, limit=2)
    assert [one.digest for one in found] == [made[4].digest, made[3].digest]
    found = await versions.list(package, found[-1].id, 2)
    assert [one.digest for one in found] == [made[2].digest, made[1].digest]
    assert [one.digest for one in await versions.list(package, skip=4)] == [made[0].digest]
    assert await versions.list(package, skip=5) == []
    assert await versions.count([package, 0]) == {package: 5, 0: 0}


async def test_a_version_tells_its_size_and_its_times(
    world: World, writer: Client, versions: Versions
) -> None:
    one = await writer.push_image(APP, "", b"shared", b"a")
    two = await writer.push_image(APP, "", b"shared", b"bb")
    index = await writer.push_manifest(APP, "v1", index_manifest(one, two))
    made_at = world.clock()
    world.clock.advance(60)
    await writer.put_manifest(APP, "v2", index.data, index.media_type)
    package = (await world.services.packages.get(APP))["id"]
    (version,) = await versions.list(package)
    config = len(b'{"image": "acme/app:"}')
    size = config + len(b"shared" + b"a" + b"bb" + one.data + two.data + index.data)
    assert version == Version(
        id=version.id,
        digest=index.digest,
        media_type=index.media_type,
        artifact_type="",
        size=size,
        tags=["v1", "v2"],
        pushed_by="writer",
        created_at=made_at,
        updated_at=made_at + 60 * SECOND,
        deleted_at=None,
        deletion_id=None,
        restorable_until=None,
    )
    assert await versions.find(package, version.id) == version
    assert await versions.find(package, Digest(index.digest)) == version
    for wanted in (version.id + 1, Digest(one.digest)):
        assert await versions.find(package, wanted) is None
    assert await versions.find(package + 1, version.id) is None


async def test_deleted_versions_are_told_until_they_cannot_come_back(
    world: World, writer: Client, versions: Versions
) -> None:
    child = await writer.push_image(APP, "", b"child")
    index = await writer.push_manifest(APP, "v1", index_manifest(child))
    await writer.push_artifact(APP, "", "application/vnd.sbom", subject=index.descriptor)
    kept = await writer.push_image(APP, "v2", b"kept")
    package = (await world.services.packages.get(APP))["id"]
    (before, *_) = [one for one in await versions.list(package) if one.digest == index.digest]
    await writer.delete(f"/v2/{APP}/manifests/{index.digest}")
    assert await listed(world, versions) == [(kept.digest, ["v2"])]
    assert await listed(world, versions, deleted=True) == [(index.digest, ["v1"])]
    (gone,) = await versions.list(package, deleted=True)
    assert (gone.id, gone.size, gone.deleted_at) == (before.id, before.size, world.clock())
    assert gone.restorable_until == world.clock() + WINDOW * SECOND
    for wanted in (gone.id, Digest(index.digest)):
        assert await versions.find(package, wanted, deleted=True) == gone
        assert await versions.find(package, wanted) is None
    assert await versions.find(package, Digest(child.digest), deleted=True) is None
    assert await versions.count_deleted(package) == 1
    world.clock.advance(WINDOW)
    assert await versions.count_deleted(package) == 1
    world.clock.advance(1)
    assert await versions.count_deleted(package) == 0
    assert await versions.list(package, deleted=True) == []
    assert await versions.find(package, gone.id, deleted=True) is None


async def test_what_a_deletion_took_along_is_no_version_of_its_own(
    world: World, writer: Client, versions: Versions
) -> None:
    child = await writer.push_image(APP, "child", b"child")
    index = await writer.push_manifest(APP, "v1", index_manifest(child))
    signature = f"{index.digest.replace(':', '-')}.sig"
    await writer.push_artifact(APP, signature, "application/vnd.example.signature")
    await writer.delete(f"/v2/{APP}/manifests/child")
    await writer.delete(f"/v2/{APP}/manifests/{index.digest}")
    assert await listed(world, versions) == []
    assert await listed(world, versions, deleted=True) == [(index.digest, ["v1"])]
    late = await writer.push_artifact(APP, signature, "application/vnd.example.late")
    assert await listed(world, versions) == [(late.digest, [signature])]


async def test_a_page_reads_its_own_rows_by_index(world: World, writer: Client) -> None:
    await writer.push_image(APP, "v1")
    if world.config.database:
        pytest.skip("PostgreSQL plans by what a table holds")
    for sql, parameters in (("LIST_VERSIONS", 4), ("LIST_DELETED_VERSIONS", 5)):
        plan = await plan_of(world, sql, parameters)
        index = "manifests_live" if sql == "LIST_VERSIONS" else "manifests_hidden"
        assert any(f"{index} (repository_id=? AND id<?)" in step for step in plan), plan
        assert not any("TEMP B-TREE FOR ORDER BY" in step for step in plan[:-1]), plan


async def plan_of(world: World, name: str, parameters: int) -> Sequence[str]:
    from registry import versions as module

    rows = await world.services.database.fetch(
        f"explain query plan {getattr(module, name)}", *[0] * parameters
    )
    return [row["detail"] for row in rows]
