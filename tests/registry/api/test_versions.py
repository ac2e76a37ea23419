"""Versions and tags over /api/v1."""

import asyncio

import pytest

from auth.principals import Scope
from tests.registry.api.asking import problem
from tests.registry.client import Client, basic, digest_of, index_manifest
from tests.registry.world import World

APP = "/api/v1/packages/acme/app"
VERSIONS = f"{APP}/versions"
UNKNOWN = digest_of(b"nothing")


async def test_versions_come_newest_first_in_pages(world: World, writer: Client) -> None:
    first = await writer.push_image("acme/app", "v1", b"one")
    child = await writer.push_image("acme/app", "tmp", b"two")
    await writer.delete(f"{APP}/tags/tmp")
    index = await writer.push_manifest("acme/app", "v2", index_manifest(child))
    page = (await writer.get(VERSIONS, params={"n": 1})).json()
    assert [(item["digest"], item["tags"]) for item in page["items"]] == [(index.digest, ["v2"])]
    rest = (await writer.get(VERSIONS, params={"n": 1, "after": page["next"]})).json()
    assert [item["digest"] for item in rest["items"]] == [first.digest]
    assert rest["next"] is None
    shown = (await world.client("reader").get(f"{VERSIONS}/{first.digest}")).json()
    assert shown == rest["items"][0]
    assert (shown["pushed_by"], shown["deleted_at"]) == ("writer", None)
    for path in (f"{VERSIONS}/{UNKNOWN}", f"{VERSIONS}/{child.digest}"):
        problem(await writer.get(path), 404, "manifest-unknown")
    problem(await writer.get(f"{VERSIONS}/sha256:xyz"), 400, "invalid", "{digest}")
    problem(await writer.get(VERSIONS, params={"after": "x"}), 400, "no-such-query")


async def test_a_version_goes_and_comes_back_with_what_hangs_on_it(
    world: World, writer: Client
) -> None:
    child = await writer.push_image("acme/app", "", b"part")
    index = await writer.push_manifest("acme/app", "v1", index_manifest(child), tags=["latest"])
    signature = await writer.push_artifact(
        "acme/app", "", "application/x-signature", subject=index.descriptor
    )
    await writer.push_image("acme/app", "kept", b"kept")
    path = f"{VERSIONS}/{index.digest}"
    plan = (await writer.get(f"{path}/deletion")).json()
    assert plan["digests"] == sorted([index.digest, child.digest, signature.digest])
    assert plan["tags"] == ["latest", "v1"]
    refused = await writer.delete(f"{VERSIONS}/{child.digest}")
    problem(refused, 405, "not-allowed", "part of index")
    problem(await world.client("reader").get(f"{path}/deletion"), 403, "denied")
    problem(await world.client("reader").delete(path), 403, "denied")
    assert (await writer.delete(path)).status_code == 204
    problem(await writer.delete(path), 404, "manifest-unknown")
    assert (await writer.get(f"/v2/acme/app/manifests/{child.digest}")).status_code == 404
    deleted = (await writer.get(VERSIONS, params={"deleted": True})).json()["items"]
    assert [(item["digest"], item["tags"]) for item in deleted] == [
        (index.digest, ["latest", "v1"])
    ]
    assert deleted[0]["restorable_until"] > deleted[0]["deleted_at"]
    problem(await world.client("reader").post(f"{path}/restore"), 403, "denied")
    restored = await writer.post(f"{path}/restore")
    assert restored.json() == {"manifests": 3, "tags": 2, "conflicts": {}}
    problem(await writer.post(f"{path}/restore"), 404, "manifest-unknown")
    assert (await writer.get("/v2/acme/app/manifests/latest")).status_code == 200


async def test_a_tag_that_moved_meanwhile_stays_where_it_is(world: World, writer: Client) -> None:
    old = await writer.push_image("acme/app", "v1", b"old")
    await writer.delete(f"{VERSIONS}/{old.digest}")
    new = await writer.push_image("acme/app", "v1", b"new")
    restored = (await writer.post(f"{VERSIONS}/{old.digest}/restore")).json()
    assert restored["tags"] == 0
    assert new.digest in restored["conflicts"]["v1"]


async def test_tags_are_moved_as_a_push_moves_them(world: World, writer: Client) -> None:
    old = await writer.push_image("acme/app", "v1", b"old")
    new = await writer.push_image("acme/app", "v2", b"new")
    world.clock.advance(60)
    since = world.clock()
    moved = await writer.put(f"{APP}/tags/v1", json={"digest": new.digest})
    assert moved.json() == {
        "name": "v1",
        "digest": new.digest,
        "size": len(new.data),
        "updated_at": "2023-11-14T22:14:20Z",
    }
    got = await writer.get("/v2/acme/app/manifests/v1")
    assert (got.content, got.headers["content-type"]) == (new.data, new.media_type)
    page = (await writer.get(f"{APP}/tags", params={"n": 1})).json()
    assert (page["items"], page["next"]) == ([moved.json()], "v1")
    history = (await world.client("reader").get(f"{APP}/tags/v1/history")).json()["items"]
    assert [(one["digest"], one["by"]) for one in history] == [
        (new.digest, "writer"),
        (old.digest, "writer"),
    ]
    (line,) = await world.services.audit.list(since=since)
    assert (line["kind"], line["account"], line["detail"]) == (
        "manifest.push",
        "writer",
        f"{new.digest} v1",
    )
    (event,) = await world.rows(f"select kind, detail from events where created_at >= {since}")
    assert (event["kind"], event["detail"]) == ("manifest.push", "v1")


