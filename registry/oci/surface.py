"""The ASGI application of /v2/: authenticate, find the endpoint, answer, render every error."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.permissions import Permissions
from auth.principals import Action, Principal
from auth.principals import Scope as TokenScope
from auth.routes import CATALOG as CATALOG_SCOPE
from registry.body import Body, content_length
from registry.catalog import Catalog
from registry.headers import IndexedHeaders
from registry.oci import paths
from registry.oci.call import Call, Handler, base_url, next_link
from registry.oci.errors import render_error, render_failure
from registry.oci.handlers import Handlers
from registry.paths import check_path
from registry.rate_limits import RateLimits
from registry.requests import exchange_of
from storage.errors import Denied, Invalid, NotAllowed, PackhouseError, Unauthenticated
from storage.names import OneComponentName, RepositoryName, parse_repository

log = logging.getLogger("packhouse.oci")

SERVICE = "packhouse"
COMMON_HEADERS = (
    (b"docker-distribution-api-version", b"registry/2.0"),
    (b"vary", b"Authorization"),
    (b"x-content-type-options", b"nosniff"),
)


OPEN_BECAUSE = {
    paths.BASE: "it says whether the caller is signed in",
    paths.CATALOG: "it lists what the caller may pull, and nothing else",
}
"""The kinds of path that declare no action: they name no repository."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a kind of path and method, and the action it declares."""

    action: Action
    handler: Handler


