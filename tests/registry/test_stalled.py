"""Who takes nothing for minutes is cut; who takes little, however little, is not."""

import asyncio
import socket
import ssl
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.responses import Response

from registry.protocol import GuardedProtocol
from registry.stalled import STALLED_SECONDS, Stalled, taken_while_more_waits
from tests.clients.server import make_certificate
from tests.registry.connected import PATIENCE, connected, receive_all, receive_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")

SMALL = 8 * 1024
BODY = bytes(8 * 1024 * 1024)


@dataclass
class Reader:
    """A client with a small buffer, and its connection at the server; it counts bodies."""

    theirs: socket.socket
    ours: socket.socket
    protocol: GuardedProtocol
    taken: int = 0

    async def ask(self) -> None:
        """Ask; returns when the body has begun and more of it waits."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.theirs, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        came = await receive_until(self.theirs, b"\r\n\r\n" + BODY[:1], most=1)
        assert came.startswith(b"HTTP/1.1 200 ")
        self.taken += 1

    async def read_a_little(self) -> None:
        """Read until the server's system has been told."""
        before = taken_while_more_waits(self.ours)
        while taken_while_more_waits(self.ours) == before:
            await self._read(1024)

    async def read_all(self) -> None:
        """Read an answer to its end."""
        while self.taken % len(BODY) or not self.taken:
            await self._read(256 * 1024)

    async def _read(self, most: int) -> None:
        async with asyncio.timeout(PATIENCE):
            came = await asyncio.get_running_loop().sock_recv(self.theirs, most)
        assert came
        self.taken += len(came)


class Clock:
    """Seconds that the test lets pass."""

    now = 0

    def __call__(self) -> float:
        return self.now


async def arrive(stack: AsyncExitStack) -> Reader:
    """Connect and ask; returns when more has come than the buffers take."""
    made: list[GuardedProtocol] = []

    class Seen(GuardedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            made.append(self)

    theirs = stack.enter_context(socket.socket())
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs.connect(listening.getsockname())
        ours, _ = listening.accept()
    await stack.enter_async_context(connected(Response(BODY), theirs, ours, Seen))
    reader = Reader(theirs, ours, made[0])
    await reader.ask()
    return reader


async def test_who_takes_nothing_is_cut_and_who_takes_little_is_not() -> None:
    async with AsyncExitStack() as stack:
        idle, slow = await arrive(stack), await arrive(stack)
        clock = Clock()
        stalled = Stalled(clock)
        for clock.now in range(0, STALLED_SECONDS + 1, STALLED_SECONDS // 10):
            stalled.look([idle.protocol, slow.protocol])
            assert idle.protocol.transport.is_closing() is (clock.now == STALLED_SECONDS)
            await slow.read_a_little()
        assert len(await receive_all(idle.theirs)) < len(BODY)
        assert not slow.protocol.transport.is_closing()
        await slow.read_all()
        assert slow.taken == len(BODY)


@pytest.mark.parametrize("tls", [True, False])
async def test_a_connection_that_has_just_ended_is_no_trouble(tmp_path: Path, *, tls: bool) -> None:
    """Its socket ends a turn of the loop before the server hears of it."""
    ended = asyncio.get_running_loop().create_future()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set_result(writer.transport)

    ours, theirs = contexts(tmp_path) if tls else (None, None)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours) as server:
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address, ssl=theirs)
        async with asyncio.timeout(PATIENCE):
            Stalled().look([SimpleNamespace(transport=await ended)])
        writer.close()


def contexts(home: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's side of TLS, and that of a client who trusts it."""
    certificate, key = make_certificate(home)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    return ours, ssl.create_default_context(cafile=certificate)


async def test_who_has_taken_everything_may_wait() -> None:
    async with AsyncExitStack() as stack:
        reader = await arrive(stack)
        await reader.read_all()
        clock = Clock()
        stalled = Stalled(clock)
        for clock.now in (0, STALLED_SECONDS, 10 * STALLED_SECONDS):
            stalled.look([reader.protocol])
        await reader.ask()
        await reader.read_all()
        assert reader.taken == 2 * len(BODY)


async def test_who_paused_and_took_more_has_all_the_time_again() -> None:
    async with AsyncExitStack() as stack:
        reader = await arrive(stack)
        clock = Clock()
        stalled = Stalled(clock)
        stalled.look([reader.protocol])
        await reader.read_a_little()
        for clock.now in (STALLED_SECONDS - 1, 2 * STALLED_SECONDS - 2):
            stalled.look([reader.protocol])
        assert not reader.protocol.transport.is_closing()
        clock.now += 1
        stalled.look([reader.protocol])
        assert reader.protocol.transport.is_closing()
