"""GitHub's own client, unmodified, against /api/v3: every method it has for packages."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import images, npm
from tests.clients.server import Registry
from tests.clients.shell import Shell, client
from tests.registry.github.asking import VALIDATORS

DRIVER = Path(__file__).with_name("octokit.mjs")
DOCUMENTATION = " - https://docs.github.com/rest/packages/packages"
DOORS = {"org": {"org": "octo"}, "user": {"username": "olive"}, "own": {}}
OWNERS = {"org": "octo", "user": "olive", "own": "olive"}
METHODS = {
    "list": ("listPackagesForOrganization", "listPackagesForUser"),
    "get": ("getPackageForOrganization", "getPackageForUser"),
    "delete": ("deletePackageForOrg", "deletePackageForUser"),
    "restore": ("restorePackageForOrg", "restorePackageForUser"),
    "versions": (
        "getAllPackageVersionsForPackageOwnedByOrg",
        "getAllPackageVersionsForPackageOwnedByUser",
    ),
    "version": ("getPackageVersionForOrganization", "getPackageVersionForUser"),
    "delete version": ("deletePackageVersionForOrg", "deletePackageVersionForUser"),
    "restore version": ("restorePackageVersionForOrg", "restorePackageVersionForUser"),
    "conflicts": (
        "listDockerMigrationConflictingPackagesForOrganization",
        "listDockerMigrationConflictingPackagesForUser",
    ),
}
OLD_NAMES = {
    "getAllPackageVersionsForAPackageOwnedByAnOrg",
    "getAllPackageVersionsForAPackageOwnedByTheAuthenticatedUser",
}


def method(what: str, door: str) -> str:
    """octokit's name for something at a door."""
    of_org, of_user = METHODS[what]
    if door == "org":
        return of_org
    return of_user if door == "user" else of_user.replace("User", "AuthenticatedUser")


Answer = dict[str, Any]
"""What a call gave: its value, or the status and the message of what it threw."""


class Driver:
    """A node with octokit in it, which makes the calls it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, **call: object) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer: Answer = json.loads(self._process.stdout.readline())
        return answer


@dataclass(frozen=True, slots=True)
class Octokit:
    """Somebody with a token, or nobody, who calls octokit."""

    driver: Driver
    token: str = ""

    def answer(self, method: str, **parameters: object) -> Answer:
        """Make a call, of `packages` unless it names another group."""
        name = method if "." in method else f"packages.{method}"
        return self.driver(token=self.token, method=name, parameters=parameters)

    def __call__(self, method: str, **parameters: object) -> Any:
        """Make a call that must succeed."""
        answer = self.answer(method, **parameters)
        assert "value" in answer, answer
        return answer["value"]

    def pages(self, method: str, **parameters: object) -> Any:
        """Make one for each page."""
        call = {"method": f"packages.{method}", "parameters": parameters, "pages": True}
        return self.driver(token=self.token, **call)["value"]

    def refused(self, method: str, **parameters: object) -> tuple[int, str]:
        """Make one that must fail; return the status, and what octokit tells its user."""
        answer = self.answer(method, **parameters)
        assert "value" not in answer, answer
        return answer["status"], answer["message"]


@dataclass(frozen=True, slots=True)
class People:
    """The tokens of those who have a place at the organization octo; olive owns it."""

    olive: str
    rita: str
    strange: str


@pytest.fixture(scope="module")
def people(registry: Registry) -> People:
    tokens = {}
    for name in ("olive", "rita", "strange"):
        registry.admin("user", "create", name, "--password-stdin", stdin=f"{name} has a password")
        scopes = ("--scope", "read,write,delete")
        tokens[name] = registry.admin("token", "create", "--user", name, *scopes)
    registry.admin("org", "create", "octo")
    registry.admin("grant", "octo", "olive", "admin")
    registry.admin("grant", "octo", "rita", "read")
    return People(**tokens)


@pytest.fixture(scope="module")
def driver(registry: Registry) -> Iterator[Driver]:
    module, url = client("octokit").resolve(), f"{registry.url}/api/v3"
    with subprocess.Popen(
        [client("node"), DRIVER, module, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        yield Driver(process)


@pytest.fixture
def olive(driver: Driver, people: People) -> Octokit:
    return Octokit(driver, people.olive)


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Pushed:
    """Pushes images with crane; no two tests push to the same repository."""

    def __init__(self, run: Shell, registry: Registry, home: Path) -> None:
        self._run = run
        self._registry = registry
        self._home = home

    def __call__(self, repository: str, *tags: str, visibility: str = "private") -> list[str]:
        """Push an image for each tag; return their digests."""
        digests = []
        for number, tag in enumerate(tags):
            layout = self._home / repository.replace("/", "-") / tag
            made = images.image_layout(layout, layers=(number,))
            self._run("crane", "push", layout, f"{self._registry.host}/{repository}:{tag}")
            digests.append(made["digest"])
        if visibility != "private":
            self._registry.admin("package", "visibility", repository, visibility)
        return digests


@pytest.fixture
def push(run: Shell, registry: Registry, people: People, tmp_path: Path) -> Pushed:
    words = ("auth", "login", "-u", "olive", "--password-stdin", registry.host)
    run("crane", *words, stdin=people.olive)
    return Pushed(run, registry, tmp_path)


def named(found: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Those of the packages that this test pushed."""
    check("package", *found)
    return [one for one in found if one["name"].startswith(prefix)]


