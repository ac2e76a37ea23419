"""The pages under /-/ui, in Chromium: what a person sees and presses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import browser
from tests.clients.browser import Browser
from tests.clients.server import Registry


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    with browser.opened(tmp_path / "browser") as opened:
        yield opened


def sign_in(page: Browser, registry: Registry, password: str = "") -> None:
    page.open(f"{registry.url}/-/ui/")
    page.fill("User name", registry.user)
    page.fill("Password", password or registry.password)
    page.press("Sign in")


def test_a_person_signs_in_with_a_password_and_out_again(page: Browser, registry: Registry) -> None:
    sign_in(page, registry)
    assert page.path == "/-/ui/"
    assert f"You are signed in as {registry.user} through a password" in page.text
    cookie = page.driver.get_cookie("packhouse")
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    page.press("Sign out")
    assert page.path == "/-/ui/sign-in"
    page.open(f"{registry.url}/-/ui/")
    assert page.path == "/-/ui/sign-in"
    page.driver.delete_all_cookies()
    page.driver.add_cookie({"name": "packhouse", "value": cookie["value"], "path": "/"})
    page.open(f"{registry.url}/-/ui/")
    assert page.path == "/-/ui/sign-in", "the session ended, not only its cookie"


def test_a_wrong_password_is_said_and_the_name_kept(page: Browser, registry: Registry) -> None:
    sign_in(page, registry, "not the password")
    assert "wrong user name, password or token" in page.text
    page.fill("Password", registry.password)
    page.press("Sign in")
    assert "You are signed in" in page.text
