"""The first page of who is signed in: the browsers and the tokens that act for the account."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from auth.oauth import Form, field
from auth.own_tokens import OwnTokens
from auth.principals import Scope
from auth.sessions import Session
from registry.ui.browsers import HOME, SIGN_IN, Browsers, see
from registry.ui.sign_in import PASSWORD
from storage.database import Row
from storage.errors import Invalid

_ID = re.compile(r"[1-9][0-9]{0,17}")


class AccountPage:
    """Shows, ends and revokes."""

    def __init__(self, browsers: Browsers, tokens: OwnTokens, titles: Mapping[str, str]) -> None:
        self._browsers = browsers
        self._tokens = tokens
        self._titles = titles

    async def show(self, request: Request) -> Response:
        """GET /-/ui/. Raises NotSignedIn."""
        found = await self._browsers.signed_in(request)
        sessions = [
            {
                **_columns(row, _SESSION),
                "here": row["id"] == found.id,
                "browser": name_browser(row["agent"]),
                "through": self._through(row["way"]),
            }
            for row in await self._browsers.sessions.list(found.who.account_id)
        ]
        tokens = [
            {**_columns(row, _TOKEN), "may": _may(row["scopes"])}
            for row in await self._tokens.list(found.who)
        ]
        return self._browsers.page(
            request,
            "account",
            who=found.who.name,
            through=self._through(found.way),
            sessions=sessions,
            tokens=tokens,
        )

    async def end_session(self, request: Request) -> Response:
        """POST /-/ui/sessions with the id of one of the caller's. Raises NotSignedIn, Denied."""
        found, form = await self._sent(request)
        session_id = _id(form)
        await self._browsers.sessions.end(found.who, session_id)
        return see(SIGN_IN if session_id == found.id else HOME)

    async def revoke_token(self, request: Request) -> Response:
        """POST /-/ui/tokens with the id of one of the caller's.

        Raises NotSignedIn, Denied, NotFound for somebody else's.
        """
        found, form = await self._sent(request)
        await self._tokens.revoke(found.who, _id(form))
        return see(HOME)

    def _through(self, way: str) -> str:
        return "a password" if way == PASSWORD else self._titles.get(way, way)

    async def _sent(self, request: Request) -> tuple[Session, Form]:
        form = await self._browsers.form(request)
        return await self._browsers.signed_in(request), form


_SESSION = ("id", "address", "agent", "created_at", "last_used_at")
_TOKEN = ("id", "kind", "name", "created_at", "expires_at", "last_used_at")


def _columns(row: Row, names: tuple[str, ...]) -> dict[str, object]:
    return {name: row[name] for name in names}


def _may(scopes: int) -> str:
    names = [(scope.name or "").lower() for scope in Scope(scopes)]
    return "may " + ", ".join(names) if names else "may do nothing"


def _id(form: Form) -> int:
    text = field(form, "id")
    if not _ID.fullmatch(text):
        raise Invalid("the form names nothing to end: go back and reload the page")
    return int(text)


_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
"""In this order: each names those after it as well."""
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def name_browser(agent: str) -> str:
    """Say what a User-Agent header stands for: "Firefox on Linux"; what is unknown, as it is."""
    browser = next((name for part, name in _BROWSERS.items() if part in agent), "")
    system = next((name for part, name in _SYSTEMS.items() if part in agent), "")
    if not browser:
        return agent[:60] or "a browser without a name"
    return f"{browser} on {system}" if system else browser
