"""The first fork in a request's way: the OCI surface, an API, a format, or the site's own pages."""

import logging
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.errors import BASIC_CHALLENGE
from registry.headers import IndexedHeaders
from registry.oci.errors import render_error, render_failure
from registry.packaging.surface import FormatSurface
from registry.paths import answers_only, check_path
from registry.reflection import PATH as REFLECTION
from registry.requests import exchange_of
from registry.ui.browsers import HOME, render_refusal
from registry.ui.surface import PAGE_PATHS
from storage.errors import NotFound, PackhouseError

log = logging.getLogger("packhouse.site")

SITE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"vary", b"Authorization"))
SITE_PATHS = (b"/", b"/token", b"/healthz", b"/readyz", REFLECTION.encode(), *PAGE_PATHS)


class Dispatch:
    """Sends /v2 to the OCI surface, /api to an API, a format's paths to its surface, and all else
    with a plain path to the site.
    """

    def __init__(
        self,
        oci: ASGIApp,
        api: ASGIApp,
        github: ASGIApp,
        site: ASGIApp,
        formats: Sequence[FormatSurface] = (),
    ) -> None:
        self._oci = oci
        self._api = api
        self._github = github
        self._site = site
        self._formats = tuple(formats)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request (ASGI) by its raw path."""
        raw: bytes = scope["raw_path"]
        exchange_of(scope).route = "other"
        if raw == b"/v2" or raw.startswith(b"/v2/"):
            await self._oci(scope, receive, send)
        elif raw == b"/api/v3" or raw.startswith(b"/api/v3/"):
            await self._github(scope, receive, send)
        elif raw.startswith(b"/api/"):
            await self._api(scope, receive, send)
        else:
            surface = self._format_of(raw)
            await (surface or self._serve_site)(scope, receive, send)

    def _format_of(self, raw: bytes) -> FormatSurface | None:
        for surface in self._formats:
            if raw.startswith(surface.prefixes):
                return surface
        return None

    async def _serve_site(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw, exchange = scope["raw_path"], exchange_of(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SITE_HEADERS]
            await send(message)

        if raw in SITE_PATHS:
            exchange.route = raw.decode("latin-1")
        try:
            check_path(raw)
            IndexedHeaders(scope).require_one("authorization")
        except PackhouseError as error:
            await render_error(error, {}, exchange)(scope, receive, sending)
            return
        try:
            await self._site(scope, receive, sending)
        except Exception:  # what Starlette has answered, and raises again
            log.exception("request %s failed: %s", exchange.id, exchange.route)


async def render_site_error(request: Request, error: Exception) -> Response:
    """Render an error of the site's own routes."""
    if isinstance(error, HTTPException):
        error = _of_router(error)
        if request.scope["path"].startswith(HOME):
            return render_refusal(request, error)
    if not isinstance(error, PackhouseError):
        raise error
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = BASIC_CHALLENGE
    return render_error(error, headers, exchange_of(request.scope))


async def render_site_failure(request: Request, error: Exception) -> Response:
    """Render what went wrong on our side in one of the site's own routes."""
    del error
    return render_failure(exchange_of(request.scope))


SITE_ERRORS = {
    PackhouseError: render_site_error,
    HTTPException: render_site_error,
    Exception: render_site_failure,
}
"""What renders what the site's own routes raise, and its router."""


def _of_router(error: HTTPException) -> PackhouseError:
    """Say in our words what Starlette's router found: no route, or none for the method."""
    if error.status_code == 405:
        return answers_only((error.headers or {})["Allow"].split(", "))
    return NotFound("there is nothing at this path")
