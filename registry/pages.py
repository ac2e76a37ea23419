"""The plain page at `/`: what runs here, how to log in, where the documentation is."""

from html import escape
from importlib.metadata import version
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse

_TEMPLATE = files("registry").joinpath("web/home.html").read_text("utf-8")
_PAGE = _TEMPLATE.replace("{version}", escape(version("packhouse")))


async def home(request: Request) -> HTMLResponse:
    """GET /."""
    host = escape(request.headers.get("host", "localhost:5000"))
    return HTMLResponse(
        _PAGE.replace("{host}", host),
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "Cache-Control": "no-store",
        },
    )
