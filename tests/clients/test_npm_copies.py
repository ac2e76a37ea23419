"""Packages that go from one registry to another with all that belongs to them, and back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import npm, server
from tests.clients.copies import HTTP, all_tags, below, oras, publish, signed_in, skopeo, title
from tests.clients.server import Registry
from tests.clients.shell import Shell
from tests.clients.test_npm_provenance import BUNDLE, PREDICATE, UNVERIFIED, bundle

BILL = "application/spdx+json"
SIGN = ("cosign", "sign", "--allow-http-registry", "--key", "cosign.key", "--yes")
VERIFY = ("cosign", "verify", "--allow-http-registry", "--insecure-ignore-tlog", "--key")
OLD_FORM = ("--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false")


@pytest.fixture
def alice(tmp_path: Path, registry: Registry, second: Registry) -> Shell:
    """Alice with npm at the first registry, and signed in at both for clients of the other door."""
    shell = npm.home(tmp_path / "alice", registry, registry.token)
    shell.env["COSIGN_PASSWORD"] = ""
    return signed_in(shell, registry, second)


@pytest.fixture
def other(tmp_path: Path, second: Registry) -> Shell:
    """Alice with npm at the second registry."""
    return npm.home(tmp_path / "other", second, second.token)


@pytest.fixture
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that holds nothing, in the place of one that lost all."""
    with server.running(tmp_path_factory.mktemp("third")) as running:
        yield running


@pytest.fixture
def keys(alice: Shell) -> Shell:
    """Alice with a pair of keys, and one that signs nothing."""
    for name in ("cosign", "stranger"):
        alice("cosign", "generate-key-pair", "--output-key-prefix", name)
    alice("cosign", "signing-config", "create", "--out", "offline.json")
    return alice


def publish_with_provenance(run: Shell, at: Path, pad: str) -> dict[str, Any]:
    """Publish a version with a bundle; returns that."""
    source = npm.package(at, pad)
    run("npm", "pack", cwd=source)
    tarball = next(source.glob("*.tgz"))
    made = bundle(pad, tarball.read_bytes())
    (at.parent / "bundle.json").write_text(json.dumps(made))
    options = ("--provenance-file", at.parent / "bundle.json")
    run("npm", "publish", tarball, *options, env={"NODE_OPTIONS": f"--require={UNVERIFIED}"})
    return made


