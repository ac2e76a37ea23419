"""Errors of /api/v1: problem details for HTTP APIs (RFC 9457)."""

import re
from http import HTTPStatus

import msgspec
from starlette.responses import JSONResponse, Response

from registry.requests import Exchange
from storage.errors import PackhouseError

MEDIA_TYPE = "application/problem+json"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `code` is for programs and does not change; `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


def render_problem(error: PackhouseError, exchange: Exchange) -> Response:
    """Render an error."""
    code = _HUMP.sub("-", type(error).__name__).lower()
    return _problem(error.status, code, error.message, exchange)


def render_failed(exchange: Exchange) -> Response:
    """Render what went wrong on our side."""
    return _problem(500, "failed", exchange.failure, exchange)


def _problem(status: int, code: str, message: str, exchange: Exchange) -> Response:
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=message,
        request_id=exchange.id,
    )
    return JSONResponse(msgspec.to_builtins(problem), status, media_type=MEDIA_TYPE)
