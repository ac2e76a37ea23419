"""`/token`: the Docker token protocol, as GET and as the OAuth2 form.

Reading list: distribution's docs/content/spec/auth/token.md, oauth.md, scope.md and jwt.md.
"""

from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse

from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.jwt import Bearers
from auth.oauth import UnsupportedGrant, field, read_form
from auth.permissions import Permissions
from auth.principals import Principal
from auth.refresh_tokens import RefreshTokens
from storage.clock import Clock, rfc3339
from storage.errors import Invalid, NameInvalid
from storage.names import parse_repository

MAX_SCOPES = 100
CATALOG = "registry:catalog"
_NO_STORE = {"Cache-Control": "no-store"}


class TokenService:
    """Answers who signs in with a bearer token for what they may do of what they asked."""

    def __init__(
        self,
        authenticator: Authenticator,
        permissions: Permissions,
        bearers: Bearers,
        refresh_tokens: RefreshTokens,
        clock: Clock,
        signed_in: Callable[[Principal], None],
    ) -> None:
        self._authenticator = authenticator
        self._permissions = permissions
        self._bearers = bearers
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._signed_in = signed_in

    async def token(self, request: Request) -> JSONResponse:
        """GET /token?scope=...: fewer rights than asked is no error, wrong credentials are.

        Raises NotSignedIn, Invalid, TooManyRequests.
        """
        who = await self._authenticator.authenticate(request.headers, door=True)
        if who.access is not None:
            raise NotSignedIn("sign in with a password or token, not with a bearer token")
        await self._welcome(request, who)
        query = request.query_params
        answer, _ = await self._answer(who, query.getlist("scope"))
        # docker stores this in place of the password; a token is as good as what it would get.
        if query.get("offline_token") == "true" and who.password_version is not None:
            answer["refresh_token"] = await self._refresh_tokens.issue(
                who, _name_of(query.get("client_id", "")), rotates=False
            )
        return JSONResponse({"token": answer["access_token"], **answer}, headers=_NO_STORE)

    async def form(self, request: Request) -> JSONResponse:
        """POST /token with grant_type password or refresh_token.

        Raises NotSignedIn, Invalid, TooLarge, TooManyRequests.
        """
        form = await read_form(request)
        kind, following = field(form, "grant_type"), None
        if kind == "password":
            who = await self._authenticator.sign_in(
                field(form, "username"), field(form, "password")
            )
        elif kind == "refresh_token":
            address = "" if request.client is None else request.client.host
            who, following = await self._refresh_tokens.use(field(form, "refresh_token"), address)
        else:
            raise UnsupportedGrant("grant_type is password or refresh_token")
        await self._welcome(request, who)
        answer, granted = await self._answer(who, form.get("scope", []))
        if kind == "password" and field(form, "access_type") == "offline":
            following = await self._refresh_tokens.issue(
                who, _name_of(field(form, "client_id")), rotates=True
            )
        if following is not None:
            answer["refresh_token"] = following
        scope = " ".join(f"{name}:{','.join(sorted(may))}" for name, may in granted.items() if may)
        return JSONResponse({**answer, "token_type": "Bearer", "scope": scope}, headers=_NO_STORE)

    async def _welcome(self, request: Request, who: Principal) -> None:
        """Let in who is still welcome. Raises NotSignedIn."""
        request.state.account = who.name
        await self._permissions.require_live(who)
        if who.password_version is not None:
            self._signed_in(who)

    async def _answer(
        self, who: Principal, scopes: Iterable[str]
    ) -> tuple[dict[str, str | int], dict[str, frozenset[str]]]:
        granted = await self._grant(who, parse_scopes(scopes))
        text = await self._bearers.issue(who, granted)
        return {
            "access_token": text,
            "expires_in": self._bearers.lifetime,
            "issued_at": rfc3339(self._clock()),
        }, granted

    async def _grant(self, who: Principal, asked: dict[str, set[str]]) -> dict[str, frozenset[str]]:
        granted: dict[str, frozenset[str]] = {}
        for resource, actions in asked.items():
            kind, _, name = resource.partition(":")
            if kind == "repository":
                try:
                    allowed = await self._permissions.actions(who, parse_repository(name))
                except NameInvalid:
                    allowed = frozenset()
                granted[resource] = allowed if "*" in actions else allowed & actions
            elif resource == CATALOG:
                granted[resource] = frozenset(actions & {"*"})
        return granted


def _name_of(client_id: str) -> str:
    """Return what a refresh token is listed as: the client's word for itself."""
    return "".join(c for c in client_id[:100] if c.isprintable())


def parse_scopes(values: Iterable[str]) -> dict[str, set[str]]:
    """Read `scope` parameters into {"type:name": actions}; a value may hold several.

    `type[(class)]:name:action,action`; a name may hold colons; the class is ignored. What is not
    a scope is ignored. Raises Invalid for more than MAX_SCOPES.
    """
    scopes: dict[str, set[str]] = {}
    for scope in (part for value in values for part in value.split()):
        kind, separator, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if separator and name:
            resource = f"{kind.partition('(')[0]}:{name}"
            scopes.setdefault(resource, set()).update(filter(None, actions.split(",")))
        if len(scopes) > MAX_SCOPES:
            raise Invalid(f"ask for at most {MAX_SCOPES} scopes at once")
    return scopes
