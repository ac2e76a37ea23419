"""The pages as HTML: templates in registry/web, and the headers that all pages have.

Reading list: Content Security Policy Level 3; OWASP Cross-Site Request Forgery Prevention.
"""

from importlib.metadata import version
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from storage.clock import rfc3339

_WEB = files("registry").joinpath("web")
_STYLE = _WEB.joinpath("style.css").read_bytes()
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    # Not no-referrer: with that, browsers send `Origin: null` along with forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _environment() -> Environment:
    pages = {
        file.name: file.read_text("utf-8") for file in _WEB.iterdir() if file.name.endswith(".html")
    }
    made = Environment(
        loader=DictLoader(pages),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["version"] = version("packhouse")
    made.filters["moment"] = lambda at: rfc3339(at)[:16].replace("T", " ") + " UTC"
    made.filters["rfc3339"] = rfc3339
    return made


_ENVIRONMENT = _environment()


def render_page(
    template: str, status: int = 200, request_id: str = "", /, **values: object
) -> HTMLResponse:
    """Render a template of registry/web; everything it is given is escaped.

    A page that says what is wrong says with `request_id` where the log has more.
    """
    text = _ENVIRONMENT.get_template(f"{template}.html").render(request_id=request_id, **values)
    return HTMLResponse(text, status, headers=_HEADERS)


async def style(_: Request) -> Response:
    """GET /-/ui/style.css; pages name it with the version, so a new one is fetched anew."""
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(_STYLE, media_type="text/css", headers=headers)
