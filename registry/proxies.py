"""Behind a proxy: whose word counts about the client, the scheme and the host.

Only a peer in `trusted_proxies` is believed. Addresses are read from the right, past every trusted
one; the first that is not trusted is the client. `Forwarded` (RFC 7239) goes before the older
`X-Forwarded-*` headers. A host that `allowed_hosts` does not name is refused: 421.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.config import Network
from registry.oci.errors import render_error
from registry.requests import Exchange, exchange_of
from storage.errors import PackhouseError

_PAIR = re.compile(r'\s*(for|proto|host|by)\s*=\s*("[^"]*"|[^;,\s]*)\s*', re.IGNORECASE)
_MAPPED = "::ffff:"
"""How servers that listen on both say an IPv4 address (RFC 4291, 2.5.5.2)."""


class Misdirected(PackhouseError):
    """The request is for a host that is not this one."""

    status = 421


PathDialect = tuple[tuple[bytes, ...], Callable[[PackhouseError, Exchange], Response]]
"""How raw paths begin, and what renders an error of theirs."""


class Hosts:
    """Wraps the application: answers for the hosts that are named, for all where none is.

    Who asks for another is refused in the dialect of the path, or else in that of OCI.
    """

    def __init__(
        self, app: ASGIApp, allowed: Sequence[str], dialects: Sequence[PathDialect]
    ) -> None:
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed)
        self._dialects = dialects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        app = self._app
        if self._allowed and not self._is_allowed(scope):
            app = self._refusal(scope)
        await app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return host_name(host.decode("latin-1")).lower() in self._allowed

    def _refusal(self, scope: Scope) -> Response:
        error = Misdirected("this server does not answer for that host name")
        exchange = exchange_of(scope)
        for beginnings, render in self._dialects:
            if scope["raw_path"].startswith(beginnings):
                return render(error, exchange)
        return render_error(error, {}, exchange)


class Proxies:
    """Wraps the application: replaces what a trusted proxy says better than the socket."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if self._trusted and scope.get("client") and self._is_trusted(scope["client"][0]):
            self._believe(scope)
        await self._app(scope, receive, send)

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def _believe(self, scope: Scope) -> None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        chain, scheme, host = forwarded(headers)
        client = scope["client"][0]
        for address in reversed(chain):
            client = address
            if not self._is_trusted(address):
                break
        scope.setdefault("state", {})["peer"] = scope["client"][0]
        scope["client"] = (client, 0)
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        if host:
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            scope["headers"] = [*others, (b"host", host.encode("latin-1"))]


def forwarded(headers: dict[bytes, list[str]]) -> tuple[list[str], str, str]:
    """Return what proxies said: addresses from the client on, the scheme, the host.

    `headers` maps lower-case names to values in order. Scheme and host are those of the last
    element, which the proxy next to us wrote.
    """
    if b"forwarded" in headers:
        elements = [dict(_pairs(e)) for e in ",".join(headers[b"forwarded"]).split(",")]
        chain = [address_of(element["for"]) for element in elements if "for" in element]
        last = elements[-1]
        return chain, last.get("proto", "").lower(), last.get("host", "")
    chain = [address_of(text) for text in _split(headers.get(b"x-forwarded-for", []))]
    schemes = _split(headers.get(b"x-forwarded-proto", []))
    hosts = _split(headers.get(b"x-forwarded-host", []))
    return chain, schemes[-1].lower() if schemes else "", hosts[-1] if hosts else ""


def address_of(text: str) -> str:
    """Strip quotes, brackets and port from an address, and what says IPv4 within IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return text[len(_MAPPED) :] if text.lower().startswith(_MAPPED) and "." in text else text


def host_name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _pairs(element: str) -> list[tuple[str, str]]:
    found = (_PAIR.fullmatch(pair) for pair in element.split(";"))
    return [(pair[1].lower(), pair[2].strip('"')) for pair in found if pair]


def _split(values: list[str]) -> list[str]:
    return [part.strip() for part in ",".join(values).split(",") if part.strip()]
