"""npm 11 and who one is: signing in, tokens, owners, access, organizations, teams, search."""

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell, client
from tests.registry.person import forms
from tests.registry.terminal import Terminal

LOGIN_URL = re.compile(r"http://\S+/-/ui/confirm\?login=\S+")


@pytest.fixture
def nobody(tmp_path: Path, registry: Registry) -> Shell:
    """A home without a token."""
    return npm.home(tmp_path / "home", registry)


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    """Somebody who administers acme, with a token that may do all that she may."""
    scope = ("--scope", "read,write,delete,admin")
    token = registry.admin("token", "create", "--user", registry.user, *scope)
    return npm.home(tmp_path / "alice", registry, token)


@pytest.fixture
def published(alice: Shell, pad: str, tmp_path: Path) -> str:
    """A package of acme that alice published."""
    about = {"description": "Pads what is short", "keywords": ["padding"]}
    alice("npm", "publish", cwd=npm.package(tmp_path / "source", pad, **about))
    return pad


@pytest.fixture
def carol(registry: Registry, pad: str) -> str:
    """A user that only this test knows."""
    name = f"u{abs(hash(pad)):x}"[:20]
    registry.admin("user", "create", name, "--password-stdin", stdin="carol-has-a-password")
    return name


def terminal(shell: Shell, *arguments: str) -> Terminal:
    return Terminal([client("npm"), *arguments], cwd=shell.home, **shell.env)


def log_in(shell: Shell, name: str, password: str, *, command: str = "login") -> str:
    """Type a name and a password; return what npm says."""
    with terminal(shell, command, "--auth-type=legacy") as npm_login:
        npm_login.wait_for("Username:")
        npm_login.press(f"{name}\n".encode())
        npm_login.wait_for("Password:")
        npm_login.press(f"{password}\n".encode())
        if command == "adduser":
            npm_login.wait_for("Email")
            npm_login.press(b"somebody@example.org\n")
        npm_login.end()
        return npm_login.text


def confirm(registry: Registry, url: str) -> str:
    """Sign in as alice in a browser, open a login's page, and confirm; return the page's text."""
    sent = {"Origin": registry.url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=registry.url, follow_redirects=True, timeout=60) as browser:
        [form] = forms(browser.get("/-/ui/sign-in").text, "/-/ui/sign-in")
        person = {"name": registry.user, "password": registry.password}
        browser.post(form.action, data={**form.fields, **person}, headers=sent).raise_for_status()
        page = browser.get(url).text
        form = next(f for f in forms(page, "/-/ui/confirm") if f.fields["decision"] == "confirm")
        browser.post(form.action, data=form.fields, headers=sent).raise_for_status()
        return page


# Signing in and out


def test_a_registry_answers_a_ping(nobody: Shell) -> None:
    answered = nobody.run("npm", "ping")
    assert answered.returncode == 0
    assert "PONG" in answered.stderr


def test_a_name_and_a_password_sign_in_and_logout_ends_that(
    nobody: Shell, registry: Registry
) -> None:
    assert f"Logged in on {registry.url}/npm/." in log_in(nobody, registry.user, registry.password)
    assert nobody("npm", "whoami").strip() == registry.user
    found = re.search(r":_authToken=(phu_\w+)", (nobody.home / ".npmrc").read_text())
    assert found is not None
    nobody("npm", "logout")
    with registry.http("x", found[1]) as http:
        assert http.get("/token").status_code == 401
    assert found[1] not in registry.log.read_text(errors="replace")
    assert "need auth" in nobody.fails("npm", "whoami")


def test_a_wrong_password_is_said_to_be_one(nobody: Shell, registry: Registry) -> None:
    said = log_in(nobody, registry.user, "not her password")
    assert "Incorrect or missing password" in said
    assert "_authToken" not in (nobody.home / ".npmrc").read_text()


def test_an_account_is_made_by_an_administrator(nobody: Shell, registry: Registry) -> None:
    said = log_in(nobody, "somebody-new", "a password of mine", command="adduser")
    assert "accounts are made by an administrator of this site" in said
    assert "packhouse user create" in said


def test_adduser_signs_in_who_has_an_account(nobody: Shell, registry: Registry) -> None:
    said = log_in(nobody, registry.user, registry.password, command="adduser")
    assert f"Logged in on {registry.url}/npm/." in said


