"""The first fork in a request's way: the OCI surface, an API, a format, or the site's own pages."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.errors import BASIC_CHALLENGE
from registry.headers import IndexedHeaders
from registry.oci.errors import render_error
from registry.packaging.surface import FormatSurface
from registry.paths import check_path
from registry.reflection import PATH as REFLECTION
from registry.requests import exchange_of
from registry.ui.surface import PAGE_PATHS
from storage.errors import PackhouseError

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
        await self._site(scope, receive, sending)


async def render_site_error(request: Request, error: Exception) -> Response:
    """Render an error of the site's own routes."""
    if not isinstance(error, PackhouseError):
        raise error
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = BASIC_CHALLENGE
    return render_error(error, headers, exchange_of(request.scope))