async def test_moving_a_tag_takes_the_right_to_push(world: World, writer: Client) -> None:
    pushed = await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/other", "v1", b"elsewhere")
    elsewhere = (await writer.get("/api/v1/packages/acme/other/tags/v1")).json()["digest"]
    body = {"digest": pushed.digest}
    problem(await world.client("reader").put(f"{APP}/tags/x", json=body), 403, "denied")
    problem(await world.client("").put(f"{APP}/tags/x", json=body), 401, "not-signed-in")
    only = world.client("").with_authorization(
        basic("writer", await world.mint("writer", Scope.WRITE))
    )
    assert (await only.put(f"{APP}/tags/x", json=body)).status_code == 200
    problem(await only.get(f"{APP}/tags/x"), 404, "name-unknown")
    for digest in (UNKNOWN, elsewhere):
        refused = await writer.put(f"{APP}/tags/x", json={"digest": digest})
        problem(refused, 404, "manifest-unknown", digest)
    problem(await writer.put(f"{APP}/tags/x", json={"digest": "x"}), 400, "invalid", "digest")
    problem(await writer.put(f"{APP}/tags/-x", json=body), 400, "invalid", "{tag}")
    problem(await writer.put("/api/v1/packages/acme/none/tags/x", json=body), 404, "name-unknown")
    problem(await writer.get(f"{APP}/tags/none"), 404, "manifest-unknown")


async def test_a_deleted_tag_is_in_its_history(world: World, writer: Client) -> None:
    pushed = await writer.push_image("acme/app", "v1")
    problem(await world.client("reader").delete(f"{APP}/tags/v1"), 403, "denied")
    assert (await writer.delete(f"{APP}/tags/v1")).status_code == 204
    problem(await writer.delete(f"{APP}/tags/v1"), 404, "manifest-unknown")
    page = (await writer.get(f"{APP}/tags/v1/history", params={"n": 1})).json()
    assert [one["digest"] for one in page["items"]] == [None]
    rest = await writer.get(f"{APP}/tags/v1/history", params={"after": page["next"]})
    assert [one["digest"] for one in rest.json()["items"]] == [pushed.digest]


@pytest.mark.parametrize("what", ["tag", "version", "package"])
async def test_what_is_written_here_counts_as_a_write(
    world: World, writer: Client, what: str
) -> None:
    pushed = await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/other", "v1")
    await world.reconfigure(writes_per_minute=1)
    path = {"tag": f"{APP}/tags/v1", "version": f"{VERSIONS}/{pushed.digest}", "package": APP}[what]
    assert (await writer.delete(path)).is_success
    refused = await writer.delete(path.replace("acme/app", "acme/other"))
    said = problem(refused, 429, "too-many-requests", "writer is 1 write")
    assert said["title"] == "Too Many Requests"
    assert int(refused.headers["retry-after"]) > 0


async def test_a_change_of_a_package_counts_as_a_write(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await world.client("owner").delete(APP)
    await world.reconfigure(writes_per_minute=1)
    owner, restore = world.client("owner"), f"{APP}/restore"
    assert (await owner.post(restore)).status_code == 200
    for answer in (
        await owner.post(restore),
        await owner.patch(APP, json={"visibility": "public"}),
        await owner.put(f"{APP}/grants/reader", json={"role": "write"}),
    ):
        problem(answer, 429, "too-many-requests", "owner is 1 write")
    assert (await owner.get(APP)).json()["visibility"] == "private"


async def test_ten_clients_move_and_delete_one_tag_at_once(world: World, writer: Client) -> None:
    pushed = [await writer.push_image("acme/app", f"v{n}", b"%d" % n) for n in range(2)]
    tag = f"{APP}/tags/v0"
    async with world.another_worker() as other:
        answers = await asyncio.gather(
            *(
                (world if n % 2 else other).client().delete(tag)
                if n % 5 == 0
                else (world if n % 2 else other)
                .client()
                .put(tag, json={"digest": pushed[n % 2].digest})
                for n in range(10)
            )
        )
    assert {response.status_code for response in answers} <= {200, 204, 404}
    history = (await writer.get(f"{tag}/history")).json()["items"]
    now = await writer.get(tag)
    assert history[0]["digest"] == (now.json()["digest"] if now.is_success else None)


async def test_what_keeps_a_blob_is_told_to_administrators(world: World, writer: Client) -> None:
    pushed = await writer.push_image("acme/app", "v1", b"layer")
    admin, explanations = world.client("admin"), "/api/v1/explanations"
    told = (await admin.get(f"{explanations}/{digest_of(b'layer')}")).json()
    assert {holder["kind"] for holder in told["holders"]} == {"blob", "manifest"}
    assert any(pushed.digest in holder["text"] for holder in told["holders"])
    assert (await admin.get(f"{explanations}/{UNKNOWN}")).json()["holders"] == []
    problem(await admin.get(f"{explanations}/nonsense"), 400, "invalid", "{subject}")
    problem(await writer.get(f"{explanations}/{UNKNOWN}"), 403, "denied")
    problem(await world.client("").get(f"{explanations}/{UNKNOWN}"), 401, "not-signed-in")


async def test_what_cleanup_would_remove_is_told_to_administrators(
    world: World, writer: Client
) -> None:
    admin = world.client("admin")
    assert (await admin.get("/api/v1/garbage")).json() == {"items": [], "more": False}
    pushed = await writer.push_image("acme/app", "v1")
    await writer.delete(f"{VERSIONS}/{pushed.digest}")
    world.clock.advance(world.config.restore_seconds + 1)
    due = (await admin.get("/api/v1/garbage", params={"n": 1})).json()
    assert (due["items"][0]["kind"], due["items"][0]["package"]) == ("manifest", "acme/app")
    assert due["more"] is True
    problem(await world.client("owner").get("/api/v1/garbage"), 403, "denied")
