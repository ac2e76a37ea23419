"""Renamed and transferred packages: what the old name still answers, and to whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx
import pytest

from auth.accounts import PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from registry.renaming import FIND_ALIAS, Renaming
from storage.database import Database, Row, T, Transaction, Value, Work
from storage.errors import Conflict, Denied, Invalid, NameInvalid, NotFound
from tests.registry.client import Client, Pushed, digest_of, index_manifest, refused
from tests.registry.world import World

OLD, NEW = "acme/app", "acme/server"
LAYER = b"the layer"


@pytest.fixture
def renaming(world: World) -> Renaming:
    return Renaming(world.services.database, world.clock)


@pytest.fixture
async def image(world: World, writer: Client) -> Pushed:
    """An image with a referrer, pushed under the name it had first."""
    pushed = await writer.push_image(OLD, "v1", LAYER)
    await writer.push_artifact(OLD, "signed", "application/x-sig", subject=pushed.descriptor)
    return pushed


@pytest.fixture
async def beta(world: World) -> str:
    """An organization of the stranger's."""
    await world.services.accounts.create_organization(OPERATOR, "beta", "stranger")
    return "beta"


def pulls(name: str, image: Pushed) -> list[tuple[str, str]]:
    """Every way to read an image."""
    paths = [
        "manifests/v1",
        f"manifests/{image.digest}",
        f"blobs/{digest_of(LAYER)}",
        "tags/list",
        f"referrers/{image.digest}",
    ]
    return [(method, f"/v2/{name}/{path}") for path in paths for method in ("GET", "HEAD")]


async def answers(client: Client, name: str, image: Pushed) -> list[httpx.Response]:
    return [await client.request(method, path) for method, path in pulls(name, image)]


async def test_every_pull_of_the_old_name_is_answered_under_it(
    renaming: Renaming, image: Pushed, reader: Client
) -> None:
    before = await answers(reader, OLD, image)
    await renaming.rename(OPERATOR, OLD, NEW)
    for old, was in zip(await answers(reader, OLD, image), before, strict=True):
        assert (old.status_code, old.content) == (200, was.content), old.url
        assert old.headers.get("docker-content-digest") == was.headers.get("docker-content-digest")
    for now in await answers(reader, NEW, image):
        assert now.status_code == 200, now.url
    assert (await reader.get(f"/v2/{OLD}/tags/list")).json()["name"] == OLD
    assert (await reader.get("/v2/_catalog")).json() == {"repositories": [NEW]}


