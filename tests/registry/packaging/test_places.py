"""A package of a format stays where its files say; the APIs know it by its true name."""

from typing import Any

import pytest

from auth.audit import OPERATOR
from registry.errors import ReservedName
from registry.owner_renaming import OwnerRenaming
from registry.packaging.formats import Formats
from registry.renaming import Renaming
from storage.errors import Conflict
from storage.names import RepositoryName, component_of, parse_repository
from tests.registry.client import Client
from tests.registry.github.asking import listed, refused, shown
from tests.registry.packaging.generic import BIN, Generic, facts
from tests.registry.packaging.shelf import Shelf, once
from tests.registry.world import World

V3 = "/api/v3/orgs/acme/packages"


class Scoped(Generic):
    """Like npm, whose packages have their owner's name in them."""

    name = "npm"


class Plain(Generic):
    """Like RubyGems, whose packages have not."""

    name = "rubygems"

    def package_name(self, repository: RepositoryName, name: str) -> str:
        """Return the name."""
        super().package_name(repository, name)
        return name


@pytest.fixture
def formats() -> Formats:
    """A format with the owner's name in its files, and one without."""
    return Formats([Scoped(), Plain()])


@pytest.fixture
def renaming(world: World) -> Renaming:
    """Gives packages other names."""
    return Renaming(world.services.database, world.clock, world.formats)


@pytest.fixture
def owners(world: World) -> OwnerRenaming:
    """Gives owners other names."""
    return OwnerRenaming(world.services.database, world.clock, world.formats)


async def publish(shelf: Shelf, word: str, version: str = "1.0.0", name: str = "pad") -> None:
    """Publish a version of acme's package of a format."""
    packaging, file = shelf.packaging, f"{name}-{version}.bin"
    repository = parse_repository(f"acme/{word}/{component_of(name)}")
    package = packaging.formats.named(word).package_name(repository, name)
    files = [await packaging.files.add(file, BIN, once(f"{version}\n".encode()))]
    said = facts({"package": package, "version": version})
    await packaging.publishing.publish(shelf.who, repository, name, said, files)


async def where(world: World) -> list[tuple[str, str]]:
    rows = await world.rows("select repository, name from packages order by repository")
    return [(row["repository"], row["name"]) for row in rows]


async def test_no_package_of_a_format_gets_another_name(
    shelf: Shelf, renaming: Renaming, writer: Client
) -> None:
    await publish(shelf, "npm")
    await publish(shelf, "rubygems")
    await writer.push_image("acme/app", "v1")
    before = await where(shelf.world)
    for old, new in {
        "acme/npm/pad": "acme/npm/pad2",
        "acme/rubygems/pad": "acme/rubygems/pad2",
    }.items():
        with pytest.raises(Conflict, match=f"{old} holds .*pad, and its files say so"):
            await renaming.rename(OPERATOR, old, new)
    for old, new in {"acme/npm/pad": "acme/pad", "acme/app": "acme/npm/app"}.items():
        with pytest.raises(ReservedName, match="is not a place for what"):
            await renaming.rename(OPERATOR, old, new)
    owner = shelf.world.client("owner")
    answer = await owner.patch("/api/v1/packages/acme/npm%2Fpad", json={"name": "npm/pad2"})
    assert (answer.status_code, "its files say so" in answer.text) == (409, True)
    assert await where(shelf.world) == before


async def test_a_package_is_transferred_where_its_files_do_not_name_the_owner(
    shelf: Shelf, renaming: Renaming
) -> None:
    await shelf.world.services.accounts.create_organization(OPERATOR, "globex")
    await publish(shelf, "npm")
    await publish(shelf, "rubygems", name="Pad")
    with pytest.raises(Conflict, match="holds acme:pad, and its files say so"):
        await renaming.transfer(OPERATOR, "acme/npm/pad", "globex")
    component = component_of("Pad")
    moved = await renaming.transfer(OPERATOR, f"acme/rubygems/{component}", "globex")
    assert moved == f"globex/rubygems/{component}"
    assert await where(shelf.world) == [("acme/npm/pad", "pad"), (moved, "Pad")]


