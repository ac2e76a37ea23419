"""One line a request, and the id by which its answer, its error and its line are found together.

The line is JSON on standard error, written when the last byte has left. It holds no query and no
header but User-Agent: tokens and upload ids never reach it.
"""

import logging
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.zerocopy import EXTENSION

log = logging.getLogger("packhouse.request")

_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_UPLOAD = re.compile(r"/blobs/uploads/[^/]+$")
_TOKEN = re.compile(r"(/-/(?:user|npm/v1/tokens)/token/).+")
"""npm ends a token by a path that holds it; no repository's name has a component '-'."""
_TEXT = re.compile(r"(ph[urjf](?:_|%5[Ff]))[0-9A-Za-z]{8,}")
"""The text of a token, wherever a client put it."""
_MAX_TEXT = 200
_random = random.Random()  # noqa: S311
"""Begins from the system's in each process; an id is to be another, not to be secret."""


@dataclass(slots=True)
class Exchange:
    """A request and its answer, as it comes to be known. Durations in seconds, sizes in bytes."""

    id: str
    method: str
    path: str
    client: str
    agent: str
    route: str = "none"
    account: str = ""
    token_id: int = 0
    claimed: str = ""
    """The user name that came with a password."""
    signed_in: bool = False
    """Whether a password that was sent in the body was right."""
    package: str = ""
    """The repository of the package that the path names, below a package format's door."""
    status: int = 0
    received: int = 0
    sent: int = 0
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    @property
    def failure(self) -> str:
        """What is said of a failure on our side: an id to look for in the log, nothing else."""
        return f"something failed here: the log names it under request {self.id}"


Observer = Callable[[Exchange], None]


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange of a request; a fresh one where no wrapper made it."""
    state = scope.setdefault("state", {})
    if "exchange" not in state:
        state["exchange"] = _begin(scope)
    exchange: Exchange = state["exchange"]
    return exchange


def unreadable(client: str, status: int) -> Exchange:
    """Return the exchange of what is no request: neither a method nor a path is known."""
    return Exchange(id=_new_id(), method="", path="", client=client, agent="", status=status)


class Exchanges:
    """Wraps the application: gives every request an id, and tells observers of its end."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        exchange = exchange_of(scope)
        request_id = (b"x-request-id", exchange.id.encode())

        async def sending(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), request_id]
            elif kind == EXTENSION:
                exchange.sent += message["count"]
            else:
                exchange.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            exchange.account = scope["state"].get("account", "")
            exchange.token_id = scope["state"].get("token", 0)
            exchange.seconds = time.perf_counter() - exchange.started
            for observe in self._observers:
                observe(exchange)


_json = encode_basestring_ascii


@lru_cache(2)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def _stamp(at: float) -> str:
    """Render seconds since 1970 as RFC 3339; a busy server asks many times in the same second."""
    milliseconds = int(at * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}+00:00"


def log_exchange(exchange: Exchange) -> None:
    """Write the line of one request; a log that cannot be written fails no request.

    Not through `logging`, which makes a record of twenty fields: that was a sixth of the time of
    reading a manifest.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    line = (
        f'{{"time": "{_stamp(time.time())}", "id": {_json(exchange.id)}, '
        f'"method": {_json(exchange.method)}, '
        f'"path": {_json(exchange.path)}, "status": {exchange.status}, "bytes": {exchange.sent}, '
        f'"ms": {exchange.seconds * 1000:.2f}, "account": {_json(exchange.account)}, '
        f'"client": {_json(exchange.client)}, "agent": {_json(exchange.agent)}}}\n'
    )
    with suppress(OSError, ValueError):
        sys.stderr.write(line)


def _new_id() -> str:
    return f"{_random.getrandbits(64):016x}"


def _begin(scope: Scope) -> Exchange:
    given, agent = b"", b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value
        elif name == b"user-agent":
            agent = value
    client, raw = scope.get("client"), scope["raw_path"]
    path = _text(raw)
    return Exchange(
        id=given.decode() if _ID.fullmatch(given) else _new_id(),
        method=scope["method"],
        path=_without_secrets(path),
        client=client[0] if client else "",
        agent=_text(agent),
    )


def _without_secrets(path: str) -> str:
    if "/uploads/" in path:
        path = _UPLOAD.sub("/blobs/uploads/...", path)
    if "/token/" in path:
        path = _TOKEN.sub(r"\1...", path)
    return _TEXT.sub(r"\1...", path) if "ph" in path else path


def _text(value: bytes) -> str:
    return value[:_MAX_TEXT].decode("latin-1")
