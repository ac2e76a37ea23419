"""Signing in with a password, and signing out.

The limits and the queue of passwords are those of /token: a sign-in here is one there.
"""

from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.oauth import field, read_form
from auth.permissions import Permissions
from auth.principals import Principal
from auth.sessions import SESSION_SECONDS
from auth.tokens import looks_like_token
from registry.config import Config
from registry.requests import exchange_of
from registry.startup import forget_first_login
from registry.ui.browsers import SIGN_IN, Browsers, Handler, parse_next, see
from storage.errors import TooManyRequests, Unauthenticated

PASSWORD = "password"
"""The way of who signed in with one."""


class SignIn:
    """The page with the form, and what it is sent to."""

    def __init__(
        self,
        browsers: Browsers,
        authenticator: Authenticator,
        permissions: Permissions,
        config: Config,
        titles: Mapping[str, str],
    ) -> None:
        self._browsers = browsers
        self._authenticator = authenticator
        self._permissions = permissions
        self._config = config
        self._titles = titles

    async def show(self, request: Request) -> Response:
        """GET /-/ui/sign-in?next=..."""
        following = parse_next(request.query_params.get("next", ""))
        # Not the request's account: with that the audit would count a sign-in.
        if await self._browsers.sessions.find(self._browsers.secret(request)) is not None:
            return see(following)
        return self._form(request, next=following)

    async def with_password(self, request: Request) -> Response:
        """POST /-/ui/sign-in. Raises NotSignedIn, Denied, Invalid, TooManyRequests."""
        form = await self._browsers.form(request)
        name, password = field(form, "name"), field(form, PASSWORD)
        if looks_like_token(password):
            raise NotSignedIn("a token opens no session: sign in with your password")
        who = await self._authenticator.check_password(name.strip(), password)
        await self._permissions.require_live(who)
        request.state.account = who.name
        forget_first_login(self._config, who.name)
        return await self.welcome(request, who, PASSWORD, parse_next(field(form, "next")))

    async def welcome(self, request: Request, who: Principal, way: str, following: str) -> Response:
        """Begin a session under a new secret, and go on to `following`. Raises NotSignedIn."""
        exchange, former = exchange_of(request.scope), self._browsers.secret(request)
        at_door = replace(who, address=exchange.client, request_id=exchange.id)
        secret = await self._browsers.sessions.begin(at_door, way, exchange.agent, former)
        response = see(following)
        self._browsers.remember(request, response, secret, SESSION_SECONDS)
        return response

    async def sign_out(self, request: Request) -> Response:
        """POST /-/ui/sign-out: this browser, or with `everywhere` all of them."""
        form = await self._browsers.form(request)
        found = await self._browsers.session(request)
        if found is not None and field(form, "everywhere"):
            await self._browsers.sessions.end_all(found.who)
        elif found is not None:
            await self._browsers.sessions.end(found.who, found.id)
        response = see(SIGN_IN)
        self._browsers.forget(request, response)
        return response

    def again(self, answer: Handler) -> Handler:
        """Show the form anew to who was refused, with the reason."""

        async def shown(request: Request) -> Response:
            try:
                return await answer(request)
            except (Unauthenticated, TooManyRequests) as error:
                form = await read_form(request)
                name, following = field(form, "name"), parse_next(field(form, "next"))
                values = {"name": name, "next": following, "message": error.message}
                response = self._form(request, error.status, **values)
                response.headers.update(error.headers)
                return response

        return shown

    def _form(self, request: Request, status: int = 200, **values: str) -> Response:
        given = {"name": "", "message": "", **values, "providers": list(self._titles.items())}
        return self._browsers.page(request, "sign_in", status, **given)


async def password_user(request: Request) -> str | None:
    """Return whose password the sign-in form holds; None where it is a token."""
    form = await read_form(request)
    name = field(form, "name").strip()
    return None if looks_like_token(field(form, PASSWORD)) else name
