"""A browser at the door: its cookie, its session, and whether a form is one of ours.

Reading list: RFC 6265bis, "Cookie Name Prefixes"; Fetch Metadata Request Headers; OWASP Cross-Site
Request Forgery Prevention. The cookie holds a secret; before anybody has signed in it is of no
session, and serves for the key of the sign-in form alone.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from auth.errors import NotSignedIn
from auth.oauth import Form, field, read_form
from auth.sessions import Session, Sessions, form_key, is_secret, new_secret
from registry.oci.call import base_url
from registry.requests import exchange_of
from registry.ui.templates import render_page
from storage.errors import Denied, PackhouseError

HOME = "/-/ui/"
SIGN_IN = "/-/ui/sign-in"
COOKIE = "packhouse"
KEY_FIELD = "key"

_NEXT = re.compile(r"/-/ui/[a-z-]{0,40}(?:\?[A-Za-z0-9_=&-]{1,200})?")

Handler = Callable[[Request], Awaitable[Response]]


class SignInFirst(NotSignedIn):
    """A page for people who are signed in."""


class Browsers:
    """Knows browsers by their cookies."""

    def __init__(self, sessions: Sessions, public_url: str) -> None:
        self.sessions = sessions
        self._public_url = public_url

    def base(self, request: Request) -> str:
        """Return the base of this server's URLs as the browser knows them."""
        return base_url(self._public_url, request.url.scheme, request.headers.get("host", ""))

    def secret(self, request: Request) -> str:
        """Return what the browser's cookie holds, "" for none, or one that is not ours."""
        text = request.cookies.get(self._cookie(request), "")
        return text if is_secret(text) else ""

    async def session(self, request: Request) -> Session | None:
        """Return who is signed in; the account of the request is known from here on."""
        found = await self.sessions.find(self.secret(request))
        if found is None:
            return None
        exchange = exchange_of(request.scope)
        request.state.account = found.who.name
        who = replace(found.who, address=exchange.client, request_id=exchange.id)
        return replace(found, who=who)

    async def signed_in(self, request: Request) -> Session:
        """Return who is signed in. Raises NotSignedIn."""
        found = await self.session(request)
        if found is None:
            raise SignInFirst("sign in first: nobody is signed in here, or no longer")
        return found

    async def form(self, request: Request) -> Form:
        """Read a form that one of our pages sent from this browser.

        Raises Denied for any other, Invalid, TooLarge.
        """
        self._check_origin(request)
        form, secret = await read_form(request), self.secret(request)
        if not secret or not hmac.compare_digest(
            field(form, KEY_FIELD).encode(), form_key(secret).encode()
        ):
            raise Denied(
                "this form is not from a page that this browser was shown, or the page is old: "
                "go back, reload it, and send it again (the browser has to keep cookies)"
            )
        return form

    def remember(self, request: Request, response: Response, secret: str, seconds: int) -> None:
        """Give the browser its cookie; for 0 seconds until it is closed."""
        response.set_cookie(
            self._cookie(request),
            secret,
            max_age=seconds or None,
            path="/",
            secure=self._https(request),
            httponly=True,
            samesite="lax",
        )

    def forget(self, request: Request, response: Response) -> None:
        """Take the browser's cookie away."""
        response.delete_cookie(
            self._cookie(request), secure=self._https(request), httponly=True, samesite="lax"
        )

    def page(
        self, request: Request, template: str, status: int = 200, /, **values: object
    ) -> Response:
        """Render a page with forms; a browser without a cookie gets one with it."""
        secret = self.secret(request)
        given = secret or new_secret()
        refused = exchange_of(request.scope).id if status >= 400 else ""
        response = render_page(template, status, refused, key=form_key(given), **values)
        if not secret:
            self.remember(request, response, given, 0)
        return response

    def _https(self, request: Request) -> bool:
        return self.base(request).startswith("https:")

    def _cookie(self, request: Request) -> str:
        # A name with this prefix can be set neither by a subdomain nor without TLS.
        return f"__Host-{COOKIE}" if self._https(request) else COOKIE

    def _check_origin(self, request: Request) -> None:
        """Refuse what the browser says another site sent; one that is not told has the key."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        own = {self.base(request), f"{request.url.scheme}://{request.headers.get('host', '')}"}
        if (site is not None and site != "same-origin") or (
            site is None and origin is not None and origin not in own
        ):
            raise Denied("another site sent this form: forms are taken from our own pages only")


def parse_next(text: str) -> str:
    """Return where to go after signing in: a page of ours, else the first one."""
    return text if _NEXT.fullmatch(text) else HOME


def see(path: str) -> RedirectResponse:
    """Send the browser on to another page of ours, whatever it had sent."""
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def rendered(answer: Handler) -> Handler:
    """Render what `answer` refuses as a page; who has to sign in first is sent to do so."""

    async def shown(request: Request) -> Response:
        try:
            return await answer(request)
        except SignInFirst as error:
            if request.method not in ("GET", "HEAD"):
                return render_refusal(request, error)
            query = request.scope["query_string"].decode("latin-1")
            here = parse_next(request.scope["path"] + (f"?{query}" if query else ""))
            return see(SIGN_IN if here == HOME else f"{SIGN_IN}?next={quote(here, safe='')}")
        except PackhouseError as error:
            return render_refusal(request, error)

    return shown


def render_refusal(request: Request, error: PackhouseError) -> Response:
    """Render the page that says what is wrong."""
    request_id = exchange_of(request.scope).id
    response = render_page("refusal", error.status, request_id, message=error.message)
    response.headers.update(error.headers)
    return response
