"""Logins of clients: begun and fetched by the client, shown to and confirmed by a person."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.oauth import field
from auth.web_logins import WAITING_SECONDS, BegunLogin, WebLogins
from registry.requests import exchange_of
from registry.ui.browsers import Browsers
from registry.ui.templates import render_page

CONFIRM = "/-/ui/confirm"
LOGINS = "/-/ui/logins"
POLL_SECONDS = 2
"""How often a client is to ask whether somebody has decided."""

_NO_STORE = {"Cache-Control": "no-store"}


class ClientLogins:
    """The JSON that clients speak, and the page that a person sees."""

    def __init__(self, browsers: Browsers, logins: WebLogins) -> None:
        self._browsers = browsers
        self._logins = logins

    async def begin(self, request: Request) -> Response:
        """POST /-/ui/logins: {"loginUrl", "doneUrl", "code", "expiresIn"} (seconds)."""
        request.state.account = ""
        exchange, base = exchange_of(request.scope), self._browsers.base(request)
        begun = await self._logins.begin(exchange.agent, exchange.client)
        return JSONResponse(render_begun(base, begun), headers=_NO_STORE)

    async def fetch(self, request: Request) -> Response:
        """GET /-/ui/logins?secret=...: 202 while nobody has decided, then {"token"}, once.

        Raises LoginUnknown, LoginEnded.
        """
        token = await self._logins.take(request.query_params.get("secret", ""))
        if token is None:
            headers = {**_NO_STORE, "Retry-After": str(POLL_SECONDS)}
            return JSONResponse({"state": "pending"}, 202, headers)
        return JSONResponse({"token": token}, headers=_NO_STORE)

    async def show(self, request: Request) -> Response:
        """GET /-/ui/confirm?login=... Raises NotSignedIn, LoginUnknown, LoginEnded."""
        found = await self._browsers.signed_in(request)
        login = request.query_params.get("login", "")
        waiting = await self._logins.waiting(login)
        may = [(scope.name or "").lower() for scope in waiting.scopes]
        shown = {"may": " and ".join(may), "here": exchange_of(request.scope).client}
        return self._browsers.page(
            request, "confirm", who=found.who.name, login=login, waiting=waiting, **shown
        )

    async def decide(self, request: Request) -> Response:
        """POST /-/ui/confirm with `login` and `decision`.

        Raises NotSignedIn, Denied, LoginUnknown, LoginEnded.
        """
        form = await self._browsers.form(request)
        found = await self._browsers.signed_in(request)
        confirmed = field(form, "decision") == "confirm"
        await self._logins.decide(found.who, field(form, "login"), confirmed=confirmed)
        return render_page("decided", confirmed=confirmed)


def render_begun(base: str, begun: BegunLogin) -> dict[str, str | int]:
    """Say where a person decides on a login, and where its client asks; `base` is our own URL."""
    return {
        "loginUrl": f"{base}{CONFIRM}?{urlencode({'login': begun.id})}",
        "doneUrl": f"{base}{LOGINS}?{urlencode({'secret': begun.secret})}",
        "code": begun.code,
        "expiresIn": WAITING_SECONDS,
    }
