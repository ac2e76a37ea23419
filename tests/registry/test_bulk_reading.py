"""Fast bodies gather in the kernel before they are read; none waits for bytes that do not come."""

import asyncio
import hashlib
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from registry.bulk_reading import LEAST, LONGEST_SECONDS, BulkReading
from registry.protocol import GuardedProtocol
from tests.registry.connected import PATIENCE, connected, receive_until
from tests.registry.test_idle_connections import Timers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gathers")

HEAD = b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = bytes(range(256)) * 128
TAIL = b"the last bytes"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the client's end and ours of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with theirs, ours:
        yield theirs, ours


class Clocked:
    """A BulkReading on a clock of the test's, at a socket that is real."""

    def __init__(self, ours: socket.socket) -> None:
        self.timers, self._ours = Timers(), ours
        transport = SimpleNamespace(get_extra_info=lambda name: ours)
        self.reading = BulkReading(cast("Any", transport), cast("Any", self.timers))

    def came(self, size: int, after: float) -> None:
        self.timers.go_to(self.timers.now + after)
        self.reading.came(size)

    @property
    def waits_for(self) -> int:
        return least(self._ours)


def least(ours: socket.socket) -> int:
    return ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def test_what_comes_slowly_is_read_as_it_comes(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    slow = Clocked(ends[1])
    for _ in range(200):
        slow.came(16 * 1024, after=0.01)
        assert slow.waits_for == 1


async def test_what_comes_fast_gathers_until_it_has_waited_long_enough(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    fast = Clocked(ends[1])
    for _ in range(8):
        fast.came(len(PIECE), after=0.001)
    assert fast.waits_for == LEAST
    fast.came(LEAST, after=LONGEST_SECONDS * 0.9)
    fast.timers.go_to(fast.timers.now + LONGEST_SECONDS * 0.9)
    assert fast.waits_for == LEAST  # the read between wound the timer up
    fast.timers.go_to(fast.timers.now + LONGEST_SECONDS)
    assert fast.waits_for == 1


async def test_a_pause_that_was_short_goes_on_gathering_and_a_long_one_does_not(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    fast = Clocked(ends[1])
    for _ in range(8):
        fast.came(len(PIECE), after=0.001)
    fast.came(len(PIECE), after=LONGEST_SECONDS)
    assert fast.waits_for == LEAST
    fast.timers.go_to(fast.timers.now + LONGEST_SECONDS)
    fast.came(len(PIECE), after=1)
    assert fast.waits_for == 1


async def test_the_end_of_a_body_lets_the_next_request_in(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    fast = Clocked(ends[1])
    for _ in range(8):
        fast.came(len(PIECE), after=0.001)
    fast.reading.end()
    assert fast.waits_for == 1
    fast.timers.go_to(fast.timers.now + 1)
    for _ in range(7):  # a new body is fast only by its own bytes
        fast.came(len(PIECE), after=0.001)
    assert fast.waits_for == 1


async def test_a_body_that_gathers_arrives_whole_and_the_next_request_is_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    gathered = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        digest = hashlib.sha256()
        async for piece in Request(scope, receive).stream():
            digest.update(piece)
            if least(ours) == LEAST:
                gathered.set()
        await PlainTextResponse(f"{digest.hexdigest()}.")(scope, receive, send)

    loop, digest = asyncio.get_running_loop(), hashlib.sha256()
    async with connected(app, theirs, ours, GuardedProtocol), asyncio.timeout(PATIENCE):
        await loop.sock_sendall(theirs, HEAD)
        while not gathered.is_set():
            digest.update(PIECE)
            await loop.sock_sendall(theirs, chunk(PIECE))
        digest.update(TAIL)
        await loop.sock_sendall(theirs, chunk(TAIL) + chunk(b""))
        answer = await receive_until(theirs, b".")
        assert answer.endswith(digest.hexdigest().encode() + b".")
        assert least(ours) == 1
        await loop.sock_sendall(theirs, HEAD + chunk(TAIL) + chunk(b""))
        answer = await receive_until(theirs, b".")
        assert answer.endswith(hashlib.sha256(TAIL).hexdigest().encode() + b".")


async def test_a_client_that_leaves_while_its_body_gathers_is_noticed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    gathered, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for _ in Request(scope, receive).stream():
                if least(ours) == LEAST:
                    gathered.set()
        except ClientDisconnect:
            left.set()
        await Response()(scope, receive, send)

    loop = asyncio.get_running_loop()
    async with connected(app, theirs, ours, GuardedProtocol), asyncio.timeout(PATIENCE):
        await loop.sock_sendall(theirs, HEAD)
        while not gathered.is_set():
            await loop.sock_sendall(theirs, chunk(PIECE))
        theirs.close()
        await left.wait()


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
