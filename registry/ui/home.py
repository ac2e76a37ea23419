"""The page at `/`: what runs here, how to log in, where the documentation is."""

from starlette.requests import Request
from starlette.responses import Response

from registry.ui.templates import render_page


async def home(request: Request) -> Response:
    """GET /."""
    return render_page("home", host=request.headers.get("host", "localhost:5000"))