def attach_bill(run: Shell, at: Path, name: str) -> None:
    """Attach a bill of materials to a version."""
    (at / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    run("oras", "attach", HTTP, "--artifact-type", BILL, name, "sbom.json", cwd=at)


def discovered(run: Shell, name: str) -> list[tuple[str, str]]:
    """What refers to a version: types and digests."""
    found = json.loads(run("oras", "discover", HTTP, "--format", "json", name))["referrers"]
    return sorted((each["artifactType"], each["digest"]) for each in found)


def test_provenance_is_advertised_and_served_where_it_arrives(
    alice: Shell, registry: Registry, second: Registry, other: Shell, pad: str, tmp_path: Path
) -> None:
    made = publish_with_provenance(alice, tmp_path / "pad", pad)
    oras(alice, f"{registry.host}/{below(pad)}:1.0.0", f"{second.host}/{below(pad)}:1.0.0")
    dist = json.loads(other("npm", "view", f"{pad}@1.0.0", "dist", "--json"))
    assert dist["attestations"]["provenance"] == {"predicateType": PREDICATE}
    assert dist["attestations"]["url"].startswith(f"{second.url}/npm/")
    with second.http() as http:
        answer = http.get(dist["attestations"]["url"])
    assert answer.json() == {"attestations": [{"predicateType": PREDICATE, "bundle": made}]}
    app = npm.project(tmp_path / "app")
    other("npm", "install", pad, cwd=app)
    assert npm.says(other, app, pad) == "1.0.0"


@pytest.mark.parametrize("first", ["version", "bundle"])
def test_a_bundle_that_is_attached_is_advertised_whichever_comes_first(
    alice: Shell,
    registry: Registry,
    second: Registry,
    other: Shell,
    pad: str,
    tmp_path: Path,
    first: str,
) -> None:
    """Copied one by one, as a client does that copies no graph."""
    publish_with_provenance(alice, tmp_path / "pad", pad)
    source, target = (f"{each.host}/{below(pad)}" for each in (registry, second))
    [(_, digest)] = discovered(alice, f"{source}:1.0.0")
    steps = {"version": ":1.0.0", "bundle": f"@{digest}"}
    for name in sorted(steps, key=lambda step: step != first):
        alice("regctl", "registry", "set", "--tls", "disabled", registry.host)
        alice("regctl", "registry", "set", "--tls", "disabled", second.host)
        alice("regctl", "image", "copy", source + steps[name], target + steps[name])
    view = ("npm", "view", f"{pad}@1.0.0", "dist.attestations.provenance.predicateType")
    assert other(*view).strip() == PREDICATE


def test_signature_bill_and_provenance_travel_together(
    keys: Shell, registry: Registry, second: Registry, pad: str, tmp_path: Path
) -> None:
    publish_with_provenance(keys, tmp_path / "pad", pad)
    here, there = (f"{each.host}/{below(pad)}:1.0.0" for each in (registry, second))
    digest = keys("oras", "resolve", HTTP, here).strip()
    signed = here.replace(":1.0.0", f"@{digest}")
    keys(*SIGN, "--signing-config", "offline.json", signed)
    attach_bill(keys, tmp_path, here)
    oras(keys, here, there)
    for name in (here, there):
        assert [kind for kind, _ in discovered(keys, name)] == [BILL, BUNDLE, BUNDLE]
        assert digest in keys(*VERIFY, "cosign.pub", name)
        keys.fails(*VERIFY, "stranger.pub", name)
    assert discovered(keys, here) == discovered(keys, there)


@pytest.mark.parametrize("copy", [skopeo, oras])
def test_a_signature_under_a_tag_is_verified_where_that_was_copied(
    keys: Shell, registry: Registry, second: Registry, pad: str, tmp_path: Path, copy: Any
) -> None:
    publish(keys, tmp_path / "pad", pad)
    here, there = (f"{each.host}/{below(pad)}" for each in (registry, second))
    digest = keys("oras", "resolve", HTTP, f"{here}:1.0.0").strip()
    keys(*SIGN, *OLD_FORM, f"{here}@{digest}")
    copy(keys, f"{here}:1.0.0", f"{there}:1.0.0")
    old = "--new-bundle-format=false"
    assert "no signatures found" in keys.fails(*VERIFY, "cosign.pub", old, f"{there}:1.0.0")
    signature = f"{digest.replace(':', '-')}.sig"
    copy(keys, f"{here}:{signature}", f"{there}:{signature}")
    assert digest in keys(*VERIFY, "cosign.pub", old, f"{there}:1.0.0")
    keys.fails(*VERIFY, "stranger.pub", old, f"{there}:1.0.0")


def test_cosign_copies_a_package_with_its_signature(
    keys: Shell, registry: Registry, second: Registry, other: Shell, pad: str, tmp_path: Path
) -> None:
    publish(keys, tmp_path / "pad", pad)
    here, there = (f"{each.host}/{below(pad)}:1.0.0" for each in (registry, second))
    digest = keys("oras", "resolve", HTTP, here).strip()
    keys(*SIGN, *OLD_FORM, here.replace(":1.0.0", f"@{digest}"))
    keys("cosign", "copy", "--allow-http-registry", here, there)
    assert digest in keys(*VERIFY, "cosign.pub", "--new-bundle-format=false", there)
    assert other("npm", "view", pad, "version").strip() == "1.0.0"


@pytest.mark.parametrize("copy", [skopeo, oras])
def test_a_package_goes_to_another_registry_and_back(
    alice: Shell,
    registry: Registry,
    second: Registry,
    other: Shell,
    pad: str,
    tmp_path: Path,
    copy: Any,
) -> None:
    publish(alice, tmp_path / "pad", pad)
    here, there = (f"{each.host}/{below(pad)}" for each in (registry, second))
    copy(alice, f"{here}:1.0.0", f"{there}:1.0.0")
    app = npm.project(tmp_path / "app")
    other("npm", "install", pad, cwd=app)
    assert npm.says(other, app, pad) == "1.0.0"
    integrity = ("npm", "view", f"{pad}@1.0.0", "dist.integrity")
    assert other(*integrity) == alice(*integrity)

    publish(other, tmp_path / "pad", pad, "1.1.0")
    copy(alice, f"{there}:1.1.0", f"{here}:1.1.0")
    found = json.loads(alice("npm", "view", pad, "versions", "--json", "--prefer-online"))
    assert found == ["1.0.0", "1.1.0"]
    alice("npm", "install", f"{pad}@1.1.0", cwd=npm.project(tmp_path / "back"))


def seen(run: Shell, pad: str) -> dict[str, Any]:
    """What every registry shows alike: dist-tags, and each version with the second it came in."""
    about = json.loads(run("npm", "view", pad, "dist-tags", "time", "versions", "--json"))
    versions = {}
    for version in about["versions"]:
        fields = ("deprecated", "dist.integrity", "dist.shasum", "dist.attestations.provenance")
        found = json.loads(run("npm", "view", f"{pad}@{version}", *fields, "--json"))
        versions[version] = {**found, "time": about["time"][version][:19]}
    return {"dist-tags": about["dist-tags"], "versions": versions}


def test_a_registry_that_lost_all_is_filled_again_from_a_copy(
    alice: Shell,
    registry: Registry,
    second: Registry,
    third: Registry,
    other: Shell,
    pad: str,
    tmp_path: Path,
) -> None:
    """With a lock file of before, states, dist-tags and provenance."""
    publish_with_provenance(alice, tmp_path / "pad", pad)
    publish(alice, tmp_path / "pad", pad, "1.1.0")
    publish(alice, tmp_path / "pad", pad, "2.0.0-rc.1", "--tag", "next")
    alice("npm", "deprecate", f"{pad}@1.0.0", "use 1.1")
    alice("npm", "dist-tag", "add", f"{pad}@1.0.0", "old")
    app = npm.project(tmp_path / "app", **{pad: "1.0.0"})
    alice("npm", "install", cwd=app)
    lock, before = (app / "package-lock.json").read_text(), seen(alice, pad)
    assert before["dist-tags"] == {"latest": "1.1.0", "next": "2.0.0-rc.1", "old": "1.0.0"}

    here, there, again = (f"{each.host}/{below(pad)}" for each in (registry, second, third))
    all_tags(alice, here, there)
    assert seen(other, pad) == before
    all_tags(signed_in(alice, third), there, again)
    newest = npm.home(tmp_path / "newest", third, third.token)
    assert seen(newest, pad) == before

    locked = json.loads(lock)["packages"][f"node_modules/{pad}"]
    assert locked["integrity"] == before["versions"]["1.0.0"]["dist.integrity"]
    assert locked["resolved"] == f"{registry.url}/npm/{pad}/-/{title(pad)}"
    done = newest.run("npm", "ci", "--replace-registry-host=always", cwd=app)
    assert done.returncode == 0, newest.story(done)
    assert f"npm warn deprecated {pad}@1.0.0: use 1.1" in done.stderr
    assert npm.says(newest, app, pad) == "1.0.0"
    assert (app / "package-lock.json").read_text() == lock
    assert f"/npm/{pad}/-/{title(pad)}" in third.log.read_text()
