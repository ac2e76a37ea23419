"""The ASGI application of a JSON API: find the operation, judge the caller, answer, render errors.

Paths are matched by their raw segments: an encoded slash is part of a name where a segment is
declared to hold one, and refused anywhere else.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from auth.errors import BASIC_CHALLENGE
from auth.permissions import Access, Permissions
from auth.places import Place, Places
from auth.principals import Action, Principal
from registry.body import Body, content_length
from registry.headers import IndexedHeaders
from registry.oci.call import base_url
from registry.paths import answers_only, check_path
from registry.rate_limits import RateLimits
from registry.repositories import CONTAINER
from registry.requests import Exchange, exchange_of
from registry.rest.callers import Authenticate, Callers
from registry.rest.needs import Need, On
from registry.rest.operation import BODY_BYTES, Call, Operation, read_query
from registry.sign_in_limits import Door
from storage.errors import Denied, NameInvalid, NotFound, PackhouseError
from storage.names import RepositoryName, component_of, parse_repository

log = logging.getLogger("packhouse.api")

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Vary": "Authorization",
    "X-Content-Type-Options": "nosniff",
}


class NoSuchPath(NotFound):
    """A path that no operation of this version has."""


Limit = Callable[[Door], Door]
"""Wraps what takes passwords, and counts those that were wrong."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an API says what went wrong; the headers that go with it are the surface's."""

    error: Callable[[PackhouseError, Exchange], Response]
    failure: Callable[[Exchange], Response]
    check_names: Callable[[Mapping[str, str]], None] = lambda _: None
    """Raises Invalid where the path holds what is no name: not every API says so."""


class RestSurface:
    """Serves the operations of one API."""

    def __init__(
        self,
        operations: Sequence[Operation],
        authenticate: Authenticate,
        sign_ins: Limit,
        limits: RateLimits,
        permissions: Permissions,
        places: Places,
        dialect: Dialect,
        public_url: str,
        idle_seconds: float,
    ) -> None:
        self.operations = tuple(operations)
        self._callers = Callers(authenticate, permissions, places)
        self._sign_ins = sign_ins
        self._limits = limits
        self._dialect = dialect
        self._public_url = public_url
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(scope, receive)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        exchange = exchange_of(scope)
        exchange.route = "other"
        try:
            check_path(scope["raw_path"])
            operation, values = self._find(scope)
            exchange.route = operation.path
            self._dialect.check_names(values)

            async def answer(_: Request) -> Response:
                return await self._run(operation, values, scope, receive)

            answering = self._sign_ins(answer) if operation.door else answer
            return await answering(Request(scope))
        except PackhouseError as error:
            return self._refuse(error, exchange)
        except Exception:
            log.exception("request %s failed: %s", exchange.id, exchange.route)
            return self._dialect.failure(exchange)

    def _refuse(self, error: PackhouseError, exchange: Exchange) -> Response:
        response = self._dialect.error(error, exchange)
        response.headers.update(error.headers)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = BASIC_CHALLENGE
        return response

    def _find(self, scope: Scope) -> tuple[Operation, dict[str, str]]:
        raw = scope["raw_path"].split(b"/")[1:]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        allowed = []
        for operation in self.operations:
            values = operation.match(raw)
            if values is None:
                continue
            if operation.method == method:
                return operation, values
            allowed.append(operation.method)
        if not allowed:
            raise NoSuchPath("there is nothing at this path")
        raise answers_only(allowed)

    async def _run(
        self, operation: Operation, values: Mapping[str, str], scope: Scope, receive: Receive
    ) -> Response:
        headers, need = IndexedHeaders(scope), operation.need
        headers.require_one("authorization")
        # All of it comes first: who is judged and then sends for an hour has his rights of before.
        body = await self._body(operation, headers, receive)
        who = await self._callers.find(need, headers, scope, door=operation.door)
        judged = await self._callers.judge(
            need, who, values, lambda: _repository(need, who, values)
        )
        self._count(operation, who)
        call = Call(
            who=who,
            values=values,
            headers=headers,
            query=read_query(operation.query, QueryParams(scope["query_string"])),
            body=body,
            base=self._base(scope, headers, who),
            place=judged if isinstance(judged, Place) else None,
            package=judged if isinstance(judged, Access) else None,
        )
        answer = await operation.handle(call)
        if isinstance(answer, Response):
            return answer
        if operation.status == 204:
            return Response(status_code=204)
        data = msgspec.json.encode(answer)
        return Response(data, operation.status, media_type="application/json")

    def _base(self, scope: Scope, headers: Headers, who: Principal) -> str:
        if who.operator:
            return self._public_url
        return base_url(self._public_url, scope["scheme"], headers.get("host", ""))

    async def _body(self, operation: Operation, headers: Headers, receive: Receive) -> bytes:
        """Return the body of a request that has one. Raises Invalid, TooLarge, TransferCut."""
        if operation.body is None:
            return b""
        return await Body(receive, content_length(headers), self._idle_seconds).read(BODY_BYTES)

    def _count(self, operation: Operation, who: Principal) -> None:
        """Count a change of a package, as one under /v2 is. Raises TooManyRequests."""
        if operation.need.on is On.PACKAGE and operation.method != "GET":
            self._limits.write(who, completes=operation.need.action is Action.PUSH)


def _repository(need: Need, who: Principal, values: Mapping[str, str]) -> RepositoryName:
    """Return the repository of the package in a path, which may name its format too.

    Raises NameInvalid, Denied for a robot's own, and NotFound for what no package of that format is
    named.
    """
    if need.own and who.kind == "robot":
        raise Denied(f"{who.name} is a robot and owns nothing: ask for its owner's packages")
    owner, package = who.name if need.own else values["owner"].lower(), values["package"]
    word = values.get("package_type", "")
    if word in ("", CONTAINER):
        return parse_repository(f"{owner}/{package}")
    try:
        return parse_repository(f"{owner}/{word}/{component_of(package)}")
    except NameInvalid as error:
        raise NotFound("there is no such package, or you may not see it") from error