@pytest.mark.parametrize("stale", ["", "phu_stale"])
def test_a_browser_signs_in(nobody: Shell, registry: Registry, stale: str, tmp_path: Path) -> None:
    shell = npm.home(tmp_path / "web", registry, stale)
    with terminal(shell, "login") as npm_login:
        npm_login.wait_for("Press ENTER")
        found = LOGIN_URL.search(npm_login.text)
        assert found is not None, npm_login.text
        page = confirm(registry, found[0])
        npm_login.wait_for("Logged in on")
        assert npm_login.end() == 0
    assert "npm/" in page
    assert shell("npm", "whoami").strip() == registry.user


def test_a_token_that_ended_is_named(
    registry: Registry, dead_tokens: dict[str, str], tmp_path: Path
) -> None:
    for said, token in dead_tokens.items():
        shell = npm.home(tmp_path / "home", registry, token)
        assert said in shell.fails("npm", "whoami")


# One's account


def test_a_profile_is_shown_and_changed_elsewhere(alice: Shell, registry: Registry) -> None:
    profile = json.loads(alice("npm", "profile", "get", "--json"))
    assert (profile["name"], profile["tfa"]) == (registry.user, False)
    shown = alice("npm", "profile", "get")
    assert f"name: {registry.user}" in shown
    assert "two-factor auth: disabled" in shown
    said = alice.fails("npm", "profile", "set", "fullname", "Alice Liddell")
    assert "no profile to fill in" in said
    assert "not enabled" in alice("npm", "profile", "disable-2fa")


def test_tokens_are_made_listed_and_ended(alice: Shell, registry: Registry) -> None:
    options = ("--password", registry.password, "--expires=7", "--json")
    made = json.loads(alice("npm", "token", "create", "--name=build", *options))
    assert made["token"].startswith("phu_")
    with registry.http("x", made["token"]) as http:
        assert http.get("/token").status_code == 200
    listed = json.loads(alice("npm", "token", "list", "--json"))
    [key] = [each["key"] for each in listed if each["name"] == "build"]
    assert f"with id {key} name build" in alice("npm", "token", "list")
    assert "Removed 1 token" in alice("npm", "token", "revoke", key)
    with registry.http("x", made["token"]) as http:
        assert http.get("/token").status_code == 401
    again = json.loads(alice("npm", "token", "create", "--name=build", *options))["token"]
    assert "Removed 1 token" in alice("npm", "token", "revoke", again)
    assert again not in registry.log.read_text(errors="replace")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--password=not-hers"], "Incorrect or missing password"),
        (["--cidr=10.0.0.0/8"], "tokens here are not bound to addresses"),
        (["--orgs=acme", "--orgs-permission=read-write"], "administers no organization"),
        (["--packages=@acme/there-is-none"], "acme/npm/there-is-none"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    alice: Shell, registry: Registry, options: list[str], said: str
) -> None:
    asked = ("--name=never", f"--password={registry.password}", *options)
    assert said in alice.fails("npm", "token", "create", *asked)


def test_a_token_limited_to_a_package_installs_that_alone(
    alice: Shell, registry: Registry, published: str, tmp_path: Path
) -> None:
    limits = (f"--packages={published}", "--packages-and-scopes-permission=read-only")
    options = ("--name=ci", f"--password={registry.password}", *limits, "--json")
    token = json.loads(alice("npm", "token", "create", *options))["token"]
    build = npm.home(tmp_path / "build", registry, token)
    assert build("npm", "view", published, "version").strip() == "1.0.0"
    source = npm.package(tmp_path / "again", published, "1.0.1")
    assert "may not push" in build.fails("npm", "publish", cwd=source)


def test_a_login_of_npm_sees_no_tokens(registry: Registry, tmp_path: Path) -> None:
    shell = npm.home(tmp_path / "home", registry, registry.token)
    assert "this token lacks the scope 'admin'" in shell.fails("npm", "token", "list")


# Owners and access


def test_owners_are_listed_added_and_removed(
    alice: Shell, registry: Registry, published: str, carol: str
) -> None:
    assert "acme" in alice("npm", "owner", "ls", published)
    assert f"+ {carol} ({published})" in alice("npm", "owner", "add", carol, published)
    assert carol in alice("npm", "owner", "ls", published)
    assert f"- {carol} ({published})" in alice("npm", "owner", "rm", carol, published)
    assert carol not in alice("npm", "owner", "ls", published)
    assert "nobody-here" in alice.fails("npm", "owner", "add", "nobody-here", published)
    alice("npm", "owner", "add", carol, published)
    assert "owner for ever" in alice.fails("npm", "owner", "rm", "acme", published)


