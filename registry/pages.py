"""The plain page at `/`: what runs here, how to log in, where the documentation is."""

from html import escape
from importlib.metadata import version
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse

_PAGE = files("registry").joinpath("web/home.html").read_text("utf-8")


async def home(request: Request) -> HTMLResponse:
    """GET /."""
    host = escape(request.headers.get("host", "localhost:5000"))
    page = _PAGE.replace("{host}", host).replace("{version}", escape(version("packhouse")))
    return HTMLResponse(
        page,
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )
