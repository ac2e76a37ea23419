"""Connections within this machine are not paced.

A kernel whose default is BBR spreads what it sends over time, by its estimate of the network's
bandwidth. Where there is no network it estimates how often the receiver gets a processor: 1 MB from
page cache to a client of this machine takes 0.5 ms of system time so, and 0.2 with Reno
(docs/decisions/0028-no-pacing-on-loopback.md). Who comes from elsewhere has the kernel's default.
"""

import socket
from contextlib import suppress
from typing import Any

PACING = b"bbr"
"""How the names begin of what paces: bbr and its later versions (Linux, tcp_bbr.c)."""

UNPACED = b"reno"
"""The one that every Linux has, and every user may choose."""

_LONGEST = 16


def begin_unpaced(bound: socket.socket) -> bytes | None:
    """Let the connections of a listening socket begin without pacing.

    Returns what `settle` is to give to those from elsewhere, None where nothing was changed. Pacing
    that has begun does not end, so the listening socket has to have what is right here.
    """
    if not hasattr(socket, "TCP_CONGESTION"):
        return None
    with socket.socket(bound.family, socket.SOCK_STREAM) as fresh:
        default = _chosen(fresh)
    if not default.startswith(PACING):
        return None
    try:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, UNPACED)
    except OSError:  # an administrator took it from the list
        return None
    return default


def settle(taken: socket.socket, peer: Any, default: bytes) -> None:
    """Give a connection the kernel's default, unless its peer's address is one of this machine."""
    with suppress(OSError):  # it has ended: whoever reads from it finds out
        if not _is_here(taken, peer[0]):
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, default)


def _is_here(taken: socket.socket, address: str) -> bool:
    return address.startswith("127.") or address in ("::1", taken.getsockname()[0])


def _chosen(connection: socket.socket) -> bytes:
    value = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _LONGEST)
    return value.rstrip(b"\0")
