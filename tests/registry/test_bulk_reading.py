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

from registry.bulk_reading import FAST_BYTES, LEAST, LONGEST_SECONDS, BulkReading
from registry.protocol import GuardedProtocol
from tests.registry.connected import PATIENCE, connected, receive_until
from tests.registry.test_idle_connections import Timers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gathers")

HEAD = b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
ANNOUNCED = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
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
        self.reading.begin(None)

    def comes_fast(self) -> None:
        """Receive as much as makes a body a fast one."""
        for _ in range(FAST_BYTES // len(PIECE)):
            assert self.waits_for == 1
            self.came(len(PIECE), after=0.001)
        assert self.waits_for == LEAST

    def came(self, size: int, after: float) -> None:
        self.timers.go_to(self.timers.now + after)
        self.reading.came(size)

    @property
    def waits_for(self) -> int:
        return least(self._ours)


def least(ours: socket.socket) -> int:
    return ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@pytest.fixture
async def clocked(ends: tuple[socket.socket, socket.socket]) -> Clocked:
    return Clocked(ends[1])


async def test_what_comes_slowly_is_read_as_it_comes(clocked: Clocked) -> None:
    for _ in range(2 * FAST_BYTES // 16384):
        clocked.came(16384, after=0.01)
        assert clocked.waits_for == 1


async def test_what_comes_fast_gathers_until_it_has_waited_long_enough(clocked: Clocked) -> None:
    clocked.comes_fast()
    clocked.came(LEAST, after=LONGEST_SECONDS * 0.9)
    clocked.timers.go_to(clocked.timers.now + LONGEST_SECONDS * 0.9)
    assert clocked.waits_for == LEAST  # the read between wound the timer up
    clocked.timers.go_to(clocked.timers.now + LONGEST_SECONDS)
    assert clocked.waits_for == 1


async def test_a_pause_that_was_short_goes_on_gathering_and_a_long_one_does_not(
    clocked: Clocked,
) -> None:
    clocked.comes_fast()
    clocked.came(len(PIECE), after=LONGEST_SECONDS)
    assert clocked.waits_for == LEAST
    clocked.timers.go_to(clocked.timers.now + LONGEST_SECONDS)
    clocked.came(len(PIECE), after=1)
    assert clocked.waits_for == 1


async def test_the_end_of_a_body_lets_the_next_request_in(clocked: Clocked) -> None:
    clocked.comes_fast()
    clocked.reading.end()
    assert clocked.waits_for == 1


async def test_a_body_is_fast_by_its_own_bytes_alone(clocked: Clocked) -> None:
    clocked.came(FAST_BYTES - 1, after=0.001)
    clocked.reading.begin(None)
    clocked.comes_fast()
    clocked.reading.begin(None)
    clocked.comes_fast()


async def test_no_more_bytes_are_waited_for_than_are_left(clocked: Clocked) -> None:
    clocked.reading.begin(FAST_BYTES + LEAST + 1000)
    clocked.comes_fast()
    clocked.came(LEAST - 1000, after=0.001)
    assert clocked.waits_for == 2000
    clocked.reading.begin(FAST_BYTES + 1)
    for _ in range(FAST_BYTES // len(PIECE)):
        clocked.came(len(PIECE), after=0.001)
    assert clocked.waits_for == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_gathers_arrives_whole_and_the_next_request_is_read(
    ends: tuple[socket.socket, socket.socket], *, announced: bool
) -> None:
    theirs, ours = ends
    waits, body = set[int](), PIECE * (4 * FAST_BYTES // len(PIECE)) + TAIL

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        digest = hashlib.sha256()
        async for piece in Request(scope, receive).stream():
            digest.update(piece)
            waits.add(least(ours))
        await PlainTextResponse(f"{digest.hexdigest()}.")(scope, receive, send)

    async def sent(body: bytes) -> None:
        parts = [body[at : at + len(PIECE)] for at in range(0, len(body), len(PIECE))]
        await loop.sock_sendall(theirs, ANNOUNCED % len(body) if announced else HEAD)
        for part in parts:
            await loop.sock_sendall(theirs, part if announced else chunk(part))
        await loop.sock_sendall(theirs, b"" if announced else chunk(b""))
        answer = await receive_until(theirs, b".")
        assert answer.endswith(hashlib.sha256(body).hexdigest().encode() + b".")
        assert least(ours) == 1

    loop = asyncio.get_running_loop()
    async with connected(app, theirs, ours, GuardedProtocol), asyncio.timeout(PATIENCE):
        while not (LEAST in waits and any(1 < wait < LEAST for wait in waits) is announced):
            await sent(body)
        await sent(TAIL)


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


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT example.com:443 HTTP/1.1",
        b"GET http://h HTTP/1.1",
        b"GET http://h?x HTTP/1.1",
        b"GET http://a:b:c/ HTTP/1.1",
        b"GET http://[ HTTP/1.1",
    ],
)
async def test_what_is_no_request_to_us_breaks_no_connection(
    ends: tuple[socket.socket, socket.socket], line: bytes
) -> None:
    theirs, ours = ends
    broken: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: broken.append(context))
    async with connected(PlainTextResponse("ok."), theirs, ours, GuardedProtocol):
        await loop.sock_sendall(theirs, line + b"\r\nHost: h\r\n\r\n")
        answer = await receive_until(theirs, b".\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert not broken


async def test_a_head_that_begins_behind_a_large_body_is_not_too_long(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    theirs, ours = ends
    made: list[GuardedProtocol] = []

    class Seen(GuardedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            made.append(self)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = sum([len(piece) async for piece in Request(scope, receive).stream()])
        await PlainTextResponse(f"{size}.")(scope, receive, send)

    body = PIECE * 4
    async with connected(app, theirs, ours, Seen):
        (protocol,) = made
        protocol.data_received(ANNOUNCED % len(body))
        protocol.data_received(body + b"GET / HTTP/1.1\r\nHo")
        assert (await receive_until(theirs, b".")).endswith(b"\r\n\r\n%d." % len(body))
        protocol.data_received(b"st: localhost\r\n\r\n")
        assert (await receive_until(theirs, b".")).endswith(b"\r\n\r\n0.")
