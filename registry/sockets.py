"""Listening sockets, made by us so that every accepted connection gets TCP_NODELAY.

asyncio sets TCP_NODELAY only on sockets whose protocol number is IPPROTO_TCP; the listener that
uvicorn makes for several workers has 0 there, and each keep-alive request then waits 40 ms for a
delayed acknowledgement (uvicorn#3149).
"""

import errno
import resource
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from registry.config import ConfigError

BACKLOG = 2048
_DESCRIPTORS = (1_048_576, 10_240)  # the second is what macOS grants at least
_PATIENCE_SECONDS = 2.0
_FREE_PORT_ATTEMPTS = 50


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Return one listening socket an address, all on one port (a free one for 0).

    They listen at once: a second server must not get the port between our bind and a worker's
    listen, and who connects before the workers are there waits for them.
    An IPv6 loopback that this machine lacks is left out as long as another address is there.
    Raises ConfigError for a taken port or an address that is not ours.
    """
    for _ in range(_FREE_PORT_ATTEMPTS if port == 0 else 0):
        # A port that is free on one address may be taken on the next.
        with suppress(_Taken):
            return _listen_all(hosts, port, patience=0)
    try:
        return _listen_all(hosts, port, patience=_PATIENCE_SECONDS)
    except _Taken as error:
        raise ConfigError(str(error)) from error


def urls(sockets: Sequence[socket.socket], scheme: str) -> list[str]:
    """Return the base URLs of listening sockets."""
    found = []
    for bound in sockets:
        host, port = bound.getsockname()[:2]
        found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return found


def raise_descriptor_limit() -> None:
    """Let this process hold as many connections and files as it may: shells say 1,024 or less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in _DESCRIPTORS:
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if soft in (resource.RLIM_INFINITY, wanted) or soft > wanted:
            return
        with suppress(ValueError, OSError):  # some systems grant less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


class _Taken(Exception):
    """Another program listens there."""


def _listen_all(hosts: Sequence[str], port: int, patience: float) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for host in hosts:
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_listen(host, chosen, patience))
        except OSError as error:
            if host == "::1" and len(hosts) > 1 and error.errno != errno.EADDRINUSE:
                continue
            for bound in sockets:
                bound.close()
            kind = _Taken if error.errno == errno.EADDRINUSE else ConfigError
            raise kind(_refusal(host, chosen, error)) from error
    return sockets


def _listen(host: str, port: int, patience: float) -> socket.socket:
    """Bind and listen, waiting a moment for a predecessor that was just killed."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    deadline = time.monotonic() + patience
    while True:
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            _set_options(bound)
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
        else:
            return bound


def _set_options(bound: socket.socket) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken: stop the program that has it, or choose another "
            "with --port (make run PORT=5001)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} needs privileges: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"