async def test_an_owner_is_renamed_where_no_files_name_it(
    shelf: Shelf, owners: OwnerRenaming
) -> None:
    await publish(shelf, "rubygems")
    await owners.rename(OPERATOR, "acme", "globex")
    assert await where(shelf.world) == [("globex/rubygems/pad", "pad")]
    await owners.rename(OPERATOR, "globex", "acme")
    await publish(shelf, "npm")
    before = await shelf.world.footprint()
    with pytest.raises(Conflict, match="acme/npm/pad holds acme:pad, and its files say so"):
        await owners.rename(OPERATOR, "acme", "globex")
    assert await shelf.world.footprint() == before
    await shelf.world.services.packages.delete(OPERATOR, "acme/npm/pad")
    with pytest.raises(Conflict):
        await owners.rename(OPERATOR, "acme", "globex")
    (deletion,) = await shelf.world.services.restoration.list("acme/npm/pad")
    await shelf.world.services.restoration.purge(OPERATOR, "acme/npm/pad", deletion.id)
    await shelf.gc()
    await owners.rename(OPERATOR, "acme", "globex")
    assert ("globex/npm/pad", "pad") in await where(shelf.world)


async def test_github_s_api_knows_a_package_by_its_format_and_true_name(
    shelf: Shelf, writer: Client
) -> None:
    await publish(shelf, "npm", name="Pad")
    await publish(shelf, "npm", "1.0.1", name="Pad")
    await writer.push_image("acme/app", "v1")
    (found,) = listed(await writer.get(f"{V3}?package_type=npm"), "package")
    assert (found["name"], found["package_type"], found["version_count"]) == ("Pad", "npm", 2)
    assert shown(await writer.get(f"{V3}/npm/Pad"), "package") == found
    refused(await writer.get(f"{V3}/npm/pad"), 404)
    refused(await writer.get(f"{V3}/npm/app"), 404)
    refused(await writer.get(f"{V3}/container/npm%2F{component_of('Pad')}"), 404)


async def test_github_s_api_calls_versions_by_their_names(shelf: Shelf, writer: Client) -> None:
    await publish(shelf, "npm")
    await publish(shelf, "npm", "1.0.1")
    versions = listed(await writer.get(f"{V3}/npm/pad/versions"), "package-version")
    assert [version["name"] for version in versions] == ["1.0.1", "1.0.0"]
    assert versions[0]["metadata"] == {"package_type": "npm"}
    last = f"{V3}/npm/pad/versions/{versions[0]['id']}"
    assert shown(await writer.get(last), "package-version")["name"] == "1.0.1"
    assert (await writer.delete(last)).status_code == 204
    deleted = await writer.get(f"{V3}/npm/pad/versions?state=deleted")
    assert [version["name"] for version in listed(deleted, "package-version")] == ["1.0.1"]
    assert (await writer.post(f"{last}/restore")).status_code == 204
    versions = listed(await writer.get(f"{V3}/npm/pad/versions"), "package-version")
    assert [version["name"] for version in versions] == ["1.0.1", "1.0.0"]


async def test_our_api_shows_finds_and_deletes_it_like_any_other(
    shelf: Shelf, writer: Client
) -> None:
    await publish(shelf, "npm")
    package: dict[str, Any] = (await writer.get("/api/v1/packages/acme/npm%2Fpad")).json()
    assert (package["name"], package["format"]) == ("acme/npm/pad", "npm")
    (version,) = (await writer.get("/api/v1/packages/acme/npm%2Fpad/versions")).json()["items"]
    assert (version["name"], version["tags"]) == ("1.0.0", ["1.0.0", "latest"])
    (found,) = (await writer.get("/api/v1/search?q=pad")).json()["items"]
    assert (found["name"], found["format"]) == ("acme/npm/pad", "npm")
    path = "/api/v1/packages/acme/npm%2Fpad/tags"
    assert (await writer.delete(f"{path}/latest")).status_code == 405
    assert (await writer.delete(f"{path}/1.0.0")).status_code == 204
    assert (await writer.get("/api/v1/packages/acme/npm%2Fpad/versions")).json()["items"] == []


async def test_our_api_shows_what_clients_call_a_package(shelf: Shelf, writer: Client) -> None:
    """A container is called what its repository is, and nothing is before its first version."""
    await publish(shelf, "npm", name="Pad")
    await publish(shelf, "rubygems", name="Pad")
    await writer.push_blob("acme/npm/early", b"what nothing names yet")
    await writer.push_image("acme/app", "v1")
    packages = (await writer.get("/api/v1/packages")).json()["items"]
    slug = component_of("Pad")
    assert {package["name"]: package["true_name"] for package in packages} == {
        "acme/app": "",
        "acme/npm/early": "",
        f"acme/npm/{slug}": "acme:Pad",
        f"acme/rubygems/{slug}": "Pad",
    }


async def test_a_push_to_a_format_that_is_not_here_is_refused(writer: Client) -> None:
    started = await writer.post("/v2/acme/maven/pad/blobs/uploads/")
    assert started.status_code == 403
    assert "kept for maven packages" in started.text
    started = await writer.post("/v2/acme/npm/a/b/blobs/uploads/")
    assert started.status_code == 400
