"""npm's routes put together, how its paths are read, and how npm is told what is wrong.

Reading list: npm-package-arg (`escapedName`: `@acme%2fpad`); npm-registry-fetch, lib/errors.js.

A scoped name comes as `@acme%2fpad`, `@acme%2Fpad`, `%40acme%2fpad` or `@acme/pad`, for proxies
decode as they like: all are one path here, the last.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from starlette.responses import JSONResponse, Response

from auth.errors import BASIC_CHALLENGE
from formats.npm.names import FORMAT, unscoped
from formats.npm.paths import package_in
from registry.errors import VersionExists
from registry.packaging.surface import Call, Route
from registry.paths import decode
from registry.requests import Exchange
from registry.rest.needs import open_because
from storage.errors import Invalid, NotFound, PackhouseError
from storage.names import RepositoryName

_PUBLISHED_BEFORE = "You cannot publish over the previously published versions"


class Part(Protocol):
    """Some of npm's routes, over the services they need."""

    def routes(self) -> Sequence[Route]:
        """Return them."""


class NpmRoutes:
    """How npm's clients are answered."""

    prefix = FORMAT

    def __init__(self, parts: Sequence[Part], at_root: Sequence[Route] = ()) -> None:
        self._parts = tuple(parts)
        self._at_root = tuple(at_root)

    def routes(self) -> Sequence[Route]:
        """Return what hangs below /npm."""
        return [*(route for part in self._parts for route in part.routes()), *_unscoped_routes()]

    def root_routes(self) -> Sequence[Route]:
        """Return what npm asks for at the host's root."""
        return self._at_root

    def canonical(self, segments: Sequence[bytes]) -> str:
        """Return a path's one spelling. Raises Invalid for an encoded `/` in what is no scope."""
        decoded = [decode(segment) for segment in segments]
        for text in decoded:
            if "/" in text and not (text.startswith("@") and text.count("/") == 1):
                raise Invalid("the path holds an encoded '/' outside a package's name")
        return "/" + "/".join(decoded)

    def repository(self, values: Mapping[str, str]) -> RepositoryName:
        """Return where a package lives. Raises NameInvalid."""
        return package_in(values).repository

    def error(self, error: PackhouseError, exchange: Exchange) -> Response:
        """Render an error: npm shows `error` to its user.

        A version that exists is 403 in these words: tools that publish many packages go on then.
        """
        if isinstance(error, VersionExists):
            return _error(403, f"{_PUBLISHED_BEFORE}: {error.message}", exchange)
        return _error(error.status, error.message, exchange)

    def failure(self, exchange: Exchange) -> Response:
        """Render what went wrong on our side."""
        return _error(500, exchange.failure, exchange)


_CHALLENGES = f'{BASIC_CHALLENGE}, Bearer realm="packhouse"'
"""In one line: npm reads the first alone. Where Bearer is not in it, it speaks of passwords."""


def _error(status: int, message: str, exchange: Exchange) -> Response:
    headers = {}
    if status == 401:  # for which npm shows words of its own, and this beside them
        headers["WWW-Authenticate"] = _CHALLENGES
        headers["npm-notice"] = "".join(c if " " <= c <= "~" else "?" for c in message)
    return JSONResponse({"error": message, "request_id": exchange.id}, status, headers)


def _unscoped_routes() -> list[Route]:
    """Return the routes of names without a scope, which last of all say what to do."""
    why = open_because("says that packages here are scoped")
    below = ("/{name}", "/{name}/{rest*}")
    return [
        Route(method, path, _refuse_unscoped, why)
        for method in ("GET", "PUT", "DELETE")
        for path in below
    ]


async def _refuse_unscoped(call: Call) -> Response:
    """Say what to do: 404 to who reads, so that a client goes on to where it is."""
    name = call.values["name"]
    if name.startswith(("@", "-")):
        raise NotFound("there is nothing at this path")
    refusal = unscoped(name)
    if call.method in ("GET", "HEAD"):
        raise NotFound(refusal.message)
    raise refusal
