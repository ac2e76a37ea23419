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
    return _answer(error.status, error.message, exchange)


def render_failed(exchange: Exchange) -> Response:
    """Render what went wrong on our side."""
    return _answer(500, exchange.failure, exchange)


def _answer(status: int, message: str, exchange: Exchange) -> Response:
    body = {
        "message": message,
        "documentation_url": DOCUMENTATION,
        "status": str(status),
        "request_id": exchange.id,
    }
    return JSONResponse(body, status, {"X-GitHub-Request-Id": exchange.id})  # octokit logs it


GITHUB = Dialect(render_error, render_failed)
