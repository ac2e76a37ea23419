"""The ASGI application of a package format: the frame around the routes of its adapter.

Below `/npm`, and below `/auth/npm`, where whoever asks for packages is asked who he is: some
clients send their credentials only then. The caller is judged from the headers, before any of the
body is read.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from auth.authenticate import Authenticator
from auth.errors import BASIC_CHALLENGE, NameUnknown, NotSignedIn
from auth.permissions import Access, Permissions
from auth.places import Place, Places
from auth.principals import ANONYMOUS, Action, Principal
from registry.body import Body, content_length
from registry.config import Config
from registry.headers import IndexedHeaders
from registry.oci.call import base_url
from registry.packaging.feeds import Feeds
from registry.packaging.route import SECRETS, AdapterRoutes, Call, Handler, Route, plain_path
from registry.paths import answers_only, check_path
from registry.rate_limits import RateLimits
from registry.requests import Exchange, exchange_of
from registry.rest.callers import Callers
from registry.rest.needs import On
from registry.rest.surface import Limit
from storage.database import Database
from storage.errors import Invalid, NotFound, PackhouseError
from storage.names import RepositoryName

__all__ = ["AdapterRoutes", "Call", "FormatSurface", "Handler", "Route", "plain_path"]

log = logging.getLogger("packhouse.packages")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Authorization"),
)
"""What an answer has that does not say otherwise."""

_REMEMBERED, _SHORT, _LONGEST = 2000, 512, 4096
_NO_QUERY = QueryParams()

Match = tuple[Route, Mapping[str, str]]


class Mount:
    """Where routes hang: below `path`, and with `asks` for nobody without credentials."""

    def __init__(
        self, path: str, adapter: AdapterRoutes, routes: Sequence[Route], *, asks: bool = False
    ) -> None:
        self.path = path
        self.routes = tuple(routes)
        self.asks = asks
        self._adapter = adapter
        self._remembered = lru_cache(_REMEMBERED)(self._match)

    def matches(self, raw: bytes) -> Sequence[Match]:
        """Return the routes of a raw path, whatever their method. Raises Invalid, NotFound."""
        # The same few are asked for again and again; a long one is not worth the memory.
        return self._remembered(raw) if len(raw) < _SHORT else self._match(raw)

    def _match(self, raw: bytes) -> Sequence[Match]:
        if len(raw) > _LONGEST:
            raise Invalid(f"the path has more than {_LONGEST} bytes")
        check_path(raw)
        text = self._adapter.canonical(raw[len(self.path) :].split(b"/")[1:])
        if not text.isprintable():
            raise Invalid("the path holds control characters")
        found = [(route, route.pattern.fullmatch(text)) for route in self.routes]
        matches = [(route, match.groupdict()) for route, match in found if match is not None]
        if not matches:
            raise NotFound("there is nothing at this path")
        return matches


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose route is found."""

    mount: Mount
    route: Route
    values: Mapping[str, str]
    headers: Headers
    scope: Scope
    receive: Receive

    @property
    def exchange(self) -> Exchange:
        return exchange_of(self.scope)


