"""What uvicorn sends, sent better: files by sendfile, and a small answer in one write.

The ASGI extension `http.response.zerocopysend` (asgiref, "Zero Copy Send") on uvicorn's httptools
protocol and the standard event loop; uvloop has no sendfile. Plain HTTP only: under TLS the kernel
cannot encrypt for us, and loop.sendfile would put another protocol in uvicorn's place.

What each line below guards against was seen or read in the event loop's source:
- A cold page blocks the whole loop inside os.sendfile. So the kernel is asked whether it holds the
  window (registry/page_cache.py); if not, a thread reads the window first. A message that says
  `cached` (our own word in it) was asked for by who sends it: asked twice, some kernels lie.
- fallback=False always: the fallback copies 16 kB blocks into a socket that may be dead.
- transport.close() during a sendfile leaves its future pending for ever: only abort() ends it.
- A disconnected cycle is asked before its started response is: uvicorn answers no send after that.
- A file shorter than promised ends the connection, so that the client sees a cut body and not a
  second answer in the middle of the first.
"""

import asyncio
import os
import socket
from asyncio.constants import _SendfileMode
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from registry.page_cache import is_cached

EXTENSION = "http.response.zerocopysend"
WINDOW = 4 * 1024 * 1024
_READ = 1024 * 1024
_JOINED = 64 * 1024
_TURNS = 3
_MORE = getattr(socket, "MSG_MORE", 0)
_BODILESS = (204, 304)
_UNUSUAL = (b"connection", b"transfer-encoding", b"set-cookie")
"""What needs more than to be written, or is not to be remembered."""
_REMEMBERED = 500
"""Heads of answers about what is stored."""
_SAFE = bytes(byte for byte in range(256) if byte not in b"\x7f" and (byte >= 0x20 or byte == 9))
"""What a header value may hold: a line break would begin another header."""


class ZeroCopyProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose applications may send files."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        mode = getattr(self.transport, "_sendfile_compatible", None)
        if self.scheme == "http" and mode is _SendfileMode.TRY_NATIVE:
            cycle.scope.setdefault("extensions", {})[EXTENSION] = {}
        sender: Any = Sender(app, cycle, self.loop)
        super()._start_asgi_task(cycle, sender)


