"""Routes of the generic format: one for every kind of need, and answers that tell what came."""

from collections.abc import Mapping, Sequence

from starlette.responses import JSONResponse, Response

from auth.principals import Visibility
from registry.app import Services
from registry.packaging.documents import PLACEHOLDER, ROOT, DocumentKey, respond
from registry.packaging.surface import Call, Route, plain_path
from registry.requests import Exchange
from registry.rest.needs import (
    ANYBODY,
    DELETE_PACKAGE,
    PUBLISH_PACKAGE,
    READ_OWNER,
    READ_PACKAGE,
    SIGNED_IN,
    open_because,
)
from storage.errors import PackhouseError
from storage.names import RepositoryName, parse_repository

OPEN = open_because("it answers the same to everybody")


class GenericRoutes:
    """The adapter's side of the frame; with services it sends documents and files too."""

    prefix = "generic"

    def __init__(self, services: Services | None = None) -> None:
        self._services = services
        self.size = 100
        """Bytes of a document, about."""
        self.rendered = 0
        """How often one was."""

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/-/ping", self.ping, OPEN),
            Route("GET", "/-/whoami", self.tell, SIGNED_IN),
            Route("GET", "/-/search", self.tell, ANYBODY),
            Route("GET", "/-/org/{owner}", self.tell, READ_OWNER),
            Route("PUT", "/-/login/user:{user}", self.tell, OPEN, door=True),
            Route("DELETE", "/-/token/{token}", self.tell, OPEN),
            Route("GET", "/-/fail", self.fail, OPEN),
            Route("GET", "/{owner}/{name}", self.tell, READ_PACKAGE),
            Route("GET", "/{owner}/{name}/pull", self.tell, READ_PACKAGE, pull=True),
            Route("PUT", "/{owner}/{name}", self.publish, PUBLISH_PACKAGE),
            Route("POST", "/{owner}/{name}/small", self.small, PUBLISH_PACKAGE),
            Route("DELETE", "/{owner}/{name}", self.tell, DELETE_PACKAGE),
            Route("GET", "/{owner}/{name}/-/{path*}", self.tell, READ_PACKAGE),
            Route("GET", "/{owner}/{name}/document", self.document, READ_PACKAGE),
            Route(
                *("GET", "/{owner}/{name}/{version}/{file}", self.file, READ_PACKAGE),
                pull=True,
                decides=True,
            ),
        ]

    def root_routes(self) -> Sequence[Route]:
        return [Route("GET", "/-/generic/ping", self.ping, OPEN)]

    def canonical(self, segments: Sequence[bytes]) -> str:
        return plain_path(segments)

    def repository(self, values: Mapping[str, str]) -> RepositoryName:
        return parse_repository(f"{values['owner']}/generic/{values['name']}")

    def error(self, error: PackhouseError, exchange: Exchange) -> Response:
        return JSONResponse({"said": error.message}, error.status)

    def failure(self, exchange: Exchange) -> Response:
        return JSONResponse({"said": exchange.failure}, 500)

    async def ping(self, call: Call) -> Response:
        return JSONResponse({"base": call.base, "site": call.site})

    async def fail(self, call: Call) -> Response:
        raise RuntimeError("a secret of ours")

    async def tell(self, call: Call) -> Response:
        """Say what the frame found out."""
        return JSONResponse(
            {
                "who": call.who.name,
                "values": dict(call.values),
                "base": call.base,
                "package": call.access.package_id if call.access else None,
                "owner": call.place.owner if call.place else None,
                "query": dict(call.query),
            }
        )

    @property
    def services(self) -> Services:
        assert self._services is not None
        return self._services

    async def document(self, call: Call) -> Response:
        """Answer with a document that tells the URL and the revision."""
        path = f"/{call.values['owner']}/{call.values['name']}"
        key = DocumentKey(call.package_id, "test", call.at.revision, call.base, path)

        async def render() -> bytes:
            self.rendered += 1
            return self.text(call.at.revision)

        document = await self.services.packaging.documents.get(key, render)
        public = call.at.visibility is Visibility.PUBLIC
        return respond(document, call.headers, "application/json", public=public)

    def text(self, revision: int) -> bytes:
        """Return a document as it is rendered."""
        filler = b"the same again " * (self.size // 15)
        return b'{"url": "%b/x", "root": "%b", "revision": %d, "filler": "%b"}' % (
            *(PLACEHOLDER, ROOT),
            *(revision, filler),
        )

    async def file(self, call: Call) -> Response:
        return await self.services.packaging.downloads.file(
            call, call.values["version"], call.values["file"]
        )

    async def publish(self, call: Call) -> Response:
        """Count a body as it comes."""
        size = 0
        async for chunk in call.body.chunks():
            size += len(chunk)
        return JSONResponse({"size": size, "complete": call.body.complete}, 201)

    async def small(self, call: Call) -> Response:
        return JSONResponse({"size": len(await call.read(1000))})
