"""The body of a publish on its way: too large, cut short, stalled, and ten of them at once."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest

from formats.npm.body_scan import MAX_DOCUMENT
from tests.formats.npm.hostile import NAME, SOUND, TGZ, VERSION, attached, publication
from tests.formats.npm.shop import told
from tests.registry.client import Client, basic
from tests.registry.world import Served, World

PAD = "/npm/@acme%2fpad"
MOST = 100_000
"""Bytes of a tarball that are taken here."""
HEAD = {"_id": NAME, "name": NAME, "versions": {VERSION: {"name": NAME, "version": VERSION}}}
BEGUN = json.dumps(HEAD)[:-1].encode() + b',"_attachments":{"%s":{"data":"' % TGZ.encode()


@pytest.fixture
async def writer(world: World) -> Client:
    await world.reconfigure(package_bytes=MOST)
    return world.client("writer")


async def endless(pieces: int) -> AsyncIterator[bytes]:
    """A tarball that goes on; it is counted what is taken of it."""
    yield BEGUN
    for _ in range(pieces):
        yield base64.b64encode(bytes(30_000))
    raise AssertionError("all of it was taken")


async def test_a_tarball_is_refused_once_it_is_too_large(world: World, writer: Client) -> None:
    """CVE-2017-11468: no length was said, and nobody waits for the end."""
    before = await world.footprint()
    told(await writer.put(PAD, content=endless(5)), 413, f"larger than {MOST} bytes")
    announced = json.dumps(publication(bytes(MOST + 1))).encode()
    told(await writer.put(PAD, content=announced), 413, f"larger than {MOST} bytes")
    assert await world.footprint() == before
    accepted = publication()
    assert (await writer.put(PAD, json=accepted)).status_code == 201


async def test_a_body_that_says_it_is_too_large_is_not_taken(world: World, writer: Client) -> None:
    """20 GB announced: the answer comes before a byte of it was asked for."""
    before = await world.footprint()
    waits = ("Expect: 100-continue", "Connection: close")
    async with world.served() as served:
        answer = await send(served, head(world, 20 * 10**9, *waits))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"100 Continue" not in answer
        assert b'"error":"at most %d bytes' % (MOST * 4 // 3 + MAX_DOCUMENT) in answer
    assert await world.footprint() == before


@pytest.mark.parametrize("at", ["in the document", "in the tarball", "before the end"])
async def test_a_body_that_is_cut_short_leaves_nothing(
    world: World, writer: Client, at: str
) -> None:
    whole = json.dumps(publication()).encode()
    cut = {"in the document": 30, "in the tarball": len(whole) - 150, "before the end": -1}[at]
    before = await world.footprint()
    await writer.cut("PUT", PAD, whole[:20], whole[20:cut])
    assert await world.footprint() == before
    told(await writer.put(PAD, content=whole[:cut]), 400)
    assert await world.footprint() == before


async def test_a_body_that_stands_still_is_ended(world: World, writer: Client) -> None:
    await world.reconfigure(idle_seconds=1)
    before = await world.footprint()
    async with world.served() as served:
        for begun in (b'{"name":', BEGUN + b"QUJD" * 1000):
            answer = await send(served, head(world, 50_000, "Connection: close"), begun)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"publish again" in answer
    assert await world.footprint() == before


SMUGGLED = b"GET /npm/-/whoami HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Transfer-Encoding: chunked", b"2\r\n{}xx0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding: chunked", b"-1\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"fffffffffffffffff\r\n{}"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", b"0\r\n\r\n" + SMUGGLED),
        ("Content-Length: 2\r\nContent-Length: 60", b"{}" + SMUGGLED),
        ("Content-Length: +2", b"{}"),
    ],
)
async def test_a_body_has_one_end(world: World, writer: Client, framing: str, body: bytes) -> None:
    """CVE-2025-43859: no second request is read out of a first one's body."""
    before = await world.footprint()
    async with world.served() as served:
        answer = await send(served, head(world, None, framing), body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"HTTP/1.1 400 " in answer
    assert b"username" not in answer
    assert await world.footprint() == before


async def test_ten_at_once_are_ten(world: World, writer: Client) -> None:
    """Nine that fail, each in its own way, and one that is published."""
    before = (await world.footprint())["objects"]
    good = json.dumps(publication()).encode()
    wrong = json.dumps(publication(said={"bin": "x.js"})).encode()
    large = json.dumps(publication(bytes(MOST + 1))).encode()
    two = json.dumps(publication(_attachments={TGZ: attached(SOUND), "x.tgz": attached(SOUND)}))
    bodies = [good, *[wrong] * 3, *[large] * 3, *[good[:-5]] * 2, two.encode()]
    async with world.served() as served:
        client = Client(None, basic("x", world.tokens["writer"]), served.url)
        answers = await asyncio.gather(*(client.put(PAD, content=each) for each in bodies))
        await client.http.aclose()
    statuses = [answer.status_code for answer in answers]
    assert statuses == [201, 400, 400, 400, 413, 413, 413, 400, 400, 400]
    assert (await world.footprint())["objects"] == before + 2  # the tarball and the config
    found = (await writer.get(PAD)).json()
    assert list(found["versions"]) == [VERSION]


def head(world: World, length: int | None, *more: str) -> bytes:
    lines = [f"PUT {PAD} HTTP/1.1", "Host: x", *more]
    lines += [] if length is None else [f"Content-Length: {length}"]
    lines.append(f"Authorization: {basic('x', world.tokens['writer'])}")
    return "\r\n".join([*lines, "", ""]).encode()


async def send(served: Served, *parts: bytes) -> bytes:
    """Send parts of a request over a connection of its own, and return all that comes."""
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer
