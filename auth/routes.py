"""`/token`: the Docker token protocol, GET form.

Reading list: distribution's docs/content/spec/auth/token.md, scope.md and jwt.md.
"""

from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse

from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.jwt import Bearers
from auth.permissions import Permissions
from auth.principals import Principal
from storage.clock import Clock, rfc3339
from storage.errors import Invalid, NameInvalid
from storage.names import parse_repository

MAX_SCOPES = 100
CATALOG = "registry:catalog"


class TokenService:
    """Answers who signs in with a bearer token for what they may do of what they asked."""

    def __init__(
        self,
        authenticator: Authenticator,
        permissions: Permissions,
        bearers: Bearers,
        clock: Clock,
        signed_in: Callable[[Principal], None],
    ) -> None:
        self._authenticator = authenticator
        self._permissions = permissions
        self._bearers = bearers
        self._clock = clock
        self._signed_in = signed_in

    async def token(self, request: Request) -> JSONResponse:
        """GET /token?scope=...: fewer rights than asked is no error, wrong credentials are.

        Raises NotSignedIn, Invalid, TooManyRequests.
        """
        who = await self._authenticator.authenticate(request.headers, door=True)
        if who.access is not None:
            raise NotSignedIn("sign in with a password or token, not with a bearer token")
        request.state.account = who.name
        await self._permissions.require_live(who)
        if who.password_version is not None:
            self._signed_in(who)
        asked = parse_scopes(request.query_params.getlist("scope"))
        text = await self._bearers.issue(who, await self._grant(who, asked))
        return JSONResponse(
            {
                "token": text,
                "access_token": text,
                "expires_in": self._bearers.lifetime,
                "issued_at": rfc3339(self._clock()),
            },
            headers={"Cache-Control": "no-store"},
        )

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
