"""What every package format promises, through its own client's requests: one suite for all.

A format passes it by a driver in drivers.py; its own tests are about what only it has.
"""

import asyncio

import pytest

from auth.principals import Scope, Visibility
from registry.app import FORMATS
from registry.packaging.formats import Formats
from tests.formats.drivers import DRIVERS, Driver
from tests.registry.client import OCI_MANIFEST, Client, basic
from tests.registry.conftest import origin, peopled, postgresql_origin, sqlite_origin, world
from tests.registry.world import World

__all__ = ["origin", "peopled", "postgresql_origin", "sqlite_origin", "world"]


@pytest.fixture
def formats() -> Formats:
    """All adapters that a server has."""
    return FORMATS


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.format)
def driver(request: pytest.FixtureRequest) -> Driver:
    found: Driver = request.param
    return found


@pytest.fixture
def writer(world: World) -> Client:
    return world.client("writer")


@pytest.fixture
async def published(world: World, driver: Driver, writer: Client) -> str:
    """A package with two versions; its repository."""
    for version in ("1.0.0", "1.1.0"):
        response = await driver.publish(writer, "pad", version)
        assert response.status_code == driver.accepted, response.text
    return f"acme/{driver.format}/pad"


async def test_all_adapters_have_a_driver() -> None:
    assert {each.format for each in DRIVERS} == {each.name for each in FORMATS}


async def test_what_is_published_is_listed_and_downloaded(
    driver: Driver, writer: Client, published: str
) -> None:
    assert driver.versions(await driver.look(writer, "pad")) == ["1.0.0", "1.1.0"]
    for version in ("1.0.0", "1.1.0"):
        response = await driver.download(writer, "pad", version)
        assert response.content == driver.file("pad", version)
        assert "content-encoding" not in response.headers


