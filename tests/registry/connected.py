"""uvicorn's protocol on a real transport whose other end the test holds."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from registry.zerocopy import ZeroCopyProtocol

PATIENCE = 60


@asynccontextmanager
async def connected(
    app: ASGIApp,
    peer: socket.socket,
    ours: socket.socket,
    protocol: type[ZeroCopyProtocol] = ZeroCopyProtocol,
) -> AsyncIterator[None]:
    """Serve `app` on one end of a connection; `peer` is the other."""
    loop, state = asyncio.get_running_loop(), ServerState()
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None)
    config.load()
    peer.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol(config=config, server_state=state, app_state={}), ours
    )
    try:
        yield
    finally:
        peer.close()
        await asyncio.gather(*state.tasks)
        transport.abort()


async def receive_until(peer: socket.socket, end: bytes, most: int = 65536) -> bytes:
    """Receive, up to so many bytes at a time, until what came ends so; what came."""
    came = b""
    while not came.endswith(end):
        chunk = await _receive(peer, most)
        assert chunk, f"the connection ended after {came[-200:]!r}"
        came += chunk
    return came


async def receive_all(peer: socket.socket) -> bytes:
    """Receive until the connection ends; what came."""
    came = b""
    while chunk := await _receive(peer):
        came += chunk
    return came


async def _receive(peer: socket.socket, most: int = 65536) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().sock_recv(peer, most)


def drained(peer: socket.socket) -> bytes:
    """What lies in the kernel for this end, which has room for more after that."""
    came = b""
    while True:
        try:
            came += peer.recv(65536)
        except BlockingIOError:
            return came
