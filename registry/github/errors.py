"""Errors of /api/v3, as GitHub's clients read them: a message, a link, and the status as text.

Reading list: GitHub's REST API description, schema `basic-error`.
"""

from starlette.responses import JSONResponse, Response

from registry.requests import Exchange
from registry.rest.surface import Dialect
from storage.errors import PackhouseError

DOCUMENTATION = "https://docs.github.com/rest/packages/packages"
"""Shown to people after every message: it describes the operations, and ours do what it says."""


def render_error(error: PackhouseError, exchange: Exchange) -> Response:
    """Render an error."""
    response = _answer(error.status, error.message, exchange)
    response.headers.update(error.headers)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="packhouse"'
    return response


def render_failed(exchange: Exchange) -> Response:
    """Render what went wrong on our side: an id to look for in the log, nothing else."""
    message = f"something failed here: the log names it under request {exchange.id}"
    return _answer(500, message, exchange)


def _answer(status: int, message: str, exchange: Exchange) -> Response:
    body = {
        "message": message,
        "documentation_url": DOCUMENTATION,
        "status": str(status),
        "request_id": exchange.id,
    }
    return JSONResponse(body, status, {"X-GitHub-Request-Id": exchange.id})  # octokit logs it


GITHUB = Dialect(render_error, render_failed)
