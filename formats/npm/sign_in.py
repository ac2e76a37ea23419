"""`npm login`, `npm adduser`, `npm logout`, `npm whoami`, `npm ping`.

Reading list: npm-profile, lib/index.js (web login, couch login); npm's lib/utils/auth.js and
lib/commands/logout.js. A token in the path of a logout reaches no log line (registry/requests.py).
"""

import msgspec
from starlette.responses import Response

from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.permissions import Permissions
from auth.principals import Scope
from auth.token_making import TokenMaking, Wanted
from auth.tokens import Tokens, looks_like_token
from auth.web_logins import TOKEN_SECONDS, WebLogins
from formats.npm.json_bodies import answer, read_json
from formats.npm.password_door import PasswordDoor
from registry.packaging.surface import Call, Route
from registry.rest.needs import SIGNED_IN, open_because
from registry.sign_in_limits import SignInLimits
from registry.ui.confirm import render_begun
from storage.errors import Denied, Invalid, NotFound

COUCH = "org.couchdb.user:"
"""What npm writes before a user's name, since registries were CouchDBs."""
USER = f"/-/user/{COUCH}{{user}}"
LOGIN_SCOPES = Scope.READ | Scope.WRITE
_NO_SIGN_UP = (
    "accounts are made by an administrator of this site, with 'packhouse user create NAME': "
    "whoever has one signs in with 'npm login'"
)


class BeginLogin(msgspec.Struct, frozen=True):
    """A login in a browser; `create` wants a new account."""

    create: bool = False


class CouchLogin(msgspec.Struct, frozen=True):
    """A login by name and password; with an e-mail address it comes from `npm adduser`."""

    name: str
    password: str
    email: str | None = None


class SignIn:
    """Signs clients in and out."""

    def __init__(
        self,
        authenticator: Authenticator,
        permissions: Permissions,
        making: TokenMaking,
        tokens: Tokens,
        logins: WebLogins,
        limits: SignInLimits,
        door: PasswordDoor,
    ) -> None:
        self._authenticator = authenticator
        self._permissions = permissions
        self._making = making
        self._tokens = tokens
        self._logins = logins
        self._limits = limits
        self._door = door

    def routes(self) -> list[Route]:
        """Return the routes of signing in and out."""
        begins = open_because("gives nothing until somebody confirms it")
        door = open_because("the sign-in door: wrong passwords are refused")
        pings = open_because("says that the registry answers")
        return [
            Route("GET", "/-/ping", self.ping, pings),
            Route("GET", "/-/whoami", self.whoami, SIGNED_IN),
            Route("POST", "/-/v1/login", self.begin, begins),
            Route("PUT", USER, self.sign_in, door),
            Route("PUT", USER + "/-rev/{revision}", self.sign_in, door),
            Route("DELETE", "/-/user/token/{token}", self.sign_out, SIGNED_IN),
        ]

    async def ping(self, _: Call) -> Response:
        """GET /-/ping."""
        return answer({})

    async def whoami(self, call: Call) -> Response:
        """GET /-/whoami."""
        return answer({"username": call.who.name})

    async def begin(self, call: Call) -> Response:
        """POST /-/v1/login: where a person confirms it, and where npm asks for the token.

        Raises Denied for a sign-up, TooManyRequests.
        """
        if (await read_json(call, BeginLogin)).create:
            raise Denied(_NO_SIGN_UP)
        self._limits.begin(call.client)
        begun = await self._logins.begin(call.exchange.agent, call.client, LOGIN_SCOPES)
        return answer(render_begun(call.site, begun))

    async def sign_in(self, call: Call) -> Response:
        """PUT /-/user/org.couchdb.user:NAME: a token for a name and its password.

        Never 409, after which npm would send the password again. Raises NotSignedIn, Denied for a
        sign-up, Invalid, TooManyRequests.
        """
        asked, name = await read_json(call, CouchLogin), call.values["user"]
        if asked.name != name:
            raise Invalid(f"the path names {name!r}, and the body another user")
        try:
            text = await self._token(call, name, asked.password)
        except NotSignedIn as error:
            if asked.email is not None:
                raise Denied(_NO_SIGN_UP) from error
            raise
        return answer({"ok": True, "id": COUCH + name, "token": text}, 201)

    async def sign_out(self, call: Call) -> Response:
        """DELETE /-/user/token/TOKEN: end it, which whoever holds it may. Raises NotFound."""
        text = call.values["token"]
        found = await self._tokens.find(text) if looks_like_token(text) else None
        if found is None or found.account_id != call.who.account_id:
            raise NotFound("you have no such token")
        await self._tokens.revoke(call.who, found.token_id)
        return answer({"ok": True})

    async def _token(self, call: Call, name: str, secret: str) -> str:
        """Return a new token for a password; a token in its place does as well as it is."""
        if looks_like_token(secret):
            await self._permissions.require_live(await self._authenticator.sign_in(name, secret))
            return secret
        who = await self._door.let_in(call, name, secret)
        wanted = Wanted(f"npm login from {call.client}", LOGIN_SCOPES, TOKEN_SECONDS)
        made = await self._making.for_user(who, who.name, wanted)
        return made.text
