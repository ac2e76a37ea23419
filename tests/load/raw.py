"""A client's connection as raw as asyncio allows: nothing is read before it is asked for."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.registry.client import digest_of
from tests.registry.processes import PATIENCE


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers, names in lower case; the body is still to be read."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def location(self) -> str:
        """Where to go on, without scheme and host."""
        return urlsplit(self.headers["location"])._replace(scheme="", netloc="").geturl()


class Connection:
    """One keep-alive connection to a port of 127.0.0.1; `buffer` is the kernel's for receiving."""

    def __init__(self, port: int, authorization: str, buffer: int = 0) -> None:
        self._port = port
        self.authorization = authorization
        self._rest = b""
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(PATIENCE):
            address = ("127.0.0.1", self._port)
            await asyncio.get_running_loop().sock_connect(self._socket, address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a whole request, and read the head of its answer."""
        await self.begin(method, target, content_length=str(len(body)), **headers)
        await self.send(body)
        return await self.answer()

    async def begin(self, method: str, target: str, **headers: str) -> None:
        """Send the head of a request."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def answer(self) -> Answer:
        """Read the head of an answer."""
        while b"\r\n\r\n" not in self._rest:
            self._rest += await self._receive(16 * 1024)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Answer(int(first.split(" ", 2)[1]), headers)

    async def read(self, size: int) -> bytes:
        """Read exactly `size` bytes of a body."""
        parts = [self._rest[:size]]
        self._rest = self._rest[size:]
        left = size - len(parts[0])
        while left:
            parts.append(await self._receive(min(left, 64 * 1024)))
            left -= len(parts[-1])
        return b"".join(parts)

    async def _receive(self, most: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            data = await asyncio.get_running_loop().sock_recv(self._socket, most)
        assert data, f"the server closed the connection after {self._rest[:200]!r}"
        return data


def with_digest(location: str, data: bytes) -> str:
    """The target that closes an upload."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest_of(data)}"
