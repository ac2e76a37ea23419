"""npm 11 from a package's first version to its last: view, tags, deprecation, removal."""

import json
from pathlib import Path

import pytest

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    return npm.home(tmp_path / "alice", registry, registry.token)


def publish(run: Shell, at: Path, name: str, version: str, *options: str) -> str:
    return run("npm", "publish", *options, cwd=npm.package(at, name, version))


def view(run: Shell, name: str, *fields: str) -> object:
    return json.loads(run("npm", "view", name, *fields, "--json", "--prefer-online"))


def test_view_shows_what_was_published(
    alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    about = {
        "description": "pads strings",
        "keywords": ["left", "right"],
        "engines": {"node": ">=18"},
        "x-custom": {"numbers": [1.0, 1e3]},
    }
    source = npm.package(tmp_path / "pad", pad, **about)
    (source / "README.md").write_text("# pad\n")
    alice("npm", "publish", cwd=source)
    found = json.loads(alice("npm", "view", pad, "--json"))
    assert {name: found[name] for name in about} == about
    assert found["dist-tags"] == {"latest": "1.0.0"}
    assert found["_npmUser"] == {"name": registry.user, "email": ""}
    assert found["maintainers"] == [{"name": "acme", "email": ""}]
    assert {"created", "modified", "1.0.0"} == set(found["time"])
    assert "published" in alice("npm", "view", pad)


def test_tags_are_added_listed_and_removed(alice: Shell, pad: str, tmp_path: Path) -> None:
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    publish(alice, tmp_path / "pad", pad, "2.0.0-rc.1", "--tag", "next")
    alice("npm", "dist-tag", "add", f"{pad}@1.0.0", "stable")
    listed = alice("npm", "dist-tag", "ls", pad).splitlines()
    assert sorted(listed) == ["latest: 1.0.0", "next: 2.0.0-rc.1", "stable: 1.0.0"]
    alice("npm", "dist-tag", "add", f"{pad}@2.0.0-rc.1", "latest")
    alice("npm", "dist-tag", "rm", pad, "stable")
    assert view(alice, pad, "dist-tags") == {"latest": "2.0.0-rc.1", "next": "2.0.0-rc.1"}
    assert view(alice, f"{pad}@next", "version") == "2.0.0-rc.1"


def test_the_tag_of_the_newest_cannot_be_removed(alice: Shell, pad: str, tmp_path: Path) -> None:
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    assert "latest" in alice.fails("npm", "dist-tag", "rm", pad, "latest")
    assert view(alice, pad, "dist-tags") == {"latest": "1.0.0"}


def test_a_version_is_deprecated_and_no_longer(alice: Shell, pad: str, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        publish(alice, tmp_path / "pad", pad, version)
    alice("npm", "deprecate", f"{pad}@1", "use 2, please")
    assert view(alice, f"{pad}@1.1.0", "deprecated") == "use 2, please"
    app = npm.project(tmp_path / "app")
    done = alice.run("npm", "install", f"{pad}@1.0.0", cwd=app)
    assert f"npm warn deprecated {pad}@1.0.0: use 2, please" in done.stderr
    assert "warn deprecated" not in alice.run("npm", "install", f"{pad}@2", cwd=app).stderr
    alice("npm", "undeprecate", f"{pad}@1.0.0")
    assert alice("npm", "view", f"{pad}@1.0.0", "deprecated") == ""
    assert view(alice, f"{pad}@1.1.0", "deprecated") == "use 2, please"


def test_a_version_is_removed_and_its_number_is_burnt(
    alice: Shell, pad: str, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.1.0"):
        publish(alice, tmp_path / "pad", pad, version)
    assert f"- {pad}@1.1.0" in alice("npm", "unpublish", f"{pad}@1.1.0")
    assert view(alice, pad, "versions") == ["1.0.0"]
    assert view(alice, pad, "dist-tags") == {"latest": "1.0.0"}
    said = alice.fails("npm", "publish", cwd=npm.package(tmp_path / "pad", pad, "1.1.0"))
    assert "1.1.0" in said
    assert "deleted" in said
    publish(alice, tmp_path / "pad", pad, "1.1.1")
    assert view(alice, pad, "versions") == ["1.0.0", "1.1.1"]


def test_a_package_is_removed_and_restored(
    alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    publish(alice, tmp_path / "pad", pad, "1.1.0")
    alice("npm", "deprecate", f"{pad}@1.0.0", "too old")
    assert f"- {pad}" in alice("npm", "unpublish", pad, "--force")
    assert "E404" in alice.fails("npm", "view", pad, "--prefer-online")
    registry.admin("package", "restore", pad.replace("@acme/", "acme/npm/"))
    assert view(alice, pad, "versions") == ["1.0.0", "1.1.0"]
    assert view(alice, f"{pad}@1.0.0", "deprecated") == "too old"


def test_a_version_is_published_once(alice: Shell, pad: str, tmp_path: Path) -> None:
    """npm looks first; a client that does not is told by the registry."""
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    said = alice.fails("npm", "publish", cwd=tmp_path / "pad")
    assert "cannot publish over the previously published versions: 1.0.0" in said
    other = npm.package(tmp_path / "pad", pad, "1.0.0", description="other bytes")
    said = alice.fails("yarn", "publish", "--non-interactive", cwd=other)
    assert "1.0.0" in said
    assert "description" not in json.dumps(view(alice, pad))


def test_nothing_to_warn_of_is_found_by_audit(alice: Shell, pad: str, tmp_path: Path) -> None:
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    app = npm.project(tmp_path / "app", **{pad: "1.0.0"})
    assert "found 0 vulnerabilities" in alice("npm", "install", cwd=app)
    assert "found 0 vulnerabilities" in alice("npm", "audit", cwd=app)


def test_what_is_newer_is_found_by_outdated_and_update(
    alice: Shell, pad: str, tmp_path: Path
) -> None:
    publish(alice, tmp_path / "pad", pad, "1.0.0")
    app = npm.project(tmp_path / "app", **{pad: "^1.0.0"})
    alice("npm", "install", cwd=app)
    publish(alice, tmp_path / "pad", pad, "1.4.0")
    assert "1.4.0" in alice.fails("npm", "outdated", cwd=app)
    alice("npm", "update", cwd=app)
    assert npm.says(alice, app, pad) == "1.4.0"


def test_workspaces_are_published_together(alice: Shell, pad: str, tmp_path: Path) -> None:
    root = npm.package(tmp_path / "root", "root", private=True, workspaces=["packages/*"])
    for name in ("one", "two"):
        npm.package(root / "packages" / name, f"{pad}-{name}")
    alice("npm", "publish", "--workspaces", cwd=root)
    assert [view(alice, f"{pad}-{name}", "version") for name in ("one", "two")] == ["1.0.0"] * 2
