"""The pages under /-/ui, in Chromium: what a person sees and presses."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients import browser, provider, server
from tests.clients.browser import Browser
from tests.clients.provider import SECRET, RunningProvider
from tests.clients.server import Registry


@pytest.fixture(scope="module")
def corp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """The provider of a company."""
    with provider.running(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def with_corp(
    tmp_path_factory: pytest.TempPathFactory, corp: RunningProvider
) -> Iterator[Registry]:
    """A registry that people of the company may sign in to."""
    home = tmp_path_factory.mktemp("registry-openid")
    (home / "secret").write_text(SECRET + "\n")
    shared = {
        "issuer": corp.issuer,
        "scopes": ["openid", "profile", "groups"],
        "groups_claim": "groups",
        "groups": {"Developers (EU)": "acme/devs", "ops": "acme/ops"},
    }
    providers = [
        {
            **shared,
            "name": "corp",
            "title": "Example Corp",
            "client_id": "packhouse",
            "client_secret_file": str(home / "secret"),
            "create": True,
        },
        {"name": "gone", "issuer": "http://127.0.0.1:9", "client_id": "packhouse"},
    ]
    with server.running(home, PACKHOUSE_OPENID=json.dumps(providers)) as running:
        running.admin("team", "create", "acme/devs")
        running.admin("team", "create", "acme/ops")
        running.admin("grant", "acme", "acme/devs", "write")
        yield running


def guests(corp: RunningProvider) -> list[dict[str, str]]:
    """The provider, where its people get no accounts by themselves; as a public client."""
    name = {"name": "corp", "title": "Example Corp"}
    return [{**name, "issuer": corp.issuer, "client_id": "packhouse-ec"}]


@pytest.fixture(scope="module")
def with_guests(
    tmp_path_factory: pytest.TempPathFactory, corp: RunningProvider
) -> Iterator[Registry]:
    """A registry that knows the provider's people only where somebody has linked them."""
    home = tmp_path_factory.mktemp("registry-guests")
    with server.running(home, PACKHOUSE_OPENID=json.dumps(guests(corp))) as running:
        yield running


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


# With a provider


def sign_in_with_corp(page: Browser, registry: Registry, login: str) -> None:
    page.open(f"{registry.url}/-/ui/")
    page.press("Sign in with Example Corp")
    page.wait_for("Sign-in")
    page.fill_field("login", login)
    page.fill_field("password", "any")
    page.press("Sign-in")


def teams_of(registry: Registry, name: str) -> list[str]:
    """The teams of acme that somebody is in."""
    found = []
    for team in ("acme/devs", "acme/ops"):
        shown = json.loads(registry.admin("team", "show", team, "--json"))
        found += [team for member in shown["members"] if member["user"] == name]
    return found


def test_a_person_signs_in_with_a_provider_and_gets_an_account_and_teams(
    page: Browser, with_corp: Registry, corp: RunningProvider
) -> None:
    said = {"preferred_username": "Carol.Example", "groups": ["Developers (EU)", "other"]}
    corp.knows({"u-1": said})
    sign_in_with_corp(page, with_corp, "u-1")
    page.wait_for("You are signed in as carol-example through Example Corp")
    assert page.path == "/-/ui/"
    assert teams_of(with_corp, "carol-example") == ["acme/devs"]
    corp.knows({"u-1": {**said, "groups": "ops"}})
    page.press("Sign out")
    page.press("Sign in with Example Corp")  # the provider still knows the browser
    page.wait_for("You are signed in as carol-example")
    assert teams_of(with_corp, "carol-example") == ["acme/ops"]


