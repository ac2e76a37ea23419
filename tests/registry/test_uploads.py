"""Uploads: every way to push a blob, and every way in which one breaks."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from auth.audit import OPERATOR
from auth.principals import Role
from tests.clients.server import running
from tests.registry.client import Client, digest_of, refused
from tests.registry.world import World

DATA = bytes(range(256)) * 16
SIZE = len(DATA)
DIGEST = digest_of(DATA)
HALF = SIZE // 2
DAY = 24 * 3600
MIB = 1024 * 1024
UNKNOWN = (404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")


def chunk(first: int, last: int) -> dict[str, str]:
    """The Content-Range of an upload's chunk: both ends inclusive, no unit."""
    return {"Content-Range": f"{first}-{last}"}


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for data in chunks:
        yield data


class Gate:
    """A body that stops in the middle until it is let go on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data[: len(self._data) // 2]
        self.reached.set()
        await self.open.wait()
        yield self._data[len(self._data) // 2 :]


async def finish(client: Client, location: str, digest: str = DIGEST, data: bytes = b"") -> None:
    response = await client.put(location, params={"digest": digest}, content=data)
    assert response.status_code == 201, response.text
    assert response.headers["docker-content-digest"] == digest
    blob = response.headers["location"]
    assert blob.endswith(f"/blobs/{digest}")
    assert (await client.get(blob)).status_code == 200


async def content(client: Client, digest: str = DIGEST) -> bytes:
    response = await client.get(f"/v2/acme/app/blobs/{digest}")
    assert response.status_code == 200, response.text
    return response.content


async def holds(client: Client, location: str) -> int:
    """How many bytes an upload has, by its status."""
    response = await client.get(location)
    assert response.status_code == 204
    assert urlsplit(response.headers["location"]).path == location
    first, last = response.headers["range"].split("-")
    assert first == "0"
    return int(last) + 1


# Ways that work


async def test_post_then_put(writer: Client) -> None:
    await finish(writer, await writer.start("acme/app"), data=DATA)
    assert await content(writer) == DATA


async def test_beginning_says_where_and_how(writer: Client) -> None:
    for path in ("/v2/acme/app/blobs/uploads/", "/v2/acme/app/blobs/uploads"):
        response = await writer.post(path)
        assert response.status_code == 202
        assert response.headers["location"].startswith("/v2/acme/app/blobs/uploads/")
        assert response.headers["range"] == "0-0"
        assert response.headers["oci-chunk-min-length"] == str(64 * 1024 * 1024)
        assert response.headers["location"].endswith(response.headers["docker-upload-uuid"])


async def test_one_post_with_the_digest(writer: Client) -> None:
    path = f"/v2/acme/app/blobs/uploads/?digest={DIGEST}"
    response = await writer.post(path, content=DATA)
    assert (response.status_code, response.headers["docker-content-digest"]) == (201, DIGEST)
    assert (await writer.get(response.headers["location"])).content == DATA


async def test_one_streamed_patch_without_a_range(writer: Client) -> None:
    """What docker sends: chunked transfer encoding, no length, no range."""
    location = await writer.start("acme/app")
    response = await writer.patch(location, content=stream(DATA[:100], DATA[100:]))
    assert response.status_code == 202
    assert response.headers["range"] == f"0-{SIZE - 1}"
    await finish(writer, response.headers["location"])
    assert await content(writer) == DATA


@pytest.mark.parametrize("last_in_put", [False, True])
async def test_chunks_with_ranges(writer: Client, *, last_in_put: bool) -> None:
    location = await writer.start("acme/app")
    cuts = [0, 1, 1000, HALF, SIZE]
    for first, stop in itertools.pairwise(cuts[:-1]):
        headers = chunk(first, stop - 1)
        response = await writer.patch(location, content=DATA[first:stop], headers=headers)
        assert response.status_code == 202
        assert response.headers["range"] == f"0-{stop - 1}"
        assert await holds(writer, location) == stop
    headers = chunk(HALF, SIZE - 1)
    if last_in_put:
        done = await writer.put(
            location, params={"digest": DIGEST}, content=DATA[HALF:], headers=headers
        )
        assert done.status_code == 201
    else:
        assert (await writer.patch(location, content=DATA[HALF:], headers=headers)).is_success
        await finish(writer, location)
    assert await content(writer) == DATA


async def test_chunks_without_ranges_are_appended(writer: Client) -> None:
    location = await writer.start("acme/app")
    for part in (DATA[:HALF], b"", DATA[HALF:]):
        assert (await writer.patch(location, content=part)).status_code == 202
    await finish(writer, location)
    assert await content(writer) == DATA


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_empty_blob_in_every_way(writer: Client, algorithm: str) -> None:
    digest = digest_of(b"", algorithm)
    await finish(writer, await writer.start("acme/app"), digest)
    location = await writer.start("acme/app")
    assert (await writer.patch(location)).headers["range"] == "0-0"
    await finish(writer, location, digest)
    assert await writer.push_blob("acme/app", b"", algorithm) == digest


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("chunks", [1, 2])
async def test_sha512_content(writer: Client, *, announced: bool, chunks: int) -> None:
    digest = digest_of(DATA, "sha512")
    params = {"digest-algorithm": "sha512"} if announced else {}
    location = await writer.start("acme/app", **params)
    for data in (DATA,) if chunks == 1 else (DATA[:HALF], DATA[HALF:]):
        assert (await writer.patch(location, content=data)).status_code == 202
    await finish(writer, location, digest)
    assert await content(writer, digest) == DATA
    assert (await writer.get(f"/v2/acme/app/blobs/{DIGEST}")).status_code == 404


async def test_an_announced_algorithm_is_not_a_promise(writer: Client) -> None:
    location = await writer.start("acme/app", **{"digest-algorithm": "sha512"})
    await writer.patch(location, content=DATA)
    await finish(writer, location)


async def test_an_unknown_algorithm_is_refused(writer: Client) -> None:
    response = await writer.post("/v2/acme/app/blobs/uploads/?digest-algorithm=blake3")
    refused(response, 400, "DIGEST_INVALID", "blake3", "sha256 or sha512")


async def test_two_clients_push_the_same_blob_at_once(world: World) -> None:
    clients = [world.client("writer"), world.client("owner")]
    bodies = [Gate(DATA), Gate(DATA)]
    pushes = []
    for client, body in zip(clients, bodies, strict=True):
        path = f"/v2/acme/app/blobs/uploads/?digest={DIGEST}"
        pushes.append(asyncio.create_task(client.post(path, content=body)))
        await body.reached.wait()
    for body in bodies:
        body.open.set()
    assert [response.status_code for response in await asyncio.gather(*pushes)] == [201, 201]
    assert await content(clients[0]) == DATA
    assert len(await world.rows("select id from blobs")) == 1


async def test_many_clients_push_many_blobs_at_once(world: World) -> None:
    blobs = [bytes([number]) * 1000 for number in range(8)]
    writer, owner = world.client("writer"), world.client("owner")
    pushes = [client.push_blob("acme/app", data) for data in blobs for client in (writer, owner)]
    digests = await asyncio.gather(*pushes)
    assert len(set(digests)) == len(blobs)
    assert [await content(writer, digest_of(data)) for data in blobs] == blobs


# Ways that break, and go on


async def test_a_broken_connection_is_resumed_where_it_broke(world: World) -> None:
    """On a real socket: half of the bytes, a closed connection, a status, the rest."""
    async with world.served() as served:
        client = Client(None, world.client().authorization, served.url)
        location = await client.start("acme/app")
        await cut_off(served.url, client, location, DATA[:HALF], served.received(HALF))
        while await served.ended.get() != "PATCH":
            pass
        assert await holds(client, location) == HALF
        headers = chunk(HALF, SIZE - 1)
        response = await client.patch(location, content=DATA[HALF:], headers=headers)
        assert response.status_code == 202
        await finish(client, location)
        assert await content(client) == DATA
        await client.http.aclose()


async def cut_off(
    url: str, client: Client, location: str, data: bytes, received: "asyncio.Future[None]"
) -> None:
    """PATCH, announcing all of DATA, and close the socket once the server has `data`."""
    host, port = urlsplit(url).netloc.split(":")
    _, connection = await asyncio.open_connection(host, int(port))
    head = f"PATCH {location} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {SIZE}\r\n"
    connection.write(f"{head}Authorization: {client.authorization}\r\n\r\n".encode() + data)
    await received
    connection.close()
    await connection.wait_closed()


async def test_a_cut_put_keeps_what_came(world: World, writer: Client) -> None:
    location = await writer.start("acme/app")
    await writer.patch(location, content=DATA[:100])
    await writer.cut("PUT", f"{location}?digest={DIGEST}", DATA[100:HALF])
    assert await holds(writer, location) == HALF
    refused(await writer.get(f"/v2/acme/app/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")
    await finish(writer, location, data=DATA[HALF:])
    assert await content(writer) == DATA


async def test_a_cut_post_leaves_nothing(world: World, writer: Client) -> None:
    before = await world.footprint()
    await writer.cut("POST", f"/v2/acme/app/blobs/uploads/?digest={DIGEST}", DATA[:HALF])
    await writer.cut("POST", f"/v2/acme/app/blobs/uploads/?digest={DIGEST}", DATA)
    assert await world.footprint() == before


async def test_a_cut_without_a_byte_changes_nothing(world: World, writer: Client) -> None:
    location = await writer.start("acme/app")
    before = await world.footprint()
    await writer.cut("PATCH", location)
    await writer.cut("PUT", f"{location}?digest={DIGEST}")
    assert await world.footprint() == before
    await finish(writer, location, data=DATA)


async def test_a_body_that_stalls_is_cut_and_kept(world: World) -> None:
    await world.reconfigure(idle_seconds=0)
    writer, body = world.client(), Gate(DATA)
    location = await writer.start("acme/app")
    response = await writer.patch(location, content=body)
    refused(response, 408, "BLOB_UPLOAD_INVALID", "cut short", "resume")
    assert await holds(writer, location) == HALF


async def test_an_upload_goes_on_after_a_restart(world: World, writer: Client) -> None:
    fresh, begun = await writer.start("acme/app"), await writer.start("acme/app")
    await writer.patch(begun, content=DATA[:HALF])
    await world.restart()
    assert await holds(writer, begun) == HALF
    await finish(writer, begun, data=DATA[HALF:])
    await finish(writer, fresh, digest_of(b"other"), b"other")
    assert await content(writer) == DATA


async def test_every_request_may_meet_another_worker(world: World, writer: Client) -> None:
    async with world.another_worker() as other:
        elsewhere = other.client()
        location = await writer.start("acme/app")
        await elsewhere.patch(location, content=DATA[:100], headers=chunk(0, 99))
        await writer.patch(location, content=DATA[100:HALF], headers=chunk(100, HALF - 1))
        assert await holds(elsewhere, location) == HALF
        await finish(elsewhere, location, data=DATA[HALF:])
        assert await content(writer) == DATA
        assert (await writer.get(location)).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("held", [0, 1000])
async def test_out_of_order_is_refused_and_the_session_lives(
    world: World, writer: Client, method: str, held: int
) -> None:
    location = await writer.start("acme/app")
    if held:
        await writer.patch(location, content=DATA[:held])
    before = await world.footprint()
    for first in (held + 1, SIZE, held - 1):
        if first < 0:
            continue
        headers = chunk(first, first + 9)
        params = {"digest": DIGEST} if method == "PUT" else {}
        response = await writer.request(
            method, location, params=params, content=b"x" * 10, headers=headers
        )
        refused(response, 416, "BLOB_UPLOAD_INVALID", f"holds {held} bytes")
        assert response.headers["range"] == f"0-{max(held - 1, 0)}"
    assert await world.footprint() == before
    await finish(writer, location, data=DATA[held:])
    assert await content(writer) == DATA


async def test_of_two_patches_at_once_one_is_out_of_order(world: World, writer: Client) -> None:
    location = await writer.start("acme/app")
    slow = Gate(DATA)
    racing = asyncio.create_task(writer.patch(location, content=slow))
    await slow.reached.wait()
    assert (await writer.patch(location, content=DATA[:HALF])).status_code == 202
    slow.open.set()
    refused(await racing, 416, "BLOB_UPLOAD_INVALID", "another request")
    assert await holds(writer, location) == HALF
    await finish(writer, location, data=DATA[HALF:])
    assert await content(writer) == DATA


@pytest.mark.parametrize("right", [True, False])
async def test_of_two_closings_at_once_one_counts(
    world: World, writer: Client, *, right: bool
) -> None:
    """The one that lost may not take away the bytes that the other made a blob."""
    location = await writer.start("acme/app")
    await writer.patch(location, content=DATA[:HALF])
    slow = Gate(DATA[HALF:] if right else b"wrong")
    racing = asyncio.create_task(writer.put(location, params={"digest": DIGEST}, content=slow))
    await slow.reached.wait()
    await finish(writer, location, data=DATA[HALF:])
    slow.open.set()
    assert (await racing).status_code in ((416,) if right else (400,))
    assert await content(writer) == DATA


async def test_closings_of_one_segment_race_without_loss(world: World, writer: Client) -> None:
    """Both read the same segment; world.check() sees that its object did not become trash."""
    location = await writer.start("acme/app")
    await writer.patch(location, content=DATA)
    async with world.another_worker() as other:
        closings = [
            client.put(location, params={"digest": DIGEST})
            for client in (writer, other.client(), writer, other.client())
        ]
        answers = await asyncio.gather(*closings)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 201
    assert set(statuses[1:]) <= {404, 416}
    assert await content(writer) == DATA


async def test_a_patch_that_ends_after_the_upload_did_is_refused(writer: Client) -> None:
    location, slow = await writer.start("acme/app"), Gate(b"late")
    racing = asyncio.create_task(writer.patch(location, content=slow))
    await slow.reached.wait()
    await finish(writer, location, data=DATA)
    slow.open.set()
    refused(await racing, 416, "BLOB_UPLOAD_INVALID")
    assert await content(writer) == DATA


# Ways that are refused


async def test_other_bytes_than_the_digest_end_the_upload(world: World, writer: Client) -> None:
    before = await world.footprint()
    response = await writer.post(
        f"/v2/acme/app/blobs/uploads/?digest={digest_of(b'x')}", content=DATA
    )
    refused(response, 400, "DIGEST_INVALID", digest_of(b"x"), DIGEST)
    assert await world.footprint() == before
    for parts in ([], [DATA[:HALF]], [DATA[:100], DATA[100:HALF]]):
        location = await writer.start("acme/app")
        for part in parts:
            await writer.patch(location, content=part)
        rest = DATA[sum(map(len, parts)) :] + b"!"
        response = await writer.put(location, params={"digest": DIGEST}, content=rest)
        refused(response, 400, "DIGEST_INVALID", DIGEST)
        refused(await writer.get(location), *UNKNOWN)
    assert await world.rows("select * from upload_segments") == []
    assert await world.rows("select * from blobs") == []
    assert await world.rows("select * from packages") == []


async def test_a_closing_needs_a_digest(writer: Client) -> None:
    location = await writer.start("acme/app")
    await writer.patch(location, content=DATA)
    refused(await writer.put(location), 400, "DIGEST_INVALID", "?digest=sha256:")
    bad = await writer.put(location, params={"digest": "sha256:baddigeststring"})
    refused(bad, 400, "DIGEST_INVALID", "64 digits")
    await finish(writer, location)


BAD_RANGES = ("bytes 0-9", "bytes=0-9", "0-9/10", "0-", "-9", "a-b", "0-9, 0-9", "0-9-", "")


async def test_a_content_range_in_another_form_is_refused(writer: Client) -> None:
    location = await writer.start("acme/app")
    for text in BAD_RANGES:
        headers = {"Content-Range": text}
        response = await writer.patch(location, content=b"x" * 10, headers=headers)
        assert response.status_code in (400, 416), text
        assert "first" in response.json()["errors"][0]["message"]
    response = await writer.patch(location, content=b"x" * 10, headers=chunk(9, 0))
    refused(response, 416, "RANGE_INVALID", "at least the first")
    await finish(writer, location, data=DATA)


async def test_a_content_range_that_lies_adds_nothing(world: World, writer: Client) -> None:
    location = await writer.start("acme/app")
    await writer.patch(location, content=DATA[:100])
    before = await world.footprint()
    for lie in (chunk(100, 119), chunk(100, 104)):
        announced = await writer.patch(location, content=b"x" * 10, headers=lie)
        refused(announced, 400, "SIZE_INVALID", "Content-Length 10")
        for method, params in (("PATCH", {}), ("PUT", {"digest": DIGEST})):
            streamed = await writer.request(
                method, location, params=params, content=stream(b"x" * 10), headers=lie
            )
            refused(streamed, 400, "BLOB_UPLOAD_INVALID", "10 came")
    assert await world.footprint() == before
    await finish(writer, location, data=DATA[100:])


async def test_a_cancelled_upload_is_over(world: World, writer: Client) -> None:
    fresh, begun = await writer.start("acme/app"), await writer.start("acme/app")
    await writer.patch(begun, content=DATA)
    for location in (fresh, begun):
        assert (await writer.delete(location)).status_code == 204
        refused(await writer.get(location), *UNKNOWN)
        refused(await writer.patch(location, content=DATA), *UNKNOWN)
        refused(await writer.put(location, params={"digest": DIGEST}), *UNKNOWN)
        refused(await writer.delete(location), *UNKNOWN)
    assert await world.rows("select * from upload_segments") == []
    assert await world.rows("select * from blobs") == []


async def test_a_finished_upload_is_over(writer: Client) -> None:
    location = await writer.start("acme/app")
    await finish(writer, location, data=DATA)
    refused(await writer.put(location, params={"digest": DIGEST}, content=DATA), *UNKNOWN)
    refused(await writer.patch(location, content=b"more"), *UNKNOWN)
    refused(await writer.delete(location), *UNKNOWN)
    assert await content(writer) == DATA


async def every_use(client: Client, location: str, status: int, code: str, *words: str) -> None:
    """Check that an upload opens for none of its four methods."""
    refused(await client.get(location), status, code, *words)
    refused(await client.patch(location, content=DATA), status, code, *words)
    done = await client.put(location, params={"digest": DIGEST}, content=DATA)
    refused(done, status, code, *words)
    refused(await client.delete(location), status, code, *words)


async def test_an_upload_opens_for_its_own_account_token_and_repository(world: World) -> None:
    writer = world.client("writer")
    location = await writer.start("acme/app")
    another = writer.with_authorization(f"Bearer {await world.mint('writer')}")
    for client in (world.client("owner"), world.client("admin"), another):
        await every_use(client, location, *UNKNOWN)
    await every_use(writer, location.replace("acme/app", "acme/other"), *UNKNOWN)
    await every_use(world.client("stranger"), location, 403, "DENIED")
    await every_use(world.client(""), location, 401, "UNAUTHORIZED")
    await finish(writer, location, data=DATA)


async def test_an_id_that_was_not_given_out_opens_nothing(writer: Client) -> None:
    location = await writer.start("acme/app", **{"digest-algorithm": "sha512"})
    base, _, upload = location.rpartition("/")
    nonce, seconds, algorithm, mac = upload.split(".")
    later = f"{int(seconds, 16) + 1000:x}"
    for forged in (
        *(f"{nonce}.{later}.{algorithm}.{mac}", f"{nonce}.{seconds}.sha256.{mac}"),
        *(f"x{nonce}.{seconds}.{algorithm}.{mac}", f"{nonce}.{seconds}.{algorithm}.{'A' * 24}"),
        *(f"{nonce}.{seconds}.{algorithm}.", f"{nonce}.{seconds}.{algorithm}", "x", "..." * 10),
        *(f"{nonce}.zz.{algorithm}.{mac}", "a" * 500, "00000000-0000-0000-0000-000000000000"),
    ):
        await every_use(writer, f"{base}/{forged}", *UNKNOWN)


async def test_an_upload_ends_a_day_after_its_last_byte(world: World, writer: Client) -> None:
    untouched, begun = await writer.start("acme/app"), await writer.start("acme/app")
    world.clock.advance(DAY - 1)
    await writer.patch(begun, content=DATA[:HALF])
    world.clock.advance(1)
    await every_use(writer, untouched, *UNKNOWN)
    world.clock.advance(DAY - 2)
    assert await holds(writer, begun) == HALF
    world.clock.advance(1)
    await every_use(writer, begun, *UNKNOWN)


async def bearer(world: World) -> Client:
    return await world.signed_in("writer").bearer("repository:acme/app:pull,push")


async def test_an_expired_bearer_may_finish_its_upload(world: World) -> None:
    client = await bearer(world)
    location = await client.start("acme/app")
    world.clock.advance(3600)
    assert (await client.patch(location, content=DATA[:HALF])).status_code == 202
    assert await holds(client, location) == HALF
    done = await client.put(location, params={"digest": DIGEST}, content=DATA[HALF:])
    assert done.status_code == 201


async def test_an_expired_token_may_finish_its_upload(world: World) -> None:
    text = await world.mint("writer", expires_in=60)
    client = world.client("").with_authorization(f"Bearer {text}")
    location = await client.start("acme/app")
    world.clock.advance(3600)
    refused(await client.get("/v2/"), 401, "UNAUTHORIZED", "expired")
    assert (await client.patch(location, content=DATA[:HALF])).status_code == 202
    world.clock.advance(DAY - 3600)
    assert await holds(client, location) == HALF
    world.clock.advance(60)
    await every_use(client, location, 401, "UNAUTHORIZED", "expired")


async def test_an_expired_bearer_opens_nothing_else(world: World) -> None:
    client = await bearer(world)
    location = await client.start("acme/app")
    world.clock.advance(3600)
    for response in (
        await client.post("/v2/acme/app/blobs/uploads/"),
        await client.get(f"/v2/acme/app/blobs/{DIGEST}"),
        await client.put_manifest("acme/app", "v1", b"{}"),
        await client.get("/v2/"),
    ):
        refused(response, 401, "UNAUTHORIZED", "expired")
    world.clock.advance(DAY)
    await every_use(client, location, 401, "UNAUTHORIZED", "expired")


@pytest.mark.parametrize("end", ["revoked", "disabled", "demoted", "new password"])
async def test_who_lost_the_right_does_not_finish(world: World, end: str) -> None:
    """Expiry is forgiven for an upload that runs; nothing else is, on the very next request."""
    text = await world.mint("writer")
    person = world.client("").with_authorization(f"Bearer {text}")
    if end == "new password":
        person = world.signed_in("writer")
    client = await person.bearer("repository:acme/app:pull,push")
    location = await client.start("acme/app")
    assert (await client.patch(location, content=DATA[:HALF])).status_code == 202
    world.clock.advance(3600)
    accounts = world.services.accounts
    if end == "revoked":
        await world.revoke(text)
    elif end == "disabled":
        await accounts.set_enabled(OPERATOR, "writer", enabled=False)
    elif end == "demoted":
        await world.set_role("writer", Role.READ)
    else:
        await accounts.set_password(OPERATOR, "writer", "another long password")
    status, code = (403, "DENIED") if end == "demoted" else (401, "UNAUTHORIZED")
    await every_use(client, location, status, code)


async def test_a_full_disk_refuses_uploads_and_goes_on_reading(world: World) -> None:
    await world.client().push_blob("acme/app", DATA)
    await world.reconfigure(reserve_bytes=2**60)
    writer = world.client()
    before = await world.footprint()
    location = await writer.start("acme/app")
    for response in (
        await writer.post(f"/v2/acme/app/blobs/uploads/?digest={DIGEST}", content=DATA),
        await writer.patch(location, content=DATA),
        await writer.put(location, params={"digest": DIGEST}, content=DATA),
    ):
        refused(response, 507, "UNAVAILABLE", "disk is full", "delete packages or add space")
    assert await world.footprint() == before
    assert await content(writer) == DATA


async def test_a_blob_over_the_limit_is_refused(world: World) -> None:
    await world.reconfigure(blob_bytes=HALF)
    writer = world.client()
    whole, begun = await writer.start("acme/app"), await writer.start("acme/app")
    await writer.patch(begun, content=DATA[:100])
    before = await world.footprint()
    for body in (DATA[: HALF + 1], stream(DATA[:HALF], b"!")):
        path = f"/v2/acme/app/blobs/uploads/?digest={DIGEST}"
        refused(await writer.post(path, content=body), 413, "SIZE_INVALID", f"at most {HALF}")
    for location in (whole, begun):
        for body in (DATA, stream(DATA[:100], DATA[:HALF])):
            response = await writer.patch(location, content=body)
            refused(response, 413, "SIZE_INVALID", "at most")
    assert await world.footprint() == before
    await writer.patch(begun, content=DATA[100:HALF])
    await finish(writer, begun, digest_of(DATA[:HALF]))


async def test_an_account_has_a_limit_of_unfinished_uploads(world: World) -> None:
    await world.reconfigure(uploads_per_account=2)
    writer = world.client()
    locations = [await writer.start("acme/app") for _ in range(3)]
    for location in locations[:2]:
        assert (await writer.patch(location, content=b"x")).status_code == 202
    response = await writer.patch(locations[2], content=b"x")
    refused(response, 429, "TOOMANYREQUESTS", "writer has 2 unfinished uploads")
    assert response.headers["retry-after"] == "60"
    assert (await writer.patch(locations[0], content=b"y")).status_code == 202
    other = world.client("owner")
    assert (await other.patch(await other.start("acme/app"), content=b"x")).status_code == 202
    await writer.delete(locations[1])
    assert (await writer.patch(locations[2], content=b"x")).status_code == 202


def resident(pid: int) -> int:
    """The most memory a process has held, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def workers(supervisor: int) -> list[int]:
    return [
        int(pid)
        for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    ]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc says how much memory")