def check(schema: str, *items: Any) -> None:
    for item in items:
        VALIDATORS[schema].validate(item)


def test_these_are_all_methods_that_octokit_has(olive: Octokit) -> None:
    called = {method(what, door) for what in METHODS for door in DOORS}
    assert called | OLD_NAMES == set(olive.driver(method="methods")["value"])


def test_packages_are_found_deleted_and_restored(olive: Octokit, push: Pushed, door: str) -> None:
    owner, place, first, second = OWNERS[door], DOORS[door], f"{door}-one", f"{door}-two/deep"
    push(f"{owner}/{first}", "v1")
    push(f"{owner}/{second}", "v1", visibility="public")
    found = named(olive(method("list", door), package_type="container", **place), door)
    assert [one["name"] for one in found] == [first, second]
    assert [one["owner"]["login"] for one in found] == [owner, owner]
    deep = {"package_type": "container", "package_name": second, **place}
    assert olive(method("get", door), **deep) == found[1]
    public = olive(method("list", door), package_type="container", visibility="public", **place)
    assert named(public, door) == found[1:]
    assert olive(method("delete", door), **deep) == 204
    said = f"there is no package {owner}/{second}{DOCUMENTATION}"
    assert olive.refused(method("get", door), **deep) == (404, said)
    assert olive(method("restore", door), **deep) == 204
    assert olive(method("get", door), **deep)["id"] == found[1]["id"]
    assert olive(method("conflicts", door), **place) == []
    assert olive(method("list", door), package_type="npm", **place) == []


def test_versions_are_found_deleted_and_restored(olive: Octokit, push: Pushed, door: str) -> None:
    owner, place, name = OWNERS[door], DOORS[door], f"{door}-versions"
    first, second = push(f"{owner}/{name}", "v1", "v2")
    app = {"package_type": "container", "package_name": name, **place}
    found = olive(method("versions", door), **app)
    check("package-version", *found)
    assert tagged(found) == [(second, ["v2"]), (first, ["v1"])]
    version = found[1]["id"]
    old = {**app, "package_version_id": version}
    assert olive(method("version", door), **old) == found[1]
    assert olive(method("delete version", door), **old) == 204
    assert olive(method("versions", door), **app) == found[:1]
    (deleted,) = olive(method("versions", door), state="deleted", **app)
    check("package-version", deleted)
    assert (deleted["id"], deleted["deleted_at"][-1]) == (version, "Z")
    said = f"{owner}/{name} has no version with the id {version}{DOCUMENTATION}"
    assert olive.refused(method("version", door), **old) == (404, said)
    assert olive.refused(method("delete version", door), **old) == (404, said)
    assert olive(method("restore version", door), **old) == 204
    assert tagged(olive(method("versions", door), **app)) == tagged(found)
    said = f"{owner}/{name} has no deleted version with the id {version}{DOCUMENTATION}"
    assert olive.refused(method("restore version", door), **old) == (404, said)


def tagged(versions: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(one["name"], one["metadata"]["container"]["tags"]) for one in versions]


def test_octokit_goes_from_page_to_page(olive: Octokit, push: Pushed) -> None:
    digests = push("octo/many", *[f"v{number}" for number in range(5)])
    push("octo/many-more", "v1")
    push("olive/many", "v1")
    many = {"package_type": "container", "package_name": "many"}
    every = {**many, "org": "octo", "per_page": 2}
    found = olive.pages(method("versions", "org"), **every)
    assert [one["name"] for one in found] == digests[::-1]
    listed = {"package_type": "container", "org": "octo", "per_page": 1}
    packages = named(olive.pages(method("list", "org"), **listed), "many")
    counts = [(one["name"], one["version_count"]) for one in packages]
    assert counts == [("many", 5), ("many-more", 1)]
    of_org, own = sorted(OLD_NAMES)
    assert (len(olive(of_org, org="octo", **many)), len(olive(own, **many))) == (5, 1)


def test_a_name_with_slashes_is_not_the_end_of_another_s_path(olive: Octokit, push: Pushed) -> None:
    push("octo/x", "v1")
    push("octo/x/versions", "v1", "v2")
    inner = {"package_type": "container", "package_name": "x/versions", "org": "octo"}
    outer = {"package_type": "container", "package_name": "x", "org": "octo"}
    assert len(olive(method("versions", "org"), **outer)) == 1
    assert len(olive(method("versions", "org"), **inner)) == 2
    assert olive(method("delete", "org"), **inner) == 204
    assert olive(method("get", "org"), **outer)["version_count"] == 1
    assert olive(method("restore", "org"), **inner) == 204
    assert olive(method("get", "org"), **inner)["version_count"] == 2