def test_an_account_is_linked_by_command_only_and_never_by_its_name(
    page: Browser,
    with_guests: Registry,
    corp: RunningProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider's word that somebody is `alice` makes nobody alice; a public client, ES256."""
    corp.knows({"u-2": {"preferred_username": "alice", "email": "alice@example.com"}})
    sign_in_with_corp(page, with_guests, "u-2")
    page.wait_for("no account here is linked to that identity")
    assert f"packhouse user link NAME {corp.issuer} u-2" in page.text
    monkeypatch.setenv("PACKHOUSE_OPENID", json.dumps(guests(corp)))
    with_guests.admin("user", "link", "alice", corp.issuer, "u-2")
    page.open(f"{with_guests.url}/-/ui/")
    page.press("Sign in with Example Corp")
    page.wait_for("You are signed in as alice through Example Corp")
    listed = json.loads(with_guests.admin("user", "identities", "alice", "--json"))
    assert [(it["issuer"], it["subject"]) for it in listed] == [(corp.issuer, "u-2")]
    with_guests.admin("user", "unlink", "alice", corp.issuer, "u-2")
    page.open(f"{with_guests.url}/-/ui/")
    assert page.path == "/-/ui/sign-in"


def test_a_disabled_account_stays_disabled(
    page: Browser, with_corp: Registry, corp: RunningProvider
) -> None:
    corp.knows({"u-3": {"preferred_username": "dave"}})
    sign_in_with_corp(page, with_corp, "u-3")
    page.wait_for("You are signed in as dave")
    with_corp.admin("user", "disable", "dave")
    page.open(f"{with_corp.url}/-/ui/")
    assert page.path == "/-/ui/sign-in"
    page.press("Sign in with Example Corp")
    page.wait_for("this account is disabled")
    with_corp.admin("user", "enable", "dave")
    page.open(f"{with_corp.url}/-/ui/")
    assert page.path == "/-/ui/sign-in", "an old session does not come back"


def test_a_provider_that_is_gone_leaves_the_password(page: Browser, with_corp: Registry) -> None:
    page.open(f"{with_corp.url}/-/ui/")
    page.press("Sign in with gone")
    assert "gone does not answer: try again later, or sign in with a password" in page.text
    sign_in(page, with_corp)
    assert "You are signed in as alice" in page.text


def test_who_presses_cancel_at_the_provider_is_told_so(page: Browser, with_corp: Registry) -> None:
    page.open(f"{with_corp.url}/-/ui/")
    page.press("Sign in with Example Corp")
    page.wait_for("Sign-in")
    page.follow("[ Cancel ]")
    page.wait_for("Example Corp did not sign you in (access_denied)")


def test_a_provider_is_the_way_to_the_page_that_one_came_for(
    page: Browser, with_corp: Registry, corp: RunningProvider
) -> None:
    corp.knows({"u-4": {"preferred_username": "erin"}})
    begun = httpx.post(f"{with_corp.url}/-/ui/logins").json()
    page.open(begun["loginUrl"])
    page.press("Sign in with Example Corp")
    page.wait_for("Sign-in")
    page.fill_field("login", "u-4")
    page.fill_field("password", "any")
    page.press("Sign-in")
    page.wait_for("Is this your login?")
    assert begun["code"] in page.text


# Logins of clients


def test_a_client_gets_its_token_once_somebody_has_confirmed(
    page: Browser, registry: Registry
) -> None:
    agent = {"User-Agent": "npm/11.6.2 node/v24.19.0 linux x64"}
    begun = httpx.post(f"{registry.url}/-/ui/logins", headers=agent).json()
    waiting = httpx.get(begun["doneUrl"])
    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "2")
    page.open(begun["loginUrl"])
    page.fill("User name", registry.user)
    page.fill("Password", registry.password)
    page.press("Sign in")
    for words in (begun["code"], registry.user, "npm/11.6.2", "may read and write"):
        assert words in page.text
    page.press("Confirm")
    assert "Go back to your client" in page.text
    done = httpx.get(begun["doneUrl"])
    token = done.json()["token"]
    with registry.http("x", token) as http:
        assert http.get("/token").status_code == 200
    assert httpx.get(begun["doneUrl"]).status_code == 410
    page.open(begun["loginUrl"])
    assert "has been decided on already" in page.text
    page.open(f"{registry.url}/-/ui/")
    assert "web login: npm/11.6.2" in page.text
    page.press("Revoke")
    with registry.http("x", token) as http:
        assert http.get("/token").status_code == 401


def test_a_client_that_is_denied_gets_none(page: Browser, registry: Registry) -> None:
    begun = httpx.post(f"{registry.url}/-/ui/logins").json()
    sign_in(page, registry)
    page.open(begun["loginUrl"])
    page.press("Deny")
    assert "The client gets no token" in page.text
    assert httpx.get(begun["doneUrl"]).status_code == 410


@pytest.mark.parametrize("path", ["/-/ui/", "/-/ui/sign-in"])
def test_a_page_is_read_without_scrolling_sideways_on_a_small_screen(
    page: Browser, registry: Registry, path: str
) -> None:
    if path == "/-/ui/":
        sign_in(page, registry)
    page.open(registry.url + path)
    page.resize(320)
    widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wanted, given = page.driver.execute_script(widths)
    assert wanted <= given
