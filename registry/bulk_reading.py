"""Bodies that come fast in small pieces are read in large ones: the kernel wakes us for more bytes.

A client that packs what it sends, as docker does, sends 32 KiB at a time, and every read costs a
turn of the event loop and of all that stands behind it.

Reading list: SO_RCVLOWAT in socket(7) and, in Linux, tcp_set_rcvlowat in net/ipv4/tcp.c.
"""

import asyncio
import socket
import sys

LEAST = 256 * 1024
"""Bytes that have to be there before a fast body is read on."""
LONGEST_SECONDS = 0.03
"""How long fewer of them wait: they may be the body's last, and nothing says so."""

_FAST_BYTES = 256 * 1024
_FAST_SECONDS = 0.1
_STILL_FAST_BYTES = 16 * 1024

_SUPPORTED = sys.platform == "linux"  # elsewhere nobody has tried what it does to an event loop


class BulkReading:
    """How many bytes of its bodies the socket of one connection gathers before they are read.

    `came` is told of every read within a body, `end` of a body's end or the connection's.
    """

    def __init__(self, transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._socket = transport.get_extra_info("socket") if _SUPPORTED else None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._bytes = 0

    def came(self, size: int) -> None:
        """Count `size` bytes that were read: once they come fast, the next ones gather."""
        if self._timer is not None:
            self._timer.cancel()
        elif self._comes_fast(size):
            self._wait_for(LEAST)
        else:
            return
        self._timer = self._loop.call_later(LONGEST_SECONDS, self._let_in)

    def end(self) -> None:
        """Gather no more."""
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._wait_for(1)

    def _comes_fast(self, size: int) -> bool:
        now = self._loop.time()
        if not self._bytes:
            self._began = now
        self._bytes += size
        if self._bytes < _FAST_BYTES:
            return False
        self._bytes = 0
        return now - self._began < _FAST_SECONDS

    def _let_in(self) -> None:
        """Have what waits read now; if it is not little, gathering goes on."""
        self.end()
        self._began, self._bytes = self._loop.time(), _FAST_BYTES - _STILL_FAST_BYTES

    def _wait_for(self, least: int) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:  # under TLS it closes first
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
