"""The OAuth2 form of `/token`: reading it, and refusing it in its dialect.

Reading list: distribution's oauth.md; RFC 6749, sections 4.3, 5.2 and 6.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.errors import BASIC_CHALLENGE
from auth.tokens import looks_like_token
from storage.errors import (
    Denied,
    Invalid,
    PackhouseError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

MAX_FORM_BYTES = 64 * 1024
FORM_SECONDS = 30
"""How long a form may take to arrive: it is a few hundred bytes."""
_MAX_FIELDS = 200

Form = dict[str, list[str]]
Answer = Callable[[Request], Awaitable[Response]]


class UnsupportedGrant(Invalid):
    """A grant type that is not one of ours."""


CODES: dict[type[PackhouseError], str] = {
    Unauthenticated: "invalid_grant",
    Denied: "unauthorized_client",
    UnsupportedGrant: "unsupported_grant_type",
    TooManyRequests: "temporarily_unavailable",
    Unavailable: "temporarily_unavailable",
    PackhouseError: "invalid_request",
}


def parse_form(body: bytes) -> Form:
    """Read application/x-www-form-urlencoded. Raises Invalid."""
    try:
        text = body.decode()
        return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise Invalid("the form cannot be read: send name=value pairs in UTF-8") from error


def field(form: Form, name: str) -> str:
    """Return a field's one value, "" if it is not there. Raises Invalid for several."""
    values = form.get(name, [""])
    if len(values) > 1:
        raise Invalid(f"the field {name!r} is there {len(values)} times: send it once")
    return values[0]


async def read_form(request: Request) -> Form:
    """Return a request's form, which is read once. Raises Invalid, TooLarge."""
    found: Form | None = getattr(request.state, "form", None)
    if found is None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Invalid("send the form as application/x-www-form-urlencoded")
        found = parse_form(await _read_body(request))
        request.state.form = found
    return found


async def form_user(request: Request) -> str | None:
    """Return the user whose password a form holds; None for any other credentials."""
    form = await read_form(request)
    if field(form, "grant_type") != "password" or looks_like_token(field(form, "password")):
        return None
    return field(form, "username")


def refusing(answer: Answer) -> Answer:
    """Render what `answer` refuses as OAuth2 does."""

    async def refused(request: Request) -> Response:
        try:
            return await answer(request)
        except PackhouseError as error:
            return render_refusal(error)

    return refused


def render_refusal(error: PackhouseError) -> Response:
    """Render {"error", "error_description"}.

    What is wrong with credentials is 401: docker shows the answer's text for it, and complains of
    its form for 400.
    """
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    headers = {**error.headers, "Cache-Control": "no-store", "Pragma": "no-cache"}
    if error.status == 401:
        headers["WWW-Authenticate"] = BASIC_CHALLENGE
    # RFC 6749 allows neither quotes nor backslashes, and ASCII only.
    words = error.message.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "/")
    return JSONResponse(
        {"error": code, "error_description": words}, status_code=error.status, headers=headers
    )


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise TooLarge(f"a form has at most {MAX_FORM_BYTES} bytes")
    except TimeoutError as error:
        raise Invalid(f"the form did not arrive within {FORM_SECONDS} seconds") from error
    return bytes(body)