class HasDescriptor(Protocol):
    """What can be sent: an open file, or what shares one."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


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
                if kind == EXTENSION and await self._send_with_head(head, message):
                    return
                if kind != EXTENSION and self._send_whole(head, message):
                    return
                await send(head)
            await self._send(message, send)

        await self._app(scope, receive, sending)

    def _wire(self, head: Message) -> tuple[bytes, int | None] | None:
        """Return a head as it is written, and the length it promises.

        None for what uvicorn's cycle must see to: a peer that is gone or slow, a header that is
        unusual. Headers are pairs in tuples, of which the last is new with each answer (its
        request's id); those of what is stored are else the same again and again.
        """
        cycle, fields = self._cycle, head["headers"]
        if cycle.disconnected or cycle.flow.write_paused:
            return None
        try:
            shared = tuple(fields[:-1])
            stored = any(name == b"etag" for name, _ in shared)
            lines, length = _render_known(shared) if stored else _render(shared)
            own, own_length = _render((*cycle.default_headers, *fields[-1:]))
        except _Unusual:
            return None
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        length = own_length if length is None else length
        return b"".join((STATUS_LINE[head["status"]], own, lines, end)), length

    def _send_whole(self, head: Message, message: Message) -> bool:
        """Write an answer that is complete and small in one piece; say whether that was done.

        What uvicorn's cycle does with two messages in two writes. It keeps what is unusual, and a
        length that is unknown or wrong.
        """
        cycle, body = self._cycle, message.get("body", b"")
        if message.get("more_body") or len(body) > _JOINED:
            return False
        found = self._wire(head)
        if found is None:
            return False
        wire, length = found
        if cycle.scope["method"] == "HEAD":
            body, length = b"", 0
        if body if head["status"] in _BODILESS else length != len(body):
            return False
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(wire + body)
        self._complete()
        return True

    async def _send_with_head(self, head: Message, message: Message) -> bool:
        """Send a file whose head leaves with its first bytes; say whether that was done."""
        cycle, count = self._cycle, message["count"]
        if not count or cycle.scope["method"] == "HEAD" or head["status"] in _BODILESS:
            return False
        found = self._wire(head)
        if found is None or found[1] != count:
            return False
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.expected_content_length = count
        self._hold(found[0])
        await self._send_file(message)
        if not cycle.disconnected:
            self._complete()
        return True

    def _hold(self, data: bytes) -> None:
        """Tell the kernel that more follows at once: one segment less, and one wake-up there."""
        transport, sent = self._cycle.transport, 0
        if not transport.get_write_buffer_size():
            with suppress(OSError):  # full or gone: the transport finds out, and waits or ends
                sent = transport.get_extra_info("socket")._sock.send(data, _MORE)
        if sent < len(data):
            transport.write(data[sent:])

    def _complete(self) -> None:
        """End the answer, as the cycle does after its last byte."""
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    async def _send(self, message: Message, send: Send) -> None:
        if message["type"] != EXTENSION:
            await send(message)
        elif not self._cycle.disconnected:
            await self._send_file(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_file(self, message: Message) -> None:
        file, offset, left = message["file"], message["offset"], message["count"]
        cycle, cached = self._cycle, message.get("cached")
        if cycle.scope["method"] == "HEAD":
            return
        while left and not cycle.disconnected:
            window = min(WINDOW, left)
            if not (is_cached(file.fileno(), offset, window) if cached is None else cached):
                await self._loop.run_in_executor(None, _read_through, file.fileno(), offset, window)
            if cycle.flow.write_paused:
                await cycle.flow.drain()
            try:
                sent = self._sent_at_once(file, offset, window)
                if sent < window:
                    sent += await self._sent_later(file, offset + sent, window - sent)
            except (ConnectionError, TimeoutError, RuntimeError):
                sent = 0  # the peer is gone: its transport closes, or has closed
            cycle.expected_content_length -= sent
            offset, left = offset + sent, left - sent
            if sent < window:
                cycle.disconnected = True
                cycle.transport.abort()
                return
            if left:
                await asyncio.sleep(0)  # a peer that keeps up must not keep the loop

    async def _sent_later(self, file: HasDescriptor, offset: int, count: int) -> int:
        sent = 0
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            sent += self._sent_at_once(file, offset + sent, count - sent)
            if sent == count:
                return sent
        rest: Any = file  # nothing but fileno() is asked of it
        return sent + await self._loop.sendfile(
            self._cycle.transport, rest, offset + sent, count - sent, fallback=False
        )

    def _sent_at_once(self, file: HasDescriptor, offset: int, count: int) -> int:
        """Send what the socket takes now; loop.sendfile's waiting costs more than 1 MB of bytes."""
        transport = self._cycle.transport
        if transport.is_closing() or transport.get_write_buffer_size():
            return 0
        try:
            return os.sendfile(
                transport.get_extra_info("socket").fileno(), file.fileno(), offset, count
            )
        except BlockingIOError:
            return 0


class _Unusual(Exception):
    """Headers that are about the connection, secret, or none that may be written."""


def _render(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, int | None]:
    """Return headers as lines, and the length that they promise. Raises _Unusual."""
    length = None
    for name, value in fields:
        if name == b"content-length":
            length = int(value)
        elif name in _UNUSUAL:
            raise _Unusual
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    if lines.translate(None, _SAFE) != b"\r\n" * len(fields):
        raise _Unusual
    return lines, length


_render_known = lru_cache(_REMEMBERED)(_render)


def _read_through(descriptor: int, offset: int, count: int) -> None:
    end = offset + count
    buffer = bytearray(_READ)
    while offset < end:
        got = os.preadv(descriptor, [memoryview(buffer)[: min(_READ, end - offset)]], offset)
        if got == 0:
            return
        offset += got
