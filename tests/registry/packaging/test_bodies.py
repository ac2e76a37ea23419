"""Bodies over a real socket: not asked for where the answer is no, and cut at any byte."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from registry.app import build_surface
from tests.registry.client import Client, basic
from tests.registry.packaging.routes import GenericRoutes
from tests.registry.world import Served, World


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    world._surface = build_surface(world.services, adapters=lambda *_: [GenericRoutes()])
    async with world.served() as served:
        yield served


async def send(served: Served, *parts: bytes, closing: bool = False) -> bytes:
    """Send parts of a request over a connection of its own, and return all that comes."""
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    if closing:
        writer.close()
    answer = await reader.read() if not closing else b""
    writer.close()
    return answer


def head(length: int, token: str, *more: str) -> bytes:
    lines = ["PUT /generic/acme/new HTTP/1.1", "Host: x", f"Content-Length: {length}", *more]
    if token:
        lines.append(f"Authorization: {basic('x', token)}")
    return "\r\n".join([*lines, "", ""]).encode()


async def test_who_may_not_is_not_asked_for_his_body(world: World, served: Served) -> None:
    """A client that waits for 100 before it sends sends nothing, and needs to send nothing."""
    waits = ("Expect: 100-continue", "Connection: close")
    for name, status in (("", b"401"), ("stranger", b"403")):
        answer = await send(served, head(10**9, world.tokens.get(name, ""), *waits))
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"100 Continue" not in answer
    asked = head(3, world.tokens["writer"], *waits)
    answer = await send(served, asked, b"new")
    assert answer.startswith(b"HTTP/1.1 100 Continue")
    assert b'"size":3,"complete":true' in answer


async def test_a_body_that_comes_in_pieces_is_read_as_it_comes(
    world: World, served: Served
) -> None:
    pieces = [b"x" * 50_000] * 40
    asked = head(2_000_000, world.tokens["writer"], "Connection: close")
    answer = await send(served, asked, *pieces)
    assert b'"size":2000000,"complete":true' in answer


async def test_who_leaves_in_the_middle_of_his_body_stops_nobody(
    world: World, served: Served
) -> None:
    await send(served, head(1000, world.tokens["writer"]), b"x" * 10, closing=True)
    assert await served.ended.get() == "PUT"
    client = Client(None, "", served.url)
    assert (await client.get("/generic/-/ping")).status_code == 200
    await client.http.aclose()
