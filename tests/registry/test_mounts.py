"""Mounting a blob of another repository: only what the caller may read there."""

import pytest

from auth.principals import Role, Scope, Visibility
from tests.registry.client import Client, basic, digest_of, refused
from tests.registry.world import World

DATA = b"a base layer"
DIGEST = digest_of(DATA)
SECRET = b"a secret of the stranger"


async def mount(client: Client, source: str | None, digest: str = DIGEST) -> int:
    """Ask for a mount into acme/app; 201 mounted, 202 an upload instead."""
    params = {"mount": digest} | ({} if source is None else {"from": source})
    response = await client.post("/v2/acme/app/blobs/uploads/", params=params)
    where = response.headers.get("location", "")
    if response.status_code == 201:
        assert where == f"/v2/acme/app/blobs/{digest}"
        assert response.headers["docker-content-digest"] == digest
    elif response.status_code == 202:
        assert where.startswith("/v2/acme/app/blobs/uploads/")
    return response.status_code


async def blob(client: Client, digest: str = DIGEST) -> int:
    return (await client.get(f"/v2/acme/app/blobs/{digest}")).status_code


@pytest.mark.parametrize("source", ["acme/base", None])
async def test_a_readable_blob_is_mounted(world: World, writer: Client, source: str) -> None:
    await writer.push_blob("acme/base", DATA)
    assert await blob(writer) == 404
    objects = await world.keys()
    assert await mount(writer, source) == 201
    assert (await writer.get(f"/v2/acme/app/blobs/{DIGEST}")).content == DATA
    assert await world.keys() == objects


async def test_a_mounted_blob_outlives_its_source(writer: Client) -> None:
    image = await writer.push_image("acme/base", "v1", DATA)
    assert await mount(writer, "acme/base") == 201
    await writer.delete(f"/v2/acme/base/manifests/{image.digest}")
    assert await blob(writer) == 200


@pytest.mark.parametrize("source", ["stranger/private", None])
async def test_what_may_not_be_read_is_not_mounted(world: World, source: str | None) -> None:
    """CVE-2024-39897: knowing a digest grants nothing."""
    stranger, writer = world.client("stranger"), world.client("writer")
    await stranger.push_blob("stranger/private", SECRET)
    digest = digest_of(SECRET)
    before = await world.footprint()
    assert await mount(writer, source, digest) == 202
    assert await world.footprint() == before
    assert await blob(writer, digest) == 404
    assert (await writer.get(f"/v2/stranger/private/blobs/{digest}")).status_code == 404


async def test_an_answer_does_not_tell_hidden_from_unknown(world: World) -> None:
    await world.client("stranger").push_blob("stranger/private", SECRET)
    answers = set()
    for source, digest in (
        ("stranger/private", digest_of(SECRET)),
        ("stranger/private", digest_of(b"never pushed")),
        ("stranger/none", digest_of(SECRET)),
        ("nobody/none", digest_of(SECRET)),
    ):
        params = {"mount": digest, "from": source}
        response = await world.client().post("/v2/acme/app/blobs/uploads/", params=params)
        names = sorted(name for name in response.headers if name != "location")
        answers.add((response.status_code, response.text, str(names)))
    assert len(answers) == 1


async def test_a_public_blob_is_mounted_by_anybody_who_may_push(world: World) -> None:
    stranger = world.client("stranger")
    await stranger.push_image("stranger/base", "v1", DATA)
    assert await mount(world.client(), "stranger/base") == 202
    await world.publish("stranger/base", Visibility.INTERNAL)
    assert await mount(world.client(), "stranger/base") == 201
    await world.publish("stranger/base")
    assert await mount(world.client(), None) == 201


async def test_the_tokens_own_scopes_bound_a_mount(world: World) -> None:
    """A token that may only write reads nothing through a mount."""
    await world.client().push_blob("acme/base", DATA)
    text = await world.mint("writer", Scope.WRITE)
    client = world.client("").with_authorization(basic("writer", text))
    assert await mount(client, "acme/base") == 202
    assert await blob(world.client()) == 404


async def test_a_bearer_mounts_by_its_accounts_rights(world: World) -> None:
    """A client that does not say `from` cannot fetch a token for the name."""
    await world.client().push_blob("acme/base", DATA)
    bearer = await world.signed_in("writer").bearer("repository:acme/app:pull,push")
    assert await mount(bearer, "acme/base") == 201


async def test_mounting_needs_the_right_to_push(world: World) -> None:
    await world.client().push_blob("acme/base", DATA)
    before = await world.footprint()
    path = f"/v2/acme/app/blobs/uploads/?mount={DIGEST}&from=acme/base"
    refused(await world.client("reader").post(path), 403, "DENIED", "packhouse grant acme")
    refused(await world.client("stranger").post(path), 403, "DENIED")
    refused(await world.client("").post(path), 401, "UNAUTHORIZED")
    assert await world.footprint() == before


async def test_who_lost_the_source_mounts_nothing(world: World) -> None:
    await world.client("owner").push_blob("acme/base", DATA)
    client = world.client("stranger")
    path = f"/v2/stranger/app/blobs/uploads/?mount={DIGEST}&from=acme/base"
    await world.set_role("stranger", Role.READ)
    assert (await client.post(path)).status_code == 201
    await world.set_role("stranger", Role.NONE)
    response = await client.post(path.replace("stranger/app", "stranger/other"))
    assert response.status_code == 202


async def test_a_mount_that_is_not_there_becomes_an_upload(writer: Client) -> None:
    for source in (
        "acme/none",
        "nobody/none",
        "alpine",
        "../x",
        "acme/App",
        "",
        "a\0b",
        "acme/app",
    ):
        assert await mount(writer, source) == 202, source
    refused(
        await writer.post("/v2/acme/app/blobs/uploads/?mount=sha256:x&from=acme/base"),
        *(400, "DIGEST_INVALID"),
    )


async def test_a_deleted_blob_is_not_mounted(writer: Client) -> None:
    await writer.push_blob("acme/base", DATA)
    await writer.delete(f"/v2/acme/base/blobs/{DIGEST}")
    assert await mount(writer, "acme/base") == 202
    assert await mount(writer, None) == 202


async def test_a_sha512_blob_is_mounted(writer: Client) -> None:
    digest = await writer.push_blob("acme/base", DATA, "sha512")
    assert await mount(writer, "acme/base", digest) == 201
    assert await blob(writer, digest) == 200


async def test_a_mounted_blob_serves_a_manifest(writer: Client) -> None:
    await writer.push_blob("acme/base", DATA)
    assert await mount(writer, "acme/base") == 201
    assert await mount(writer, "acme/base") == 201
    await writer.push_image("acme/app", "v1", DATA)
    assert await blob(writer) == 200
