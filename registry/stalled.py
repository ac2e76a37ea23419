"""Ends connections whose peer takes nothing, for minutes, of the bytes that wait for it.

TCP_USER_TIMEOUT does so too, but it counts from the first time that the peer's window was too small
for the next segment until one fits: a reader that is slow and has a small buffer is cut while it
reads, above all on loopback, whose segments have 64 KiB.

Reading list: TIOCOUTQ and TCP_INFO in tcp(7); struct tcp_info in Linux, include/uapi/linux/tcp.h;
tcp_probe_timer in net/ipv4/tcp_timer.c.
"""

import asyncio
import fcntl
import logging
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

log = logging.getLogger("packhouse.stalled")

STALLED_SECONDS = 300
LOOK_SECONDS = 30
"""How often it is worth a look."""

_SUPPORTED = sys.platform == "linux"
_BYTES_ACKED = struct.Struct("=120xQ")


class Connection(Protocol):
    """What a server keeps of each connection."""

    transport: asyncio.Transport


class Stalled:
    """Remembers since when each connection's peer has taken nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: Mapping[Connection, tuple[int, float]] = {}

    def look(self, connections: Iterable[Connection]) -> None:
        """Look at all connections, and end those whose time is up."""
        now, since = self._clock(), {}
        for connection in list(connections) if _SUPPORTED else ():
            taken = None
            with suppress(OSError):  # reset just now
                taken = taken_while_more_waits(connection.transport.get_extra_info("socket"))
            if taken is None:
                continue
            before = self._since.get(connection)
            at = before[1] if before is not None and before[0] == taken else now
            if now - at >= STALLED_SECONDS:
                log.info("a connection ends: its peer took nothing for %d seconds", now - at)
                connection.transport.abort()
            else:
                since[connection] = taken, at
        self._since = since


def taken_while_more_waits(connected: socket.socket | None) -> int | None:
    """Return how many bytes the peer has acknowledged in all, None if none wait. Raises OSError.

    Of a connection that has just ended the socket is closed, or under TLS no longer there.
    """
    if connected is None or connected.fileno() < 0:
        return None
    waiting = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4))
    if not any(waiting):
        return None
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    (acknowledged,) = _BYTES_ACKED.unpack(info)
    return int(acknowledged)
