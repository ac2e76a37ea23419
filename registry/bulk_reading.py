"""Bodies that come fast in small pieces are read in large ones: the kernel wakes us for more bytes.

A client that packs what it sends, as docker does, sends 32 KiB at a time, and every read costs a
turn of the event loop and of all that stands behind it.

Reading list: SO_RCVLOWAT in socket(7) and, in Linux, tcp_set_rcvlowat in net/ipv4/tcp.c.
"""

import asyncio
import socket
import sys
from contextlib import suppress

LEAST = 256 * 1024
"""Bytes that have to be there before a fast body is read on, or all that is left of it."""
LONGEST_SECONDS = 0.03
"""How long fewer of them wait: they may be the last of a body whose length nobody said."""

FAST_BYTES = 4 * 1024 * 1024
"""Bytes of a body that are read as they come: what is smaller must not wait for its end."""
FAST_SECONDS = 1.6
"""In what time they come if the body is fast."""

_STILL_FAST_BYTES = 16 * 1024
_STILL_FAST_SECONDS = 0.1

_SUPPORTED = sys.platform == "linux"  # elsewhere nobody has tried what it does to an event loop


class BulkReading:
    """How many bytes of its bodies the socket of one connection gathers before they are read.

    It is told of a body's begin, of every later read within it, and of its or the connection's end.
    """

    def __init__(self, transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._socket = transport.get_extra_info("socket") if _SUPPORTED else None
        self._timer: asyncio.TimerHandle | None = None
        self._left: int | None = None
        self._began = 0.0
        self._bytes = 0

    def begin(self, left: int | None) -> None:
        """Await a body of which `left` bytes are still to come; None: nobody knows."""
        self.end()
        self._left = left
        self._began, self._bytes = self._loop.time(), 0

    def came(self, size: int) -> None:
        """Count `size` bytes that were read: once they come fast, the next ones gather."""
        least = LEAST
        if self._left is not None:
            self._left -= size
            least = max(1, min(LEAST, self._left))
        if self._timer is not None:
            self._timer.cancel()
            if least < LEAST:
                self._wait_for(least)
        elif self._comes_fast(size):
            self._wait_for(least)
        else:
            return
        self._timer = self._loop.call_later(LONGEST_SECONDS, self._let_in)

    def end(self) -> None:
        """Gather no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._wait_for(1)

    def _comes_fast(self, size: int) -> bool:
        self._bytes += size
        if self._bytes < FAST_BYTES:
            return False
        now = self._loop.time()
        fast = now - self._began < FAST_SECONDS
        self._began, self._bytes = now, 0
        return fast

    def _let_in(self) -> None:
        """Have what waits read now; if that is not little and comes soon, gathering goes on."""
        self.end()
        self._began = self._loop.time() + _STILL_FAST_SECONDS - FAST_SECONDS
        self._bytes = FAST_BYTES - _STILL_FAST_BYTES

    def _wait_for(self, least: int) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:  # under TLS it closes first
            with suppress(OSError):  # a sandbox may not have it: then nothing gathers
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
