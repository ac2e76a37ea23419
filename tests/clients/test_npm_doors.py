"""One package through both doors: npm's, and the one of oras, cosign and skopeo."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients import npm
from tests.clients.copies import HTTP, below, publish, title
from tests.clients.server import Registry
from tests.clients.shell import Shell

PACKAGE = "application/vnd.packhouse.npm.package.v1"
CONFIG = "application/vnd.packhouse.npm.config.v1+json"
TARBALL = "application/vnd.packhouse.npm.package.v1.tar+gzip"
VERIFY = ("cosign", "verify", "--allow-http-registry", "--key", "cosign.pub")


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    """Alice with npm, and signed in for every client of the other door."""
    shell = npm.home(tmp_path / "alice", registry, registry.token)
    shell.remember(registry.host, registry.user, registry.token)
    return shell


@pytest.fixture
def repository(registry: Registry, pad: str) -> str:
    """The package as clients of the other door name it."""
    return f"{registry.host}/{below(pad)}"


def versions(run: Shell, name: str) -> list[str]:
    found = json.loads(run("npm", "view", name, "versions", "--json"))
    return [found] if isinstance(found, str) else found


def test_oras_pulls_the_tarball_under_its_name(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    tarball = publish(alice, tmp_path / "pad", pad)
    alice("oras", "pull", HTTP, "-o", tmp_path / "out", f"{repository}:1.0.0")
    assert [file.name for file in (tmp_path / "out").iterdir()] == [title(pad)]
    assert (tmp_path / "out" / title(pad)).read_bytes() == tarball


def test_the_manifest_holds_what_npm_sent(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    tarball = publish(alice, tmp_path / "pad", pad)
    manifest = json.loads(alice("oras", "manifest", "fetch", HTTP, f"{repository}:1.0.0"))
    assert manifest["artifactType"] == PACKAGE
    assert manifest["config"]["mediaType"] == CONFIG
    [layer] = manifest["layers"]
    assert layer["mediaType"] == TARBALL
    assert layer["digest"] == f"sha256:{hashlib.sha256(tarball).hexdigest()}"
    assert manifest["annotations"]["vnd.packhouse.package.name"] == pad.partition("/")[2]
    assert manifest["annotations"]["org.opencontainers.image.version"] == "1.0.0"
    config = alice("oras", "blob", "fetch", HTTP, "-o", "-", at_digest(repository, manifest))
    assert json.loads(config)["name"] == pad


def at_digest(repository: str, manifest: dict[str, Any]) -> str:
    return f"{repository}@{manifest['config']['digest']}"


def test_tags_of_both_doors_are_the_same(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    publish(alice, tmp_path / "pad", pad)
    publish(alice, tmp_path / "pad", pad, "2.0.0-rc.1", "--tag", "next")
    alice("oras", "tag", HTTP, f"{repository}:1.0.0", "stable")
    alice("npm", "dist-tag", "add", f"{pad}@1.0.0", "lts")
    listed = alice("npm", "dist-tag", "ls", pad).splitlines()
    expected = ["latest: 1.0.0", "lts: 1.0.0", "next: 2.0.0-rc.1", "stable: 1.0.0"]
    assert sorted(listed) == expected
    tags = alice("oras", "repo", "tags", HTTP, repository).split()
    assert {"1.0.0", "2.0.0-rc.1", "latest", "lts", "next", "stable"} <= set(tags)
    resolve = ("oras", "resolve", HTTP)
    assert alice(*resolve, f"{repository}:lts") == alice(*resolve, f"{repository}:1.0.0")


def test_what_oras_pushes_npm_installs(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "pad", pad, "1.1.0", description="by the other door")
    push(alice, f"{repository}:1.1.0", source, about(source))
    assert versions(alice, pad) == ["1.1.0"]
    assert json.loads(alice("npm", "view", pad, "description", "--json")) == "by the other door"
    app = npm.project(tmp_path / "app")
    alice("npm", "install", pad, cwd=app)
    assert npm.says(alice, app, pad) == "1.1.0"


def about(source: Path, **changes: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((source / "package.json").read_text())
    return {**found, **changes}


def push(
    run: Shell, target: str, source: Path, config: dict[str, Any], *, fails: bool = False
) -> str:
    """Push a package as oras does anything; returns what oras said."""
    run("npm", "pack", "--pack-destination", source, cwd=source)
    made = next(source.glob("*.tgz"))
    file = made.rename(source / title(config["name"], config["version"]))
    (source / "config.json").write_text(json.dumps(config))
    kind = ("--artifact-type", PACKAGE, "--config", f"config.json:{CONFIG}")
    command = ("oras", "push", HTTP, *kind, target, f"{file.name}:{TARBALL}")
    return run.fails(*command, cwd=source) if fails else run(*command, cwd=source)


LIES: dict[str, dict[str, object]] = {
    "another name": {"name": "@acme/other"},
    "another version": {"version": "9.9.9"},
    "another dependency": {"dependencies": {"@acme/evil": "1.0.0"}},
    "an install script": {"scripts": {"postinstall": "./evil.sh"}},
    "another integrity": {"dist": {"integrity": f"sha512-{'A' * 86}=="}},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_artifact_that_lies_is_refused(
    alice: Shell, registry: Registry, repository: str, pad: str, tmp_path: Path, lie: str
) -> None:
    source = npm.package(tmp_path / "pad", pad)
    config = about(source, **LIES[lie])
    said = push(alice, f"{repository}:{config['version']}", source, config, fails=True)
    assert "MANIFEST_INVALID" in said.upper().replace(" ", "_")
    assert "E404" in alice.fails("npm", "view", pad)


def test_a_tag_that_is_not_the_version_is_refused(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "pad", pad)
    said = push(alice, f"{repository}:1.0.1", source, about(source), fails=True)
    assert "1.0.0" in said


def test_a_package_is_signed_and_verified(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    alice.env["COSIGN_PASSWORD"] = ""
    alice("cosign", "generate-key-pair")
    alice("cosign", "signing-config", "create", "--out", "offline.json")
    publish(alice, tmp_path / "pad", pad)
    digest = alice("oras", "resolve", HTTP, f"{repository}:1.0.0").strip()
    key = ("--key", "cosign.key", "--yes", "--signing-config", "offline.json")
    alice("cosign", "sign", "--allow-http-registry", *key, f"{repository}@{digest}")
    assert digest in alice(*VERIFY, "--insecure-ignore-tlog", f"{repository}:1.0.0")
    assert versions(alice, pad) == ["1.0.0"], "a signature is no version"


def test_what_oras_deletes_npm_no_longer_sees(
    alice: Shell, repository: str, pad: str, tmp_path: Path
) -> None:
    publish(alice, tmp_path / "pad", pad)
    publish(alice, tmp_path / "pad", pad, "1.1.0")
    alice("oras", "manifest", "delete", HTTP, "--force", f"{repository}:1.1.0")
    assert versions(alice, pad) == ["1.0.0"]
    assert alice("npm", "view", pad, "dist-tags.latest").strip() == "1.0.0"
    said = alice.fails("npm", "publish", cwd=tmp_path / "pad")
    assert "1.1.0" in said
