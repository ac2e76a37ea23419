"""Listening sockets, made by us so that every accepted connection gets TCP_NODELAY.

asyncio sets TCP_NODELAY only on sockets whose protocol number is IPPROTO_TCP; the listener that
uvicorn makes for several workers has 0 there, and each keep-alive request then waits 40 ms for a
delayed acknowledgement (uvicorn#3149).
"""

import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from registry.config import ConfigError

BACKLOG = 2048
USER_TIMEOUT_MILLISECONDS = 300_000
_PATIENCE_SECONDS = 2.0


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Return one bound socket an address, all on one port (a free one for 0), not yet listening.

    An IPv6 loopback that this machine lacks is left out as long as another address is there.
    Raises ConfigError for a taken port or an address that is not ours.
    """
    sockets: list[socket.socket] = []
    for host in hosts:
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bind(host, chosen))
        except OSError as error:
            if host == "::1" and len(hosts) > 1 and error.errno != errno.EADDRINUSE:
                continue
            for bound in sockets:
                bound.close()
            raise ConfigError(_refusal(host, port, error)) from error
    return sockets


def _bind(host: str, port: int) -> socket.socket:
    """Bind, waiting a moment for a predecessor that was just killed."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _limit_silence(bound)
            bound.bind(address)
            bound.set_inheritable(True)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return bound


def _limit_silence(bound: socket.socket) -> None:
    """End connections whose peer acknowledges nothing for five minutes (accepted ones inherit)."""
    with suppress(AttributeError, OSError):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MILLISECONDS)


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken: stop the program that has it, or choose another "
            "with --port (make run PORT=5001)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} needs privileges: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def urls(sockets: Sequence[socket.socket], scheme: str) -> list[str]:
    """Return the base URLs of listening sockets."""
    found = []
    for bound in sockets:
        host, port = bound.getsockname()[:2]
        found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return found
