"""The routes of the pages, and how each is let in."""

from typing import Protocol

from auth.authenticate import Authenticator
from auth.own_tokens import OwnTokens
from auth.permissions import Permissions
from auth.sessions import Sessions
from registry.config import Config
from registry.sign_in_limits import SignInLimits
from registry.site_routes import SiteRoute
from registry.ui.account import AccountPage
from registry.ui.browsers import HOME, SIGN_IN, Browsers, rendered
from registry.ui.sign_in import SignIn, password_user
from registry.ui.templates import style
from storage.clock import Clock
from storage.database import Database

PAGE_PATHS = (b"/-/ui/", b"/-/ui/sign-in", b"/-/ui/sign-out", b"/-/ui/sessions", b"/-/ui/tokens")
"""The paths that requests are counted by; each is exact."""

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
    def authenticator(self) -> Authenticator: ...
    @property
    def permissions(self) -> Permissions: ...


def page_routes(parts: Parts, limits: SignInLimits) -> list[SiteRoute]:
    """Return the routes under /-/ui."""
    config, database, clock = parts.config, parts.database, parts.clock
    browsers = Browsers(Sessions(database, clock), config.public_url)
    sign_in = SignIn(browsers, parts.authenticator, parts.permissions, config, [])
    door = sign_in.again(limits.door(sign_in.with_password, password_user))
    account = AccountPage(browsers, OwnTokens(database, clock), {})
    return [
        SiteRoute("/-/ui/style.css", style, open_because="the same bytes for everybody"),
        SiteRoute(SIGN_IN, rendered(sign_in.show), open_because="the form to sign in with"),
        _post(SIGN_IN, rendered(door), "the sign-in door: wrong passwords are refused"),
        _post("/-/ui/sign-out", rendered(sign_in.sign_out), _OWN),
        SiteRoute(HOME, rendered(account.show), open_because=_OWN),
        _post("/-/ui/sessions", rendered(account.end_session), _OWN),
        _post("/-/ui/tokens", rendered(account.revoke_token), _OWN),
    ]


def _post(path: str, answer: object, why: str) -> SiteRoute:
    return SiteRoute(path, answer, methods=("POST",), open_because=why)
