"""What npm 11 prints to whoever installs and publishes: with each kind of token, and without any.

npm shows a 401 in words of its own; the registry's reach people as a notice.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell

INVALID = "Unable to authenticate, your authentication token seems to be invalid."


@dataclass(frozen=True, slots=True)
class Case:
    """Somebody who comes; `installs` and `publishes` are what he must be shown."""

    token: str
    installs: tuple[str, ...]
    publishes: tuple[str, ...]
    public: bool = False


def refused(notice: str) -> tuple[str, ...]:
    return (f"npm notice {notice}", "npm error code E401", f"npm error {INVALID}", "npm login")


ADDED = ("added 1 package, and audited 2 packages in",)
NOBODY = (
    "npm error code ENEEDAUTH",
    "npm error need auth This command requires you to be logged in to {url}/npm/",
    "npm error need auth You need to authorize this machine using `npm adduser`",
)
READER = (
    "npm error code E403",
    "npm error 403 403 Forbidden - PUT {url}/npm/@{owner}%2fpad - alice may not push",
    "the token needs the scope 'write'",
)
ASKED = "sign in with a token to see the npm packages of {owner}"
WRONG, EXPIRED = refused("wrong user name, password or token"), refused("this token has expired")

CASES = {
    "private with a token": Case("good", ADDED, ("+ @{owner}/pad@1.0.1",)),
    "private without any": Case("", refused(ASKED), NOBODY),
    "public without any": Case("", ADDED, NOBODY, public=True),
    "private with a read-only token": Case("read", ADDED, READER),
    "private with a wrong token": Case("wrong", WRONG, WRONG),
    "private with an expired token": Case("expired", EXPIRED, EXPIRED),
    "public with a wrong token": Case("wrong", WRONG, WRONG, public=True),
    "public with an expired token": Case("expired", EXPIRED, EXPIRED, public=True),
}


@pytest.mark.parametrize("name", CASES)
def test_npm_says_what_is_wrong_and_what_to_do(
    registry: Registry, dead_tokens: dict[str, str], owner: str, tmp_path: Path, name: str
) -> None:
    alice = npm.home(tmp_path / "alice", registry, registry.token)
    source = npm.package(tmp_path / "pad", f"@{owner}/pad")
    alice("npm", "publish", cwd=source)
    case = CASES[name]
    if case.public:
        registry.admin("package", "visibility", f"{owner}/npm/pad", "public")
    token = token_of(case, registry, dead_tokens)
    somebody = npm.home(tmp_path / "somebody", registry, token)
    values = {"url": registry.url, "owner": owner}

    app = npm.project(tmp_path / "app")
    lines = [line.format(**values) for line in case.installs]
    check(somebody, lines, case.installs is ADDED, "install", f"@{owner}/pad", cwd=app)
    again = npm.package(source, f"@{owner}/pad", "1.0.1")
    lines = [line.format(**values) for line in case.publishes]
    check(somebody, lines, case.token == "good", "publish", cwd=again)


def token_of(case: Case, registry: Registry, dead_tokens: dict[str, str]) -> str:
    if case.token == "read":
        return registry.admin("token", "create", "--user", registry.user, "--scope", "read")
    expired = dead_tokens["this token has expired"]
    return {"": "", "good": registry.token, "wrong": "phu_no", "expired": expired}[case.token]


def check(run: Shell, lines: list[str], well: bool, *command: str, cwd: Path) -> None:
    """Run npm, and look for each text in a line that it printed."""
    done = run.run("npm", *command, cwd=cwd)
    assert (done.returncode == 0) == well, run.story(done)
    printed = (done.stdout + done.stderr).splitlines()
    for line in lines:
        assert [each for each in printed if line in each], (line, run.story(done))
