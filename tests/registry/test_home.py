"""The page at `/`: what runs here, how to log in, where the documentation is."""

from importlib.metadata import version

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.ui.home import home


@pytest.fixture
def app() -> Starlette:
    return Starlette(routes=[Route("/", home)])


async def page(app: ASGIApp, host: str = "localhost:5000", method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test") as client:
        return await client.request(method, "/", headers={"Host": host})


async def test_the_page_says_what_runs_here(app: Starlette) -> None:
    answer = await page(app)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>Container registry · Packhouse</title>" in answer.text
    assert f"version {version('packhouse')}" in answer.text
    assert "OCI distribution API at <code>/v2/</code>" in answer.text
    assert "{" not in answer.text, "every placeholder is filled"


async def test_the_page_says_how_to_log_in_under_the_name_it_was_asked_by(app: Starlette) -> None:
    text = (await page(app, "packages.example.com:8443")).text
    for line in ("login", "tag alpine", "push", "pull"):
        assert f"docker {line} packages.example.com:8443" in text


async def test_the_page_says_where_the_documentation_is(app: Starlette) -> None:
    text = (await page(app)).text
    assert "README.md" in text
    assert "packhouse --help" in text


@pytest.mark.parametrize(
    "host",
    [
        "<script>alert(1)</script>",
        "x\"onload='alert(1)'",
        "a&amp;b",
        "{version}",
        "evil.example/?<img src=x onerror=alert(1)>",
    ],
)
async def test_a_hostile_host_becomes_no_markup(app: Starlette, host: str) -> None:
    harmless = (await page(app, "host")).text
    text = (await page(app, host)).text
    assert text.count("<") == harmless.count("<")
    assert text.count(">") == harmless.count(">")
    assert text.count('"') == harmless.count('"')
    assert text.count(version("packhouse")) == harmless.count(version("packhouse"))


async def test_a_request_without_a_host_gets_the_page(app: Starlette) -> None:
    async def without_host(scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"host"]
        await app(scope, receive, send)

    assert "docker login localhost:5000" in (await page(without_host)).text


async def test_the_page_runs_nothing_and_is_kept_by_nobody(app: Starlette) -> None:
    headers = (await page(app)).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


async def test_head_answers_like_get_without_the_page(app: Starlette) -> None:
    got, head = await page(app), await page(app, method="HEAD")
    assert head.status_code == 200
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


async def test_the_page_takes_nothing(app: Starlette) -> None:
    assert (await page(app, method="POST")).status_code == 405
