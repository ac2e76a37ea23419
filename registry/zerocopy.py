"""What uvicorn sends, sent better: files by sendfile, and a small answer in one write.

The ASGI extension `http.response.zerocopysend` (asgiref, "Zero Copy Send") on uvicorn's httptools
protocol and the standard event loop; uvloop has no sendfile. Plain HTTP only: under TLS the kernel
cannot encrypt for us, and loop.sendfile would put another protocol in uvicorn's place.

What each line below guards against was seen or read in the event loop's source:
- A cold page blocks the whole loop inside os.sendfile. preadv with RWF_NOWAIT asks in 2 µs whether
  the last byte of a window is in the page cache; if not, a thread reads the window first.
- fallback=False always: the fallback copies 16 kB blocks into a socket that may be dead.
- transport.close() during a sendfile leaves its future pending for ever: only abort() ends it.
- A disconnected cycle is asked before its started response is: uvicorn answers no send after that.
- A file shorter than promised ends the connection, so that the client sees a cut body and not a
  second answer in the middle of the first.
"""

import asyncio
import errno
import os
from asyncio.constants import _SendfileMode
from typing import IO, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.zerocopysend"
WINDOW = 4 * 1024 * 1024
_READ = 1024 * 1024
_JOINED = 64 * 1024


class ZeroCopyProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose applications may send files."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        mode = getattr(self.transport, "_sendfile_compatible", None)
        if self.scheme == "http" and mode is _SendfileMode.TRY_NATIVE:
            cycle.scope.setdefault("extensions", {})[EXTENSION] = {}
        sender: Any = Sender(app, cycle, self.loop)
        super()._start_asgi_task(cycle, sender)


class _Cork:
    """Stands in for a transport while headers and a first body are written, and joins them."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._held: list[bytes] = []
        self._closing = False

    def __enter__(self) -> None:
        self._cycle.transport = self  # type: ignore[assignment]

    def __exit__(self, *error: object) -> None:
        self._cycle.transport = self._transport
        if self._held:
            self._transport.write(b"".join(self._held))
        if self._closing:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Hold `data`."""
        self._held.append(data)

    def close(self) -> None:
        """Close once everything is written."""
        self._closing = True

    def is_closing(self) -> bool:
        """Whether the connection ends."""
        return self._transport.is_closing()


class Sender:
    """Wraps the application of one request: joins small answers, understands zerocopysend."""

    def __init__(
        self, app: ASGIApp, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._cycle = cycle
        self._loop = loop
        self._head: Message | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application (ASGI)."""

        async def sending(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                self._head = message  # it leaves with the first bytes of the body
                return
            head, self._head = self._head, None
            if head is not None:
                if kind != EXTENSION and len(message.get("body", b"")) <= _JOINED:
                    with _Cork(self._cycle):
                        await send(head)
                        await send(message)
                    return
                await send(head)
            await self._send(message, send)

        await self._app(scope, receive, sending)

    async def _send(self, message: Message, send: Send) -> None:
        if message["type"] != EXTENSION:
            await send(message)
        elif not self._cycle.disconnected:
            await self._send_file(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_file(self, message: Message) -> None:
        file, offset, left = message["file"], message["offset"], message["count"]
        cycle = self._cycle
        if cycle.scope["method"] == "HEAD":
            return
        while left and not cycle.disconnected:
            window = min(WINDOW, left)
            await self._warm(file, offset, window)
            if cycle.flow.write_paused:
                await cycle.flow.drain()
            sent = await self._sent(file, offset, window)
            cycle.expected_content_length -= sent
            offset, left = offset + sent, left - sent
            if sent < window:
                cycle.disconnected = True
                cycle.transport.abort()
                return

    async def _sent(self, file: IO[bytes], offset: int, count: int) -> int:
        try:
            return await self._loop.sendfile(
                self._cycle.transport, file, offset, count, fallback=False
            )
        except (ConnectionError, TimeoutError, RuntimeError):
            return 0  # the peer is gone: its transport closes, or has closed

    async def _warm(self, file: IO[bytes], offset: int, count: int) -> None:
        if not is_cached(file.fileno(), offset + count - 1):
            await self._loop.run_in_executor(None, _read_through, file.fileno(), offset, count)


def is_cached(descriptor: int, offset: int) -> bool:
    """Whether a byte of a file is in the page cache; True where the kernel cannot say."""
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], offset, flag)
    except OSError as error:
        return error.errno != errno.EAGAIN
    return True


def _read_through(descriptor: int, offset: int, count: int) -> None:
    end = offset + count
    buffer = bytearray(_READ)
    while offset < end:
        got = os.preadv(descriptor, [memoryview(buffer)[: min(_READ, end - offset)]], offset)
        if got == 0:
            return
        offset += got