def test_memory_stays_flat_however_large_the_blob(tmp_path: Path) -> None:
    """300 MB up in one PATCH, up in one POST, and down; the server has a process of its own."""
    piece, pieces = bytes(MIB), 300
    digest = "sha256:" + hashlib.sha256(piece * pieces).hexdigest()
    with running(tmp_path) as registry, registry.http() as http:
        pids = workers(json.loads((registry.data / "listening.json").read_text())["pid"])
        small = http.post("/v2/acme/app/blobs/uploads/", params={"digest": DIGEST}, content=DATA)
        assert small.status_code == 201
        before = {pid: resident(pid) for pid in pids}
        location = http.post("/v2/acme/app/blobs/uploads/").headers["location"]
        sent = http.patch(location, content=itertools.repeat(piece, pieces))
        assert sent.headers["range"] == f"0-{MIB * pieces - 1}"
        assert http.put(location, params={"digest": digest}).status_code == 201
        again = {"digest": digest}
        body = itertools.repeat(piece, pieces)
        assert http.post("/v2/acme/b/blobs/uploads/", params=again, content=body).is_success
        with http.stream("GET", f"/v2/acme/app/blobs/{digest}") as response:
            assert sum(map(len, response.iter_raw())) == MIB * pieces
        grown = {pid: resident(pid) - was for pid, was in before.items()}
    assert all(bytes_ < 64 * MIB for bytes_ in grown.values()), grown