async def test_a_bearer_s_scope_for_the_old_name_counts_for_it_alone(
    renaming: Renaming, image: Pushed, reader: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    old = await reader.bearer(f"repository:{OLD}:pull")
    assert {a.status_code for a in await answers(old, OLD, image)} == {200}
    refused(await old.get(f"/v2/{NEW}/manifests/v1"), 401, "UNAUTHORIZED", f"repository:{NEW}")
    new = await reader.bearer(f"repository:{NEW}:pull")
    refused(await new.get(f"/v2/{OLD}/manifests/v1"), 401, "UNAUTHORIZED", f"repository:{OLD}")


async def test_the_anonymous_pull_a_public_package_by_its_old_name(
    world: World, renaming: Renaming, image: Pushed, anonymous: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    refused(await anonymous.get(f"/v2/{OLD}/manifests/v1"), 401, "UNAUTHORIZED")
    await world.publish(NEW)
    somebody = await anonymous.bearer(f"repository:{OLD}:pull")
    assert {a.status_code for a in await answers(somebody, OLD, image)} == {200}


@pytest.mark.parametrize("bearer", [False, True], ids=["token", "bearer"])
async def test_a_write_to_the_old_name_is_403_and_names_the_new_one(
    world: World, renaming: Renaming, image: Pushed, writer: Client, bearer: bool
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    client = await writer.bearer(f"repository:{OLD}:pull,push,delete") if bearer else writer
    before = await world.footprint()
    for answer in (
        await client.post(f"/v2/{OLD}/blobs/uploads/"),
        await client.post(f"/v2/{OLD}/blobs/uploads/?mount={image.digest}&from={NEW}"),
        await client.post(f"/v2/{OLD}/blobs/uploads/?digest={digest_of(b'x')}", content=b"x"),
        await client.put_manifest(OLD, "v2", image.data, image.media_type),
        await client.delete(f"/v2/{OLD}/manifests/v1"),
        await client.delete(f"/v2/{OLD}/manifests/{image.digest}"),
        await client.delete(f"/v2/{OLD}/blobs/{digest_of(LAYER)}"),
    ):
        refused(answer, 403, "DENIED", f"{OLD} is {NEW} now", f"push to {NEW}")
    assert await world.footprint() == before


async def test_who_may_not_write_learns_no_new_name(
    renaming: Renaming, image: Pushed, stranger: Client, reader: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    assert image
    for client in (stranger, reader):
        answer = await client.post(f"/v2/{OLD}/blobs/uploads/")
        refused(answer, 403, "DENIED")
        assert NEW not in answer.text
    refused(await stranger.get(f"/v2/{OLD}/manifests/v1"), 404, "NAME_UNKNOWN")


async def test_blobs_are_mounted_from_the_old_name(
    renaming: Renaming, image: Pushed, writer: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    assert image
    mounted = await writer.post(f"/v2/acme/x/blobs/uploads/?mount={digest_of(LAYER)}&from={OLD}")
    assert mounted.status_code == 201


async def test_an_old_name_goes_with_its_package_from_name_to_name_and_back(
    world: World, renaming: Renaming, image: Pushed, reader: Client, writer: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, "acme/two")
    await renaming.rename(OPERATOR, "acme/two", NEW)
    for name in (OLD, "acme/two", NEW):
        assert (await reader.get(f"/v2/{name}/manifests/v1")).content == image.data
    await renaming.rename(OPERATOR, NEW, OLD)
    for name in (OLD, "acme/two", NEW):
        assert (await reader.get(f"/v2/{name}/manifests/v1")).content == image.data
    await writer.push_image(OLD, "v2")
    package = await world.services.packages.get(OLD)
    assert await renaming.aliases(package["id"]) == [NEW, "acme/two"]


async def test_an_old_name_is_kept_until_it_is_released(
    world: World, renaming: Renaming, image: Pushed, reader: Client, writer: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    await writer.push_image("acme/other", "v1")
    with pytest.raises(Conflict, match="'packhouse package release acme/app' ends that"):
        await renaming.rename(OPERATOR, "acme/other", OLD)
    with pytest.raises(NotFound, match="it is acme/server now"):
        await world.services.packages.get(OLD)
    with pytest.raises(NotFound, match="it is acme/server now"):
        await renaming.rename(OPERATOR, OLD, "acme/more")
    assert await renaming.release(OPERATOR, OLD) == NEW
    with pytest.raises(NotFound, match="not a name that a package had before"):
        await renaming.release(OPERATOR, OLD)
    assert (await reader.get(f"/v2/{OLD}/manifests/v1")).status_code == 404
    other = await writer.push_image(OLD, "v1", b"somebody else's")
    assert (await reader.get(f"/v2/{OLD}/manifests/v1")).content == other.data
    assert (await reader.get(f"/v2/{NEW}/manifests/v1")).content == image.data


async def test_a_package_keeps_its_old_name_also_while_it_is_deleted(
    world: World, renaming: Renaming, image: Pushed, reader: Client, writer: Client
) -> None:
    await renaming.rename(OPERATOR, OLD, NEW)
    deleted = await world.services.packages.delete(OPERATOR, NEW)
    refused(await reader.get(f"/v2/{OLD}/manifests/v1"), 404, "NAME_UNKNOWN")
    refused(await writer.post(f"/v2/{OLD}/blobs/uploads/"), 403, "DENIED", f"push to {NEW}")
    with pytest.raises(Conflict, match="is deleted: 'packhouse package restore acme/server' first"):
        await renaming.rename(OPERATOR, NEW, "acme/more")
    await world.services.restoration.restore(OPERATOR, NEW, deleted.id)
    assert (await reader.get(f"/v2/{OLD}/manifests/v1")).content == image.data


async def test_deletions_indexes_and_history_go_along(
    world: World, renaming: Renaming, image: Pushed, writer: Client
) -> None:
    index = await writer.push_manifest(OLD, "all", index_manifest(image))
    assert (await writer.delete(f"/v2/{OLD}/manifests/{index.digest}")).status_code == 202
    await renaming.rename(OPERATOR, OLD, NEW)
    (deletion,) = await world.services.restoration.list(NEW, 0)
    await world.services.restoration.restore(OPERATOR, NEW, deletion.id)
    for name in (OLD, NEW):
        assert (await writer.get(f"/v2/{name}/manifests/all")).content == index.data
    package = await world.services.packages.get(NEW)
    assert [tag["name"] for tag in await world.services.packages.history(package["id"], "v1")] == [
        "v1"
    ]


async def test_a_transfer_is_judged_by_the_new_owner_alone(
    world: World, renaming: Renaming, image: Pushed, beta: str, writer: Client, stranger: Client
) -> None:
    assert await renaming.transfer(OPERATOR, OLD, beta) == "beta/app"
    for name in (OLD, "beta/app"):
        assert (await stranger.get(f"/v2/{name}/manifests/v1")).content == image.data
        refused(await writer.get(f"/v2/{name}/manifests/v1"), 404, "NAME_UNKNOWN")
    refused(await stranger.post(f"/v2/{OLD}/blobs/uploads/"), 403, "DENIED", "push to beta/app")
    kept = await writer.post(f"/v2/{OLD}/blobs/uploads/")
    refused(kept, 403, "DENIED")
    assert "beta" not in kept.text
    await stranger.push_image("beta/app", "v2")


async def test_a_transfer_leaves_project_and_grants_and_keeps_visibility(
    world: World, renaming: Renaming, image: Pushed, beta: str
) -> None:
    services = world.services
    await services.accounts.create_user(OPERATOR, "guest", None)
    project_id = await services.projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    package = await services.packages.get(OLD)
    await services.packages.link(OPERATOR, OLD, project_id)
    await services.accounts.grant(OPERATOR, PACKAGE, package["id"], "guest", Role.READ)
    await services.accounts.grant(OPERATOR, PROJECT, project_id, "guest", Role.WRITE)
    await renaming.transfer(OPERATOR, OLD, beta)
    now = await services.packages.get("beta/app")
    assert (now["project"], now["visibility"]) == (None, Visibility.PUBLIC)
    assert now["own_visibility"] == Visibility.PUBLIC
    await services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.PRIVATE)
    assert (await services.packages.get("beta/app"))["visibility"] == Visibility.PUBLIC
    assert await world.rows("select role from grants where resource_kind = 3") == []
    events = await world.rows("select owner_id from events where kind = 'package.transfer'")
    assert len({event["owner_id"] for event in events}) == 2
    assert image


async def test_names_that_cannot_be_are_refused_in_words(
    renaming: Renaming, image: Pushed, beta: str, writer: Client, stranger: Client
) -> None:
    await writer.push_image(NEW, "v1")
    await stranger.push_image("beta/app", "v1")
    for new, error, words in (
        (NEW, Conflict, "acme/server exists"),
        (OLD, Conflict, "acme/app exists"),
        ("beta/other", Invalid, "packhouse package transfer acme/app beta"),
        ("acme/Upper", NameInvalid, "lower case"),
        ("acme", NameInvalid, "owner/image"),
        ("acme/npm/pad", Denied, "kept for npm packages"),
    ):
        with pytest.raises(error, match=words):
            await renaming.rename(OPERATOR, OLD, new)
    for owner, error, words in (
        (beta, Conflict, "beta/app exists"),
        ("acme", Conflict, "is acme's already"),
        ("nobody", NotFound, "no user or organization named 'nobody'"),
        ("v2", NameInvalid, "is reserved"),
    ):
        with pytest.raises(error, match=words):
            await renaming.transfer(OPERATOR, OLD, owner)
    with pytest.raises(NotFound, match="no package acme/none"):
        await renaming.rename(OPERATOR, "acme/none", "acme/more")
    assert image


async def test_an_upload_under_way_ends_with_the_name(
    world: World, renaming: Renaming, image: Pushed, writer: Client
) -> None:
    location = await writer.start(OLD)
    first = await writer.patch(location, content=b"half")
    assert first.status_code == 202
    await renaming.rename(OPERATOR, OLD, NEW)
    path = first.headers["location"]
    for answer in (
        await writer.get(path),
        await writer.patch(path, content=b"more"),
        await writer.put(path, params={"digest": digest_of(b"half")}),
    ):
        refused(answer, 403, "DENIED", f"push to {NEW}")
    upload = path.rpartition("/")[2]
    elsewhere = await writer.get(f"/v2/{NEW}/blobs/uploads/{upload}")
    refused(elsewhere, 404, "BLOB_UPLOAD_UNKNOWN")
    assert image


@pytest.mark.parametrize("way", ["post", "first put", "last put"])
async def test_a_body_that_comes_while_its_package_is_renamed_makes_nothing(
    world: World, renaming: Renaming, image: Pushed, writer: Client, way: str
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await renaming.rename(OPERATOR, OLD, NEW)
        yield b"more"

    path, digest = f"/v2/{OLD}/blobs/uploads/", digest_of(b"halfmore")
    if way != "post":
        path = await writer.start(OLD)
    if way == "last put":
        path = (await writer.patch(path, content=b"some")).headers["location"]
        digest = digest_of(b"somehalfmore")
    send = writer.post if way == "post" else writer.put
    answer = await send(path, params={"digest": digest}, content=body())
    refused(answer, 403, "DENIED", f"{OLD} is {NEW} now")
    assert [row["repository"] for row in await world.rows("select repository from packages")] == [
        NEW
    ]
    assert (await writer.head(f"/v2/{NEW}/blobs/{digest}")).status_code == 404
    assert image


class InBetween:
    """A database where something else happens once a rename has found its name free.

    SQLite has one writer, and nothing comes in between there: it happens just before.
    """

    def __init__(self, database: Database, happening: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._happening = happening
        self.runs = 0

    async def write(self, work: Work[T]) -> T:
        if self._database.engine == "sqlite":
            await self._happening()
            return await self._database.write(work)
        return await self._database.write(lambda tx: work(self._watched(tx)))

    def _watched(self, tx: Transaction) -> Transaction:
        self.runs += 1
        fetch_one = tx.fetch_one

        async def watching(sql: str, *args: Value) -> Row | None:
            row = await fetch_one(sql, *args)
            if sql == FIND_ALIAS and self.runs == 1:
                await self._happening()
            return row

        tx.fetch_one = watching  # type: ignore[method-assign]
        return tx


@pytest.mark.parametrize("way", ["rename", "transfer"])
async def test_a_first_push_that_takes_the_new_name_meanwhile_is_a_conflict_in_words(
    world: World, image: Pushed, beta: str, way: str, reader: Client
) -> None:
    taken, admin = {"rename": NEW, "transfer": f"{beta}/app"}[way], world.client("admin")
    between = InBetween(world.services.database, lambda: admin.push_image(taken, "v1", b"first"))
    renaming = Renaming(cast("Database", between), world.clock)
    with pytest.raises(Conflict, match=f"{taken} exists, or was deleted and can come back"):
        await (
            renaming.rename(OPERATOR, OLD, NEW)
            if way == "rename"
            else renaming.transfer(OPERATOR, OLD, beta)
        )
    assert (await reader.get(f"/v2/{OLD}/manifests/v1")).content == image.data
    assert (await admin.get(f"/v2/{taken}/manifests/v1")).content != image.data
    assert await world.rows("select repository from aliases") == []


async def test_two_packages_that_take_one_name_at_once_do_not_both_get_it(
    world: World, image: Pushed, writer: Client
) -> None:
    await writer.push_image("acme/other", "v1")
    rival = Renaming(world.services.database, world.clock)
    between = InBetween(world.services.database, lambda: rival.rename(OPERATOR, "acme/other", NEW))
    with pytest.raises(Conflict, match="acme/server exists"):
        await Renaming(cast("Database", between), world.clock).rename(OPERATOR, OLD, NEW)
    await writer.push_image(OLD, "v2")
    assert image


async def test_pushes_of_a_name_that_is_being_taken_end_in_words(
    world: World, renaming: Renaming, image: Pushed, writer: Client
) -> None:
    """Renamed there and back while ten push: each gets in, or is told where the package is."""

    async def push(number: int) -> int:
        data = b"%d" % number
        name = (OLD, NEW)[number % 2]
        params = {"digest": digest_of(data)}
        answer = await writer.post(f"/v2/{name}/blobs/uploads/", params=params, content=data)
        return answer.status_code

    for there, back in ((OLD, NEW), (NEW, OLD)):
        moved, *pushed = await asyncio.gather(
            renaming.rename(OPERATOR, there, back), *map(push, range(10)), return_exceptions=True
        )
        assert set(pushed) <= {201, 403}
        if moved is not None:  # a push was first
            assert isinstance(moved, Conflict)
            return
    assert image
