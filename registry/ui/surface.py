"""The routes of the pages, and how each is let in."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from auth.accounts import Accounts
from auth.authenticate import Authenticator
from auth.identities import Identities
from auth.openid import OpenId
from auth.own_tokens import OwnTokens
from auth.permissions import Permissions
from auth.provider_documents import Web
from auth.provider_sign_ins import ProviderSignIns
from auth.sessions import Sessions
from auth.web_logins import WebLogins
from registry.config import Config
from registry.sign_in_limits import SignInLimits
from registry.site_routes import SiteRoute
from registry.ui.account import AccountPage
from registry.ui.browsers import HOME, SIGN_IN, Browsers, rendered, see
from registry.ui.confirm import CONFIRM, LOGINS, ClientLogins
from registry.ui.provider_sign_in import CALLBACK, ProviderSignIn
from registry.ui.sign_in import SignIn, password_user
from registry.ui.templates import style
from storage.clock import Clock
from storage.database import Database

PAGE_PATHS = tuple(
    path.encode()
    for path in (
        *(HOME, SIGN_IN, CONFIRM, LOGINS),
        *("/-/ui/sign-out", "/-/ui/sessions", "/-/ui/tokens"),
    )
)
"""The paths that requests are counted by; each is exact."""

_SIGNED_IN = "shows and decides on what a client began, to who is signed in in this browser"
_OWN = "shows and ends what is the caller's own, with a form of this very browser"


class Parts(Protocol):
    """What the pages are made of."""

    @property
    def config(self) -> Config: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def permissions(self) -> Permissions: ...


def page_routes(parts: Parts, limits: SignInLimits) -> list[SiteRoute]:
    """Return the routes under /-/ui."""
    config, database, clock = parts.config, parts.database, parts.clock
    browsers = Browsers(Sessions(database, clock), config.public_url)
    titles = {provider.name: provider.shown for provider in config.openid}
    sign_in = SignIn(browsers, parts.authenticator, parts.permissions, config, titles)
    account = AccountPage(browsers, OwnTokens(database, clock), titles)
    logins = ClientLogins(browsers, WebLogins(database, clock))
    door = sign_in.again(limits.door(sign_in.with_password, password_user))
    return [
        SiteRoute("/-/ui/style.css", style, open_because="the same bytes for everybody"),
        SiteRoute(SIGN_IN, rendered(sign_in.show), open_because="the form to sign in with"),
        _post(SIGN_IN, rendered(door), "the sign-in door: wrong passwords are refused"),
        _post("/-/ui/sign-out", rendered(sign_in.sign_out), _OWN),
        SiteRoute(HOME, rendered(account.show), open_because=_OWN),
        SiteRoute(HOME.rstrip("/"), to_home, open_because="says where the pages begin"),
        _post("/-/ui/sessions", rendered(account.end_session), _OWN),
        _post("/-/ui/tokens", rendered(account.revoke_token), _OWN),
        SiteRoute(CONFIRM, rendered(logins.show), open_because=_SIGNED_IN),
        _post(CONFIRM, rendered(logins.decide), _SIGNED_IN),
        _post(LOGINS, limits.beginning(logins.begin), "gives nothing until somebody confirms it"),
        SiteRoute(LOGINS, logins.fetch, open_because="gives a token to who began it, once"),
        *_provider_routes(parts, browsers, sign_in, limits),
    ]


async def to_home(_: Request) -> Response:
    """GET /-/ui, without the slash."""
    return see(HOME)


def _provider_routes(
    parts: Parts, browsers: Browsers, sign_in: SignIn, limits: SignInLimits
) -> list[SiteRoute]:
    database, clock, web = parts.database, parts.clock, Web()
    there = {provider.name: OpenId(provider, web, clock) for provider in parts.config.openid}
    identities = Identities(database, parts.accounts, clock)
    way = ProviderSignIn(browsers, sign_in, there, ProviderSignIns(database, clock), identities)
    return [
        _post(
            SIGN_IN + "/{provider}",
            rendered(limits.beginning(way.begin)),
            "sends a browser to a provider, and remembers that it did",
        ),
        SiteRoute(
            CALLBACK + "/{provider}",
            rendered(limits.door(way.finish)),
            open_because="the sign-in door for what a provider has signed",
        ),
    ]


def _post(path: str, answer: object, why: str) -> SiteRoute:
    return SiteRoute(path, answer, methods=("POST",), open_because=why)