def test_access_is_shown_and_changed(
    alice: Shell, nobody: Shell, registry: Registry, published: str
) -> None:
    assert f"{published}: private" in alice("npm", "access", "get", "status", published)
    nobody.fails("npm", "view", published)
    changed = alice("npm", "access", "set", "status=public", published)
    assert f"{published}: public" in changed
    assert nobody("npm", "view", published, "version").strip() == "1.0.0"
    assert f"{published}: private" in alice("npm", "access", "set", "status=private", published)
    assert "no second factor" in alice.fails("npm", "access", "set", "mfa=publish", published)
    alice("npm", "access", "set", "mfa=none", published)
    bob = registry.admin("token", "create", "--user", registry.reader)
    reader = npm.home(nobody.home, registry, bob)
    assert "bob may not" in reader.fails("npm", "access", "set", "status=public", published)


def test_packages_and_collaborators_are_listed(
    alice: Shell, registry: Registry, published: str, carol: str
) -> None:
    assert f"{published}: read-write" in alice("npm", "access", "list", "packages", "acme")
    assert f"{published}: read-write" in alice("npm", "access", "list", "packages")
    alice("npm", "owner", "add", carol, published)
    listed = alice("npm", "access", "list", "collaborators", published)
    assert set(listed.split("\n")) >= {"acme: read-write", f"{carol}: read-write"}


def test_organizations_and_teams_are_run_by_npm(
    alice: Shell, registry: Registry, owner: str, carol: str, published: str
) -> None:
    assert f"{registry.user} - owner" in alice("npm", "org", "ls", owner)
    added = alice("npm", "org", "set", owner, carol, "developer")
    assert f"Added {carol} as developer to {owner}. You now have 2 members in this org." in added
    assert f"{carol} - developer" in alice("npm", "org", "ls", owner)
    assert "owners and developers" in alice.fails("npm", "org", "set", owner, carol, "admin")

    assert f"+@{owner}:core" in alice("npm", "team", "create", f"{owner}:core")
    assert f"@{owner}:core" in alice("npm", "team", "ls", owner)
    assert f"{carol} added to @{owner}:core" in alice("npm", "team", "add", f"{owner}:core", carol)
    assert carol in alice("npm", "team", "ls", f"{owner}:core")
    assert "no member" in alice.fails("npm", "team", "add", f"{owner}:core", registry.reader)
    removed = alice("npm", "team", "rm", f"{owner}:core", carol)
    assert f"{carol} removed from @{owner}:core" in removed

    given = ("access", "grant", "read-write", f"{owner}:core", published)
    alice("npm", *given)
    packages = alice("npm", "access", "list", "packages", f"{owner}:core")
    assert f"{published}: read-write" in packages
    assert f"-@{owner}:core" in alice("npm", "team", "destroy", f"{owner}:core")
    gone = alice("npm", "org", "rm", owner, carol)
    assert f"Successfully removed {carol} from {owner}. You now have 1 member in this org." in gone
    assert "owner" in alice.fails("npm", "org", "rm", owner, registry.user)


# What one finds


def test_a_search_finds_what_one_may_see(
    alice: Shell, nobody: Shell, registry: Registry, published: str
) -> None:
    words = published.partition("/")[2].replace("-", " ")
    found = alice("npm", "search", words)
    assert published in found
    assert "Pads what is short" in found
    assert "Version 1.0.0 published" in found
    assert f"by {registry.user}" in found
    assert "Maintainers: acme" in found
    assert "Keywords: padding" in found
    [one] = json.loads(alice("npm", "search", "--json", words))
    assert one["name"] == published
    assert "No matches found" in nobody("npm", "search", words)
    alice("npm", "access", "set", "status=public", published)
    assert published in nobody("npm", "search", words)


def test_an_audit_says_that_it_says_nothing(alice: Shell, published: str, tmp_path: Path) -> None:
    app = npm.project(tmp_path / "app")
    installed = alice.run("npm", "install", published, cwd=app)
    assert installed.returncode == 0
    assert "advisories" not in installed.stderr
    audited = alice.run("npm", "audit", cwd=app)
    assert audited.returncode == 0
    assert "found 0 vulnerabilities" in audited.stdout
    assert "this registry holds no advisories" in audited.stderr
    alice("pnpm", "install", cwd=app)
    assert "No known vulnerabilities found" in alice("pnpm", "audit", cwd=app)


def test_what_npm_can_ask_for_and_is_not_here_says_so(
    alice: Shell, published: str, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "next", published, "2.0.0")
    assert "not staged here" in alice.fails("npm", "stage", "publish", cwd=source)
    assert "nobody keeps stars" in alice.fails("npm", "stars")
    assert "give the build a token" in alice.fails("npm", "trust", "list", published)