SEEN = {
    "olive": {"private", "internal", "public"},
    "rita": {"private", "internal", "public"},
    "strange": {"internal", "public"},
    "": {"public"},
}


def test_each_sees_what_is_for_him_and_is_told_what_is_not(
    olive: Octokit, push: Pushed, people: People
) -> None:
    for visibility in ("private", "internal", "public"):
        push(f"octo/for-{visibility}", "v1", visibility=visibility)
    for name, seen in SEEN.items():
        token = getattr(people, name) if name else ""
        somebody = Octokit(olive.driver, token)
        listed = somebody(method("list", "org"), org="octo", package_type="container")
        shown = {one["name"] for one in named(listed, "for-")}
        assert shown == {f"for-{visibility}" for visibility in seen}
        for visibility in ("private", "internal", "public"):
            asked = {
                "org": "octo",
                "package_type": "container",
                "package_name": f"for-{visibility}",
            }
            if visibility in seen:
                assert somebody(method("get", "org"), **asked)["visibility"] == visibility
                assert len(somebody(method("versions", "org"), **asked)) == 1
            else:
                said = (
                    404,
                    f"repository octo/for-{visibility} is not known, or you may not see it",
                )
                if not name:
                    said = (401, f"sign in to pull octo/for-{visibility}")
                expected = (said[0], said[1] + DOCUMENTATION)
                assert somebody.refused(method("get", "org"), **asked) == expected
                assert somebody.refused(method("versions", "org"), **asked) == expected
            if name != "olive":
                status, message = somebody.refused(method("delete", "org"), **asked)
                assert message.endswith(DOCUMENTATION)
                told = (
                    f"{name} may not delete octo/for-{visibility}: "
                    if name
                    else "sign in to delete"
                )
                assert (status, message.startswith(told)) == (403 if name else 401, True)


def test_what_octokit_asks_about_accounts(olive: Octokit, registry: Registry) -> None:
    caller = olive("users.getAuthenticated")
    check("public-user", caller)
    assert (caller["login"], caller["type"]) == ("olive", "User")
    assert olive("users.getByUsername", username="olive") == caller
    organization = olive("orgs.get", org="octo")
    check("organization-full", organization)
    assert organization["login"] == "octo"
    assert olive("meta.root")["current_user_url"] == f"{registry.url}/api/v3/user"
    nobody = Octokit(olive.driver)
    for asked, parameters, status, said in (
        ("users.getAuthenticated", {}, 401, "sign in with a token"),
        ("listPackagesForAuthenticatedUser", {"package_type": "container"}, 401, "sign in"),
        ("orgs.get", {"org": "none-such"}, 401, "sign in to see none-such"),
    ):
        answer = nobody.refused(asked, **parameters)
        assert (answer[0], answer[1].startswith(said)) == (status, True)
    wrong = Octokit(olive.driver, "phu_wrong").refused("users.getAuthenticated")
    assert wrong == (401, f"wrong user name, password or token{DOCUMENTATION}")


def test_packages_of_npm_have_their_own_names(
    olive: Octokit, people: People, registry: Registry, door: str, tmp_path: Path
) -> None:
    """And are deleted and restored for npm, as a whole and by version; the command line agrees."""
    owner, place, name = OWNERS[door], DOORS[door], f"{door}-pad"
    package, home = f"@{owner}/{name}", npm.home(tmp_path / "home", registry, people.olive)
    for version in ("1.0.0", "1.0.1"):
        home("npm", "publish", cwd=npm.package(tmp_path / "pad", package, version))

    def seen() -> object:
        if "E404" in (said := home.run("npm", "view", package, "versions", "--json").stdout):
            return "E404"
        return json.loads(said)

    (found,) = named(olive(method("list", door), package_type="npm", **place), name)
    assert (found["name"], found["package_type"], found["version_count"]) == (name, "npm", 2)
    pad = {"package_type": "npm", "package_name": name, **place}
    versions = olive(method("versions", door), **pad)
    check("package-version", *versions)
    assert [version["name"] for version in versions] == ["1.0.1", "1.0.0"]
    newest = {**pad, "package_version_id": versions[0]["id"]}
    assert olive(method("delete version", door), **newest) == 204
    assert seen() in ("1.0.0", ["1.0.0"])
    assert olive(method("restore version", door), **newest) == 204
    assert seen() == ["1.0.0", "1.0.1"]
    assert olive(method("delete", door), **pad) == 204
    assert seen() == "E404"
    assert olive(method("restore", door), **pad) == 204
    assert seen() == ["1.0.0", "1.0.1"]
    repository = f"{owner}/npm/{name}"
    listed = json.loads(registry.admin("package", "list", "--format", "npm", "--json"))
    assert {each["name"] for each in listed if each["repository"] == repository} == {package}
    shown = json.loads(registry.admin("package", "show", repository, "--json"))
    assert (shown["name"], shown["format"]) == (package, "npm")
    held = json.loads(registry.admin("package", "versions", repository, "--json"))
    assert [(each["version"], each["tags"]) for each in held] == [
        ("1.0.1", "1.0.1,latest"),
        ("1.0.0", "1.0.0"),
    ]