async def test_a_download_goes_on_where_it_was_cut(
    driver: Driver, writer: Client, published: str
) -> None:
    whole = await driver.download(writer, "pad", "1.0.0")
    path, etag = whole.request.url.path, whole.headers["etag"]
    part = await writer.get(path, headers={"Range": "bytes=5-9", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert (await writer.get(path, headers={"If-None-Match": etag})).status_code == 304
    head = await writer.request("HEAD", path)
    assert (head.headers["content-length"], head.content) == (str(len(whole.content)), b"")


async def test_a_document_that_has_not_changed_is_not_sent_again(
    driver: Driver, writer: Client, published: str
) -> None:
    first = await driver.look(writer, "pad")
    path, etag = first.request.url.raw_path.decode(), first.headers["etag"]
    again = await writer.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    await driver.publish(writer, "pad", "1.2.0")
    third = await writer.get(path, headers={"If-None-Match": etag})
    assert third.status_code == 200
    assert driver.versions(third) == ["1.0.0", "1.1.0", "1.2.0"]


async def test_it_is_an_artifact_under_v2(driver: Driver, writer: Client, published: str) -> None:
    tags = (await writer.get(f"/v2/{published}/tags/list")).json()["tags"]
    assert {"1.0.0", "1.1.0"} <= set(tags)
    response = await writer.get(f"/v2/{published}/manifests/1.0.0")
    manifest = response.json()
    adapter = FORMATS.named(driver.format)
    assert (manifest["mediaType"], manifest["artifactType"]) == (
        OCI_MANIFEST,
        adapter.artifact_type,
    )
    (layer,) = manifest["layers"]
    blob = await writer.get(f"/v2/{published}/blobs/{layer['digest']}")
    assert blob.content == driver.file("pad", "1.0.0")


async def test_a_removed_version_is_gone_and_comes_back(
    world: World, driver: Driver, writer: Client, published: str
) -> None:
    response = await driver.remove(writer, "pad", "1.1.0")
    assert response.status_code < 300, response.text
    assert driver.versions(await driver.look(writer, "pad")) == ["1.0.0"]
    assert (await driver.download(writer, "pad", "1.1.0")).status_code == 404
    assert (await writer.get(f"/v2/{published}/manifests/1.1.0")).status_code == 404
    again = await driver.publish(writer, "pad", "1.1.0", more="other bytes")
    assert again.status_code in driver.taken
    assert "deleted" in driver.words(again)
    assert "restore" in driver.words(again)
    (deletion,) = await world.services.restoration.list(published)
    restoring = f"/api/v1/packages/{published.replace('/', '%2F', 2).replace('%2F', '/', 1)}"
    done = await writer.post(f"{restoring}/deletions/{deletion.id}/restore", json={})
    assert done.status_code < 300, done.text
    assert driver.versions(await driver.look(writer, "pad")) == ["1.0.0", "1.1.0"]
    back = await driver.download(writer, "pad", "1.1.0")
    assert back.content == driver.file("pad", "1.1.0")


async def test_the_last_version_takes_the_package_along(
    driver: Driver, writer: Client, published: str
) -> None:
    for version in ("1.0.0", "1.1.0"):
        assert (await driver.remove(writer, "pad", version)).status_code < 300
    assert (await driver.look(writer, "pad")).status_code == 404
    assert (await driver.publish(writer, "pad", "1.0.0")).status_code in driver.taken
    assert (await driver.publish(writer, "pad", "2.0.0")).status_code == driver.accepted
    assert driver.versions(await driver.look(writer, "pad")) == ["2.0.0"]


async def test_a_version_is_published_once(driver: Driver, writer: Client, published: str) -> None:
    same = await driver.publish(writer, "pad", "1.0.0")
    other = await driver.publish(writer, "pad", "1.0.0", more="other bytes")
    for response in (same, other):
        assert response.status_code in driver.taken
        assert "1.0.0" in driver.words(response)
    found = await driver.download(writer, "pad", "1.0.0")
    assert found.content == driver.file("pad", "1.0.0")


async def test_one_of_ten_who_publish_a_version_wins(
    driver: Driver, writer: Client, world: World
) -> None:
    responses = await asyncio.gather(
        *(driver.publish(writer, "pad", "1.0.0", more=str(number)) for number in range(10))
    )
    statuses = sorted(response.status_code for response in responses)
    assert statuses[0] == driver.accepted
    assert all(status in driver.taken for status in statuses[1:])
    assert driver.versions(await driver.look(writer, "pad")) == ["1.0.0"]


async def test_ten_versions_at_once_all_appear(driver: Driver, writer: Client) -> None:
    versions = [f"1.{number}.0" for number in range(10)]
    responses = await asyncio.gather(*(driver.publish(writer, "pad", each) for each in versions))
    assert {response.status_code for response in responses} == {driver.accepted}
    assert sorted(driver.versions(await driver.look(writer, "pad"))) == versions


async def test_what_is_not_there_is_unknown(driver: Driver, writer: Client, published: str) -> None:
    for response in (
        await driver.look(writer, "other"),
        await driver.download(writer, "other", "1.0.0"),
        await driver.download(writer, "pad", "9.9.9"),
    ):
        assert response.status_code == 404
        assert driver.words(response)


async def test_a_closed_feed_asks_whoever_comes(
    world: World, driver: Driver, published: str
) -> None:
    nobody = world.client("")
    for response in (
        await driver.look(nobody, "pad"),
        await driver.look(nobody, "other"),
        await driver.download(nobody, "pad", "1.0.0"),
        await driver.publish(nobody, "pad", "3.0.0"),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Basic ")
        assert response.headers["cache-control"] == "no-store"


async def test_an_open_feed_hides_what_is_not_open(
    world: World, driver: Driver, writer: Client, published: str
) -> None:
    await driver.publish(writer, "secret", "1.0.0")
    await world.publish(published, Visibility.PUBLIC)
    nobody = world.client("")
    assert driver.versions(await driver.look(nobody, "pad")) == ["1.0.0", "1.1.0"]
    found = await driver.download(nobody, "pad", "1.0.0")
    assert found.content == driver.file("pad", "1.0.0")
    assert "immutable" in found.headers["cache-control"]
    for name in ("secret", "other"):
        assert (await driver.look(nobody, name)).status_code == 404
        assert (await driver.download(nobody, name, "1.0.0")).status_code == 404
    assert (await driver.download(nobody, "pad", "1.0.0", always=True)).status_code == 401
    assert (await driver.publish(nobody, "pad", "3.0.0")).status_code == 401


async def test_a_private_file_is_no_caches_to_keep(
    driver: Driver, writer: Client, published: str
) -> None:
    for response in (
        await driver.download(writer, "pad", "1.0.0"),
        await driver.look(writer, "pad"),
    ):
        assert "public" not in response.headers["cache-control"]
        assert "Authorization" in response.headers["vary"]
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_stranger_finds_nothing_and_writes_nothing(
    world: World, driver: Driver, published: str
) -> None:
    stranger = world.client("stranger")
    for name in ("pad", "other"):
        assert (await driver.look(stranger, name)).status_code == 404
        assert (await driver.download(stranger, name, "1.0.0")).status_code == 404
        assert (await driver.publish(stranger, name, "3.0.0")).status_code == 403


async def test_a_token_that_only_reads_publishes_and_removes_nothing(
    world: World, driver: Driver, writer: Client, published: str
) -> None:
    reading = Client(world, basic("writer", await world.mint("writer", Scope.READ)))
    assert (await driver.download(reading, "pad", "1.0.0")).status_code == 200
    refused = await driver.publish(reading, "pad", "3.0.0")
    assert refused.status_code == 403
    assert "write" in driver.words(refused)
    assert (await driver.remove(reading, "pad", "1.0.0")).status_code == 403
    assert driver.versions(await driver.look(writer, "pad")) == ["1.0.0", "1.1.0"]


async def test_a_token_that_has_ended_opens_nothing(
    world: World, driver: Driver, published: str
) -> None:
    expired = Client(world, basic("writer", await world.mint("writer", expires_in=60)))
    assert (await driver.download(expired, "pad", "1.0.0")).status_code == 200
    world.clock.advance(61)
    wrong = Client(world, basic("writer", "phu_" + "0" * 36))
    for client in (expired, wrong):
        for response in (
            await driver.download(client, "pad", "1.0.0"),
            await driver.publish(client, "pad", "3.0.0"),
        ):
            assert response.status_code == 401
            assert driver.words(response)


async def test_a_publish_is_an_event(world: World, driver: Driver, published: str) -> None:
    rows = await world.rows("select kind, subject from events where kind = 'version.publish'")
    assert [row["subject"] for row in rows] == ["1.0.0", "1.1.0"]
    rows = await world.rows(
        "select kind from audit where kind = 'version.publish' and account_id is not null"
    )
    assert len(rows) == 2


async def test_nothing_is_kept_of_a_publish_that_was_refused(
    world: World, driver: Driver, writer: Client
) -> None:
    await driver.publish(world.client("stranger"), "pad", "1.0.0")
    assert await world.rows("select id from packages") == []
    assert await world.rows("select id from blobs") == []
    assert (await driver.look(writer, "pad")).status_code == 404