class OciSurface:
    """Serves the distribution API."""

    def __init__(
        self,
        handlers: Handlers,
        authenticator: Authenticator,
        permissions: Permissions,
        catalog: Catalog,
        limits: RateLimits,
        public_url: str,
        idle_seconds: float,
    ) -> None:
        self._authenticator = authenticator
        self._permissions = permissions
        self._catalog = catalog
        self._public_url = public_url
        self._idle_seconds = idle_seconds
        self.endpoints = _endpoints(handlers, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(scope, receive)
        response.raw_headers.extend(COMMON_HEADERS)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers, exchange = IndexedHeaders(scope), exchange_of(scope)
        path = paths.OciPath(paths.BASE)
        try:
            check_path(scope["raw_path"])
            headers.require_one("authorization")
            path = paths.parse_path(scope["raw_path"])
            exchange.route = paths.TEMPLATES[path.kind]
            return await self._route(scope, receive, headers, path)
        except PackhouseError as error:
            try:
                extra = self._challenge(error, scope, headers, path)
            except Invalid as worse:
                return render_error(worse, {}, exchange)
            return render_error(error, extra, exchange)
        except Exception:
            log.exception("request %s failed: %s %s", exchange.id, exchange.method, path.kind)
            return render_failure(exchange)

    async def _route(
        self, scope: Scope, receive: Receive, headers: Headers, path: paths.OciPath
    ) -> Response:
        method = scope["method"]
        who = await self._authenticator.authenticate(
            headers, forgive_expiry=path.kind == paths.UPLOAD
        )
        scope["state"]["account"], scope["state"]["token"] = who.name, who.token_id
        if method not in ("GET", "HEAD"):
            exchange = exchange_of(scope)
            who = replace(who, address=exchange.client, request_id=exchange.id)
        query = QueryParams(scope["query_string"]) if scope["query_string"] else _NO_QUERY
        if path.kind in OPEN_BECAUSE:
            if method not in ("GET", "HEAD"):
                raise NotAllowed("this path answers GET and HEAD", headers={"Allow": "GET, HEAD"})
            if path.kind == paths.BASE:
                return await self._base(who)
            return await self._list_repositories(who, query, headers)
        repository = parse_repository(path.repository)
        endpoint = self.endpoints.get((path.kind, method))
        if endpoint is None:
            allowed = ", ".join(m for kind, m in self.endpoints if kind == path.kind)
            raise NotAllowed(f"this path answers {allowed}", headers={"Allow": allowed})
        body = Body(receive, content_length(headers), self._idle_seconds)
        client = exchange_of(scope).client
        call = Call(method, repository, path.reference, headers, query, who, body, client)
        return await endpoint.handler(call)

    async def _base(self, who: Principal) -> Response:
        if who.anonymous and who.access is None:
            raise NotSignedIn("sign in, or fetch an anonymous token")
        await self._permissions.require_live(who)
        return JSONResponse({})

    async def _list_repositories(
        self, who: Principal, query: QueryParams, headers: Headers
    ) -> Response:
        """The catalog: what the caller may see, in ASCII order, in pages."""
        if who.anonymous and who.access is None:
            raise NotSignedIn("sign in, or fetch an anonymous token")
        if who.access is not None and "*" not in who.access.get(CATALOG_SCOPE, ()):
            raise NotSignedIn("this bearer token does not hold the scope registry:catalog:*")
        admin = await self._permissions.require_live(who, TokenScope.READ)
        body = Body(_nothing, 0, self._idle_seconds)
        call = Call("GET", _NOWHERE, "", headers, query, who, body)
        page = await self._catalog.repositories(
            who, call.number("n"), call.text("last"), admin=admin
        )
        link = {}
        if page.last is not None:
            link = next_link("/v2/_catalog", n=len(page.items), last=page.last)
        return JSONResponse({"repositories": list(page.items)}, headers=link)

    def _challenge(
        self, error: PackhouseError, scope: Scope, headers: Headers, path: paths.OciPath
    ) -> Mapping[str, str]:
        """Return the challenge for a 401, and for a 403, where some clients look for one too."""
        if not isinstance(error, Unauthenticated | Denied):
            return {}
        host = headers.get("host", "")
        realm = base_url(self._public_url, scope["scheme"], host) + "/token"
        wanted = _wanted_scope(path, scope, self.endpoints)
        challenge = f'Bearer realm="{realm}",service="{SERVICE}"'
        if wanted:
            challenge += f',scope="{wanted}"'
        return {"WWW-Authenticate": challenge, "Cache-Control": "no-store"}


_NO_QUERY = QueryParams()
_NOWHERE = RepositoryName("packhouse", ("catalog",))


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


def _wanted_scope(
    path: paths.OciPath, scope: Scope, endpoints: Mapping[tuple[str, str], Endpoint]
) -> str:
    if path.kind == paths.CATALOG:
        return f"{CATALOG_SCOPE}:*"
    endpoint = endpoints.get((path.kind, scope["method"]))
    if endpoint is None:
        return ""
    try:
        wanted = f"repository:{parse_repository(path.repository)}:{endpoint.action.scope_words}"
        source = QueryParams(scope["query_string"]).get("from")
        if source is not None and path.kind == paths.UPLOADS:
            wanted += f" repository:{parse_repository(source)}:pull"
    except (OneComponentName, Invalid):
        return ""
    return wanted


def _endpoints(handlers: Handlers, limits: RateLimits) -> dict[tuple[str, str], Endpoint]:
    read, write, delete = Action.PULL, Action.PUSH, Action.DELETE
    get_manifest = limits.pulling(handlers.get_manifest)
    put_manifest = limits.writing(handlers.put_manifest, completes=True)
    return {
        (paths.BLOB, "GET"): Endpoint(read, handlers.get_blob),
        (paths.BLOB, "HEAD"): Endpoint(read, handlers.get_blob),
        (paths.BLOB, "DELETE"): Endpoint(delete, limits.writing(handlers.delete_blob)),
        (paths.UPLOADS, "POST"): Endpoint(write, limits.writing(handlers.start_upload)),
        (paths.UPLOAD, "GET"): Endpoint(write, handlers.get_upload),
        (paths.UPLOAD, "PATCH"): Endpoint(write, handlers.append_upload),
        (paths.UPLOAD, "PUT"): Endpoint(write, handlers.finish_upload),
        (paths.UPLOAD, "DELETE"): Endpoint(write, handlers.cancel_upload),
        (paths.MANIFEST, "GET"): Endpoint(read, get_manifest),
        (paths.MANIFEST, "HEAD"): Endpoint(read, get_manifest),
        (paths.MANIFEST, "PUT"): Endpoint(write, put_manifest),
        (paths.MANIFEST, "DELETE"): Endpoint(delete, limits.writing(handlers.delete_manifest)),
        (paths.TAGS, "GET"): Endpoint(read, handlers.list_tags),
        (paths.TAGS, "HEAD"): Endpoint(read, handlers.list_tags),
        (paths.REFERRERS, "GET"): Endpoint(read, handlers.list_referrers),
        (paths.REFERRERS, "HEAD"): Endpoint(read, handlers.list_referrers),
    }