class FormatSurface:
    """Serves the routes of one adapter."""

    def __init__(
        self,
        adapter: AdapterRoutes,
        callers: Callers,
        feeds: Feeds,
        sign_ins: Limit,
        limits: RateLimits,
        public_url: str,
        idle_seconds: float,
    ) -> None:
        self._adapter = adapter
        self._callers = callers
        self._feeds = feeds
        self._sign_ins = sign_ins
        self._limits = limits
        self._public_url = public_url
        self._idle_seconds = idle_seconds
        self._home = f"/{adapter.prefix}"
        routes, at_root = self._limited(adapter.routes()), self._limited(adapter.root_routes())
        self.mounts = (
            Mount(self._home, adapter, routes),
            Mount(f"/auth{self._home}", adapter, routes, asks=True),
            Mount("", adapter, at_root),
        )
        beginnings = (route.path.partition("{")[0] for route in at_root)
        below = (f"{mount.path}/" for mount in self.mounts[:2])
        self.prefixes = tuple(text.encode() for text in (*below, *beginnings))
        """How the raw paths begin that are this surface's."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(scope, receive)
        if scope["method"] == "HEAD":
            response = _without_body(response)
        said = dict(response.raw_headers)
        if b"Authorization" not in said.get(b"vary", b"Authorization"):
            response.headers.add_vary_header("Authorization")
        response.raw_headers.extend(header for header in HEADERS if header[0] not in said)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        exchange = exchange_of(scope)
        try:
            return await self._dispatch(scope, receive, exchange)
        except PackhouseError as error:
            return self._refuse(error, exchange)
        except Exception:
            log.exception("request %s failed: %s", exchange.id, exchange.route)
            return self._adapter.failure(exchange)

    async def _dispatch(self, scope: Scope, receive: Receive, exchange: Exchange) -> Response:
        raw = scope["raw_path"]
        mount = self._mount(raw)
        matches = mount.matches(raw)
        if not SECRETS.isdisjoint(matches[0][1]):
            exchange.path = mount.path + matches[0][0].path
        route, values = _choose(matches, scope["method"])
        exchange.route = mount.path + route.path
        headers = IndexedHeaders(scope)
        headers.require_one("authorization")
        asked = _Asked(mount, route, values, headers, scope, receive)
        if not route.door:
            return await self._run(asked)

        async def answer(_: Request) -> Response:
            return await self._run(asked)

        return await self._sign_ins(answer)(Request(scope))

    def _mount(self, raw: bytes) -> Mount:
        home, asking, root = self.mounts
        if raw.startswith(self.prefixes[0]):
            return home
        return asking if raw.startswith(self.prefixes[1]) else root

    async def _run(self, asked: _Asked) -> Response:
        need = asked.route.need
        who = await self._who(asked)
        if asked.mount.asks and who.anonymous and need.on is not On.NOTHING:
            raise NotSignedIn("sign in with a token: this address always asks for one")
        named = self._adapter.repository(asked.values) if need.on is On.PACKAGE else None
        asked.exchange.package = "" if named is None else str(named)
        try:
            return await self._serve(asked, who, named)
        except (NameUnknown, NotSignedIn) as error:
            if named is None or not who.anonymous or need.action is not Action.PULL:
                raise
            raise await self._feeds.refusal(named) from error

    async def _who(self, asked: _Asked) -> Principal:
        """Return who calls; where nothing is needed stale credentials keep nobody out.

        A client sends those it has to the very route that gives it new ones. Raises NotSignedIn.
        """
        route = asked.route
        if route.need.on is On.NOTHING and not route.door:
            return ANONYMOUS
        return await self._callers.find(route.need, asked.headers, asked.scope, door=route.door)

    async def _serve(self, asked: _Asked, who: Principal, named: RepositoryName | None) -> Response:
        route, need, scope, exchange = asked.route, asked.route.need, asked.scope, asked.exchange

        async def judge() -> Place | Access | None:
            return await self._callers.judge(need, who, asked.values, lambda: _required(named))

        judged = None if route.decides else await judge()
        if need.on is On.PACKAGE and route.method != "GET":
            self._limits.write(who, completes=need.action is Action.PUSH)
        root = base_url(self._public_url, scope["scheme"], asked.headers.get("host", ""))
        call = Call(
            who=who,
            values=asked.values,
            headers=asked.headers,
            query=QueryParams(scope["query_string"]) if scope["query_string"] else _NO_QUERY,
            body=Body(asked.receive, content_length(asked.headers), self._idle_seconds),
            site=root,
            base=root + (asked.mount.path or self._home),
            method=scope["method"],
            client=exchange.client,
            exchange=exchange,
            state=scope["state"],
            judge=judge,
            named=named,
            access=judged if isinstance(judged, Access) else None,
            place=judged if isinstance(judged, Place) else None,
        )
        return await route.handler(call)

    def _refuse(self, error: PackhouseError, exchange: Exchange) -> Response:
        response = self._adapter.error(error, exchange)
        response.headers.update(error.headers)
        if error.status == 401:
            response.headers.setdefault("WWW-Authenticate", BASIC_CHALLENGE)
        return response

    def _limited(self, routes: Sequence[Route]) -> list[Route]:
        pulling = self._limits.pulling
        return [
            replace(route, handler=pulling(route.handler)) if route.pull else route
            for route in routes
        ]


class Services(Protocol):
    """What every surface is made of."""

    @property
    def config(self) -> Config: ...
    @property
    def database(self) -> Database: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def permissions(self) -> Permissions: ...
    @property
    def places(self) -> Places: ...


def format_surfaces(
    services: Services, adapters: Sequence[AdapterRoutes], sign_ins: Limit, limits: RateLimits
) -> list[FormatSurface]:
    """Return the surface of each adapter."""
    authenticate = services.authenticator.authenticate
    callers = Callers(authenticate, services.permissions, services.places)
    shared = (callers, Feeds(services.database), sign_ins, limits)
    config = services.config
    return [
        FormatSurface(adapter, *shared, config.public_url, config.idle_seconds)
        for adapter in adapters
    ]


def _choose(matches: Sequence[Match], method: str) -> Match:
    wanted = "GET" if method == "HEAD" else method
    for match in matches:
        if match[0].method == wanted:
            return match
    raise answers_only(route.method for route, _ in matches)


def _required(named: RepositoryName | None) -> RepositoryName:
    if named is None:
        raise RuntimeError("this route names no package")
    return named


def _without_body(response: Response) -> Response:
    """Return the same answer without the body, which was looked for but not read."""
    bare = Response(status_code=response.status_code)
    bare.raw_headers = response.raw_headers
    return bare
