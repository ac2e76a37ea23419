"""Release states: set, written into documents, carried from registry to registry under `_state`."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from auth.principals import Action
from registry.errors import ManifestUnknown
from registry.manifest_push import Kept
from registry.manifests import parse_manifest
from registry.our_tags import STATE_TAG, STATE_TYPE
from registry.packaging.format import State
from registry.packaging.rendering import Moved
from registry.packaging.state_manifest import MAX_SIZE, STATES, render_states
from storage.digest import Digest
from storage.errors import Conflict, Denied, Invalid
from storage.names import parse_repository
from tests.registry.client import OCI_MANIFEST, Client, digest_of, image_manifest, refused
from tests.registry.packaging.arriving import ACCEPT, artifact, copy, push, push_blobs
from tests.registry.packaging.shelf import PAD, Shelf, document
from tests.registry.world import World

REPOSITORY = parse_repository(PAD)
EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": digest_of(b"{}"),
    "size": 2,
}
API = "/api/v1/packages/acme/generic%2Fpad"
OLD = {"deprecated": "use pad2"}


async def set_states(shelf: Shelf, **states: State) -> None:
    """Set states of versions 1, 2, ...: `v1` is 1.0.0."""
    named = {f"{key[1:]}.0.0": state for key, state in states.items()}
    await shelf.packaging.states.set(shelf.who, REPOSITORY, named)


async def shown(shelf: Shelf) -> dict[str, str]:
    """What documents say of each version: why it is deprecated, or ""."""
    parts = [document(part) for part in await shelf.versions("full")]
    found: dict[str, str] = {}
    for part in parts:
        metadata: Any = part["metadata"]
        found[metadata["version"]] = str(part.get("deprecated", ""))
    return found


async def kept(client: Client) -> list[dict[str, Any]]:
    """What the manifest under `_state` says."""
    found = await client.get(f"/v2/{PAD}/manifests/_state", headers=ACCEPT)
    assert found.status_code == 200, found.text
    said: list[dict[str, Any]] = json.loads(found.json()["annotations"][STATES])
    return said


async def put_states(
    client: Client, states: object, tag: str = "_state", fields: Mapping[str, object] | None = None
) -> httpx.Response:
    """Push states as another registry would have made them."""
    notes = {"vnd.packhouse.package.format": "generic", STATES: json.dumps(states)}
    made = image_manifest(b"{}", artifactType=STATE_TYPE, layers=[EMPTY], annotations=notes)
    data = json.dumps({**made, "config": EMPTY, **(fields or {})}).encode()
    await push_blobs(client, b"{}")
    return await client.put_manifest(PAD, tag or digest_of(data), data, OCI_MANIFEST)


async def live_states(world: World) -> int:
    """How many manifests of states there are."""
    rows = await world.rows(
        f"select id from manifests where deleted_at is null and artifact_type = '{STATE_TYPE}'"
    )
    return len(rows)


def group(*versions: str, **state: str) -> Mapping[str, object]:
    return {"state": state, "versions": list(versions)}


async def test_a_state_is_in_documents_at_once_and_changes_no_bytes(
    world: World, writer: Client, shelf: Shelf
) -> None:
    for version in ("1.0.0", "2.0.0"):
        await shelf.publish(version)
    before, revision = await shelf.digest("1.0.0"), await shelf.revision()
    await set_states(shelf, v1=OLD)
    assert await shown(shelf) == {"1.0.0": "use pad2", "2.0.0": ""}
    assert await shelf.digest("1.0.0") == before
    assert await shelf.revision() > revision
    assert await kept(writer) == [group("1.0.0", deprecated="use pad2")]
    assert (await shelf.events())[-1] == ("version.state", "1.0.0", "deprecated")
    await set_states(shelf, v1={})
    assert await shown(shelf) == {"1.0.0": "", "2.0.0": ""}
    assert await kept(writer) == []
    assert (await shelf.events())[-1] == ("version.state", "1.0.0", "none")


async def test_versions_of_one_state_stand_together(writer: Client, shelf: Shelf) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        await shelf.publish(version)
    await set_states(shelf, v2={"deprecated": "b"}, v3=OLD, v1=OLD)
    assert await kept(writer) == [
        group("2.0.0", deprecated="b"),
        group("1.0.0", "3.0.0", deprecated="use pad2"),
    ]


async def test_what_was_said_before_is_removed_at_once(
    world: World, writer: Client, shelf: Shelf
) -> None:
    await shelf.publish("1.0.0")
    for text in ("a", "b", "a"):
        await set_states(shelf, v1={"deprecated": text})
        assert await live_states(world) == 1
    await shelf.gc()
    sql = f"select id from manifests where artifact_type = '{STATE_TYPE}'"
    assert len(await world.rows(sql)) == 1
    assert await kept(writer) == [group("1.0.0", deprecated="a")]


async def test_a_state_that_does_not_change_writes_nothing(world: World, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await set_states(shelf, v1=OLD)
    before = await world.footprint()
    await set_states(shelf, v1=OLD)
    assert await world.footprint() == before


async def test_states_are_refused_without_a_trace(
    world: World, writer: Client, shelf: Shelf
) -> None:
    await shelf.publish("1.0.0")
    second = await shelf.publish("2.0.0")
    await writer.delete(f"/v2/{PAD}/manifests/{second.digest}")
    before = await world.footprint()
    with pytest.raises(Invalid, match="a state says 'deprecated'"):
        await set_states(shelf, v1={"yanked": True})
    for version in ("v2", "v3"):
        with pytest.raises(ManifestUnknown, match="has no version"):
            await set_states(shelf, v1=OLD, **{version: OLD})
    with pytest.raises(Conflict, match="shorter texts"):
        await set_states(shelf, v1={"deprecated": "x" * MAX_SIZE})
    with pytest.raises(ManifestUnknown):
        await shelf.packaging.states.set(shelf.who, parse_repository("acme/generic/pod"), {})
    reader = await world.services.tokens.find(world.tokens["reader"])
    assert reader is not None
    with pytest.raises(Denied):
        await shelf.packaging.states.set(reader, REPOSITORY, {"1.0.0": OLD})
    assert await world.footprint() == before


async def test_ten_who_set_states_at_once_all_do(writer: Client, shelf: Shelf) -> None:
    for number in range(1, 11):
        await shelf.publish(f"{number}.0.0")
    ten = [{f"v{number}": {"deprecated": str(number)}} for number in range(1, 11)]
    await asyncio.gather(*(set_states(shelf, **states) for states in ten))
    assert await shown(shelf) == {f"{number}.0.0": str(number) for number in range(1, 11)}
    assert len(await kept(writer)) == 10


async def test_a_state_outlives_deletion_and_restoration(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await shelf.publish("2.0.0")
    await set_states(shelf, v1=OLD)
    await shelf.delete("1.0.0")
    await set_states(shelf, v2={"deprecated": "too"})
    await shelf.restore()
    assert await shown(shelf) == {"1.0.0": "use pad2", "2.0.0": "too"}


async def test_states_are_shown_to_those_who_may_write(
    world: World, writer: Client, reader: Client, shelf: Shelf
) -> None:
    await shelf.publish("1.0.0")
    await set_states(shelf, v1=OLD)
    found = await writer.get(f"/v2/{PAD}/manifests/_state", headers=ACCEPT)
    digest = found.headers["docker-content-digest"]
    for client, tags in (
        (writer, ["1.0.0", "_state", "latest"]),
        (reader, ["1.0.0", "latest"]),
    ):
        listed = await client.get(f"/v2/{PAD}/tags/list")
        assert listed.json()["tags"] == tags
        shown = (await client.get(f"{API}/tags")).json()["items"]
        assert [tag["name"] for tag in shown] == tags
    for reference in ("_state", digest):
        assert (await writer.get(f"/v2/{PAD}/manifests/{reference}")).status_code == 200
        answer = await reader.get(f"/v2/{PAD}/manifests/{reference}")
        refused(answer, 404, "MANIFEST_UNKNOWN")
    assert (await writer.get(f"{API}/tags/_state")).status_code == 200
    assert (await reader.get(f"{API}/tags/_state")).status_code == 404


async def test_what_states_were_before_is_shown_to_the_same(
    writer: Client, reader: Client, shelf: Shelf
) -> None:
    await shelf.publish("1.0.0")
    await set_states(shelf, v1=OLD)
    for client, seen in ((writer, {"1.0.0", "_state", "latest"}), (reader, {"1.0.0", "latest"})):
        changes = (await client.get(f"{API}/history")).json()["items"]
        assert {change["tag"] for change in changes} == seen
        of_states = (await client.get(f"{API}/tags/_state/history")).json()["items"]
        assert bool(of_states) == ("_state" in seen)


async def test_the_states_manifest_is_no_version(writer: Client, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await set_states(shelf, v1=OLD)
    listed = (await writer.get(f"{API}/versions")).json()["items"]
    assert [version["digest"] for version in listed] == [await shelf.digest("1.0.0")]
    assert await shelf.aliases() == {"latest": "1.0.0"}


ORDERS = [("1.0.0", "2.0.0", "_state"), ("_state", "2.0.0", "1.0.0"), ("1.0.0", "_state", "2.0.0")]


@pytest.mark.parametrize("order", ORDERS, ids=["last", "first", "between"])
async def test_states_travel_with_a_copy_in_any_order(
    world: World, shelf: Shelf, other: World, order: Sequence[str]
) -> None:
    for version in ("1.0.0", "2.0.0"):
        await shelf.publish(version)
    await set_states(shelf, v1=OLD, v2={"deprecated": "too"})
    here, there = world.client("owner"), other.client("owner")
    for tag in order:
        assert (await copy(here, there, tag)).status_code == 201
    copied = Shelf(other, shelf.who)
    assert await shown(copied) == {"1.0.0": "use pad2", "2.0.0": "too"}
    assert await copied.tags() == await shelf.tags() | {"latest": (await copied.tags())["latest"]}
    assert await kept(there) == await kept(here)


async def test_a_copy_of_no_states_clears_them(world: World, shelf: Shelf, other: World) -> None:
    here, there = world.client("owner"), other.client("owner")
    await shelf.publish("1.0.0")
    for state in (OLD, {}):
        await set_states(shelf, v1=state)
        await copy(here, there, "1.0.0")
        assert (await copy(here, there, "_state")).status_code == 201
    assert await shown(Shelf(other, shelf.who)) == {"1.0.0": ""}
    assert await live_states(other) == 1


async def test_states_wait_for_versions_while_others_change(world: World, shelf: Shelf) -> None:
    owner = world.client("owner")
    await shelf.publish("1.0.0")
    await put_states(owner, [group("2.0.0", "1.0.0", deprecated="use pad2")])
    assert await shown(shelf) == {"1.0.0": "use pad2"}
    await set_states(shelf, v1={"deprecated": "other"})
    await push(world.client("writer"), artifact("2.0.0"), "2.0.0")
    assert await shown(shelf) == {"1.0.0": "other", "2.0.0": "use pad2"}


async def test_states_wait_for_versions_that_are_published(world: World, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    await put_states(world.client("owner"), [group("2.0.0", deprecated="use pad2")])
    await shelf.publish("2.0.0")
    assert await shown(shelf) == {"1.0.0": "", "2.0.0": "use pad2"}


async def test_states_come_by_digest_first_and_are_set_by_their_tag(
    world: World, shelf: Shelf
) -> None:
    owner = world.client("owner")
    await shelf.publish("1.0.0")
    answer = await put_states(owner, [group("1.0.0", **OLD)], tag="")
    assert answer.status_code == 201
    assert await shown(shelf) == {"1.0.0": ""}
    digest = answer.headers["docker-content-digest"]
    assert (await copy(owner, owner, digest, "_state")).status_code == 201
    assert await shown(shelf) == {"1.0.0": "use pad2"}


@pytest.mark.parametrize("tag", ["_state", ""])
async def test_who_only_writes_may_not_push_states(
    world: World, writer: Client, shelf: Shelf, tag: str
) -> None:
    await shelf.publish("1.0.0")
    await push_blobs(writer, b"{}")
    before = await world.footprint()
    answer = await put_states(writer, [group("1.0.0", **OLD)], tag)
    refused(answer, 403, "DENIED", "who administers the package")
    assert {**await world.footprint(), "objects": 0, "trash": 0} == {
        **before,
        "objects": 0,
        "trash": 0,
    }
    assert await shown(shelf) == {"1.0.0": ""}


BAD: list[tuple[object, dict[str, object], str]] = [
    ({}, {}, "is a list of"),
    ([{}], {}, "is a list of"),
    ([{"state": {}, "versions": "1.0.0"}], {}, "is a list of"),
    ([{"state": [], "versions": []}], {}, "is a list of"),
    ([{"state": {}, "versions": [1]}], {}, "is a list of"),
    ([group("1.0.0", yanked="yes")], {}, "a state says 'deprecated'"),
    ([group("one")], {}, "names no version"),
    ([group("1.0.0"), group("1.0.0", **OLD)], {}, "two states"),
    ([group("1.0.0", deprecated="\ud800")], {}, "is not JSON"),
    ([], {"annotations": {}}, "not states of generic packages"),
    ([], {"layers": [{**EMPTY, "mediaType": "text/plain"}]}, "the config and layers of states"),
    ([], {"subject": EMPTY}, "without a subject"),
]


@pytest.mark.parametrize(("states", "fields", "words"), BAD, ids=[bad[2] for bad in BAD])
async def test_states_that_are_none_are_refused(
    world: World, shelf: Shelf, states: object, fields: dict[str, object], words: str
) -> None:
    await shelf.publish("1.0.0")
    owner = world.client("owner")
    answer = await put_states(owner, states, fields=fields)
    refused(answer, 400, "MANIFEST_INVALID", words)
    assert "_state" not in await shelf.tags()


async def test_states_have_no_other_tag(world: World, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    owner = world.client("owner")
    refused(await put_states(owner, [], "beta"), 400, "MANIFEST_INVALID", "no other")
    refused(await put_states(owner, [], "_other"), 400, "MANIFEST_INVALID", "no other")


async def test_states_are_read_again_where_a_version_came_since(world: World, shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    data = render_states("generic", {"1.0.0": OLD, "2.0.0": OLD})
    manifest = parse_manifest(data, OCI_MANIFEST)
    found = await world.services.tokens.find(world.tokens["owner"])
    assert found is not None
    access = await world.services.permissions.require(found, Action.PUSH, REPOSITORY)
    admission = await shelf.packaging.door.admit(
        found, access, manifest, Digest.of(data), data, [STATE_TAG]
    )
    assert admission is not None
    await shelf.publish("2.0.0")
    package_id = await shelf.id()
    with pytest.raises(Moved):
        await world.services.database.write(lambda tx: admission.record(tx, package_id, Kept(0, 0)))
    assert await shown(shelf) == {"1.0.0": "", "2.0.0": ""}


async def test_a_version_that_arrives_while_states_do_is_not_forgotten(
    world: World, shelf: Shelf
) -> None:
    """Whichever comes first."""
    owner, writer = world.client("owner"), world.client("writer")
    await shelf.publish("1.0.0")
    all_versions = [f"{number}.0.0" for number in range(1, 6)]
    answers = await asyncio.gather(
        put_states(owner, [group(*all_versions, **OLD)]),
        *(push(writer, artifact(version), version) for version in all_versions[1:]),
    )
    assert {answer.status_code for answer in answers} == {201}
    assert await shown(shelf) == dict.fromkeys(all_versions, "use pad2")
