"""What refers to a version and stands in its documents: whichever of the two comes first."""

import asyncio
import json
from typing import Any

import pytest

from auth.principals import Action
from registry.manifest_push import Kept
from registry.manifests import parse_manifest
from registry.packaging.attached import FILE_BYTES
from registry.packaging.rendering import Moved
from registry.packaging.state_changes import apply
from storage.digest import Digest
from storage.names import Tag, parse_repository
from tests.registry.client import OCI_EMPTY, OCI_MANIFEST, Client, Pushed, descriptor
from tests.registry.packaging.arriving import Artifact, artifact, push, put
from tests.registry.packaging.generic import NOTE, Generic
from tests.registry.packaging.shelf import PAD, Shelf, document
from tests.registry.world import World

REPOSITORY = parse_repository(PAD)


@pytest.fixture
def one() -> Artifact:
    """A version that nobody published yet."""
    return artifact("1.0.0")


async def attach(client: Client, made: Artifact | bytes, *files: str, kind: str = NOTE) -> Pushed:
    """Push a referrer of a version, with these files."""
    subject = made if isinstance(made, bytes) else made.manifest
    for data in ("{}", *files):
        await client.push_blob(PAD, data.encode())
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": descriptor(b"{}", OCI_EMPTY),
        "layers": [descriptor(data.encode(), kind) for data in files],
        "subject": descriptor(subject, OCI_MANIFEST),
    }
    return await client.push_manifest(PAD, "", manifest)


async def notes(shelf: Shelf) -> list[object]:
    """What the documents say of each version's referrers."""
    parts = [document(part) for part in await shelf.versions("full")]
    rows = await shelf.world.rows("select facts from package_versions order by id")
    found = [part["computed"] for part in parts]
    assert found == [json.loads(row["facts"]) for row in rows]
    return [each.get("notes") for each in found if isinstance(each, dict)]


async def test_it_comes_after_its_version(writer: Client, shelf: Shelf, one: Artifact) -> None:
    await push(writer, one, "1.0.0")
    revision = await shelf.revision()
    for _ in range(2):
        await attach(writer, one, "1.0.0: padded")
        assert await notes(shelf) == [["padded"]]
    assert await shelf.revision() > revision
    await attach(writer, one, "1.0.0: by hand", kind=f"{NOTE}.v2")
    assert await notes(shelf) == [["by hand", "padded"]]


async def test_it_comes_before_its_version(writer: Client, shelf: Shelf, one: Artifact) -> None:
    await attach(writer, one, "1.0.0: padded")
    await attach(writer, one, "1.0.0: by hand")
    await push(writer, one, "1.0.0")
    assert await notes(shelf) == [["by hand", "padded"]]


async def test_it_comes_before_the_tag_of_its_version(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    """oras cp -r: the version by digest, what refers to it, and the tag last."""
    await push(writer, one, "")
    await attach(writer, one, "1.0.0: padded")
    await put(writer, one, "1.0.0")
    assert await notes(shelf) == [["padded"]]


async def test_its_version_was_published_by_its_own_client(writer: Client, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    manifest = (await writer.get(f"/v2/{PAD}/manifests/1.0.0")).content
    await attach(writer, manifest, "1.0.0: padded")
    assert await notes(shelf) == [["padded"]]


NOTHING: dict[str, tuple[list[str], str]] = {
    "of another version": (["1.0.1: padded"], NOTE),
    "of another type": (["1.0.0: padded"], "application/vnd.example"),
    "of two files": (["1.0.0: padded", "1.0.0: by hand"], NOTE),
    "without a file": ([], NOTE),
    "too large": (["1.0.0: padded".ljust(FILE_BYTES + 1)], NOTE),
}


@pytest.mark.parametrize("first", ["version", "referrer"])
@pytest.mark.parametrize("name", NOTHING)
async def test_what_says_nothing_of_its_version_is_kept(
    writer: Client, shelf: Shelf, one: Artifact, name: str, first: str
) -> None:
    files, kind = NOTHING[name]
    if first == "version":
        await push(writer, one, "1.0.0")
    made = await attach(writer, one, *files, kind=kind)
    if first == "referrer":
        await push(writer, one, "1.0.0")
    listed = (await writer.get(f"/v2/{PAD}/referrers/{one.digest}")).json()["manifests"]
    assert [each["digest"] for each in listed] == [made.digest]
    assert await notes(shelf) == [None]


async def test_both_come_at_once(writer: Client, shelf: Shelf) -> None:
    made = {f"1.0.{number}": artifact(f"1.0.{number}") for number in range(8)}

    async def publish(version: str) -> None:
        assert (await put(writer, made[version], version)).status_code == 201

    async def note(version: str, text: str) -> None:
        await attach(writer, made[version], f"{version}: {text}")

    for each in made.values():
        await push(writer, each, "")  # its blobs are here, and so is its manifest
    coming = [note(version, text) for version in made for text in "012"]
    await asyncio.gather(*coming, *map(publish, made))
    assert await notes(shelf) == [["0", "1", "2"]] * 8


async def test_a_state_that_changes_meanwhile_is_not_lost(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    states = shelf.packaging.states
    for number in range(8):
        said = f"use {number}"
        await asyncio.gather(
            attach(writer, one, f"1.0.0: {number}"),
            states.set(shelf.who, REPOSITORY, {"1.0.0": {"deprecated": said}}),
        )
        (part,) = await shelf.versions("full")
        assert document(part)["deprecated"] == said
        assert await notes(shelf) == [[str(each) for each in range(number + 1)]]


async def test_a_version_that_was_read_before_it_came_begins_anew(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "")
    manifest = parse_manifest(one.manifest, OCI_MANIFEST)
    access = await world.services.permissions.require(shelf.who, Action.PUSH, REPOSITORY)
    read = (manifest, Digest.of(one.manifest), one.manifest, [Tag("1.0.0")])
    admission = await shelf.packaging.door.admit(shelf.who, access, *read)
    assert admission is not None
    await attach(writer, one, "1.0.0: padded")
    package_id = await shelf.id()
    with pytest.raises(Moved):
        await world.services.database.write(lambda tx: admission.record(tx, package_id, Kept(0, 0)))
    assert await shelf.versions() == []


async def test_a_state_that_was_rendered_before_it_came_begins_anew(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    access = await world.services.permissions.require(shelf.who, Action.PUSH, REPOSITORY)
    said = {"1.0.0": {"deprecated": "use 2"}}
    changes = await shelf.packaging.states.changes(access, Generic(), said)
    await attach(writer, one, "1.0.0: padded")
    package_id = await shelf.id()
    with pytest.raises(Moved):
        await world.services.database.write(
            lambda tx: apply(tx, shelf.who, access, package_id, changes, world.clock())
        )
    assert await notes(shelf) == [["padded"]]


async def test_it_comes_while_its_version_is_deleted(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    await attach(writer, one, "1.0.0: padded")
    await shelf.delete("1.0.0")
    await attach(writer, one, "1.0.0: by hand")
    assert await shelf.restore() == {}
    assert await notes(shelf) == [["by hand", "padded"]]
