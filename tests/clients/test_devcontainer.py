"""The devcontainer CLI: features and templates published, resolved and applied, over TLS.

It speaks https to every name that has a dot, and plain HTTP to `localhost` alone.
"""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

NAMESPACE = "acme/devcontainers"


@pytest.fixture
def host(registry_tls: Registry) -> str:
    return registry_tls.host


@pytest.fixture
def devcontainer(run: Shell, registry_tls: Registry, host: str) -> Shell:
    """A shell in which alice is logged in and our certificate is trusted."""
    run.env["NODE_EXTRA_CA_CERTS"] = str(registry_tls.certificate)
    run.remember(host, registry_tls.user, registry_tls.token)
    return run


def publish(run: Shell, kind: str, source: Path, host: str, namespace: str) -> dict[str, object]:
    target = ("-r", host, "-n", namespace)
    said = run("devcontainer", kind, "publish", *target, source)
    published: dict[str, object] = json.loads(said)
    return published


def test_features_are_published_under_every_version(
    devcontainer: Shell, host: str, tmp_path: Path
) -> None:
    source = images.devcontainer_features(tmp_path)
    said = publish(devcontainer, "features", source, host, f"{NAMESPACE}/one")
    assert set(said) == {"color", "hello"}
    info = ("devcontainer", "features", "info")
    feature = f"{host}/{NAMESPACE}/one/hello"
    tags = json.loads(devcontainer(*info, "tags", feature, "--output-format", "json"))
    assert set(tags["publishedTags"]) == {"1", "1.2", "1.2.3", "latest"}
    shown = json.loads(devcontainer(*info, "manifest", feature, "--output-format", "json"))
    assert shown["manifest"]["config"]["mediaType"] == "application/vnd.devcontainers"


def test_a_newer_feature_moves_the_tags(devcontainer: Shell, host: str, tmp_path: Path) -> None:
    for version in ("1.2.3", "1.3.0"):
        source = images.devcontainer_features(tmp_path / version, version=version)
        publish(devcontainer, "features", source, host, f"{NAMESPACE}/two")
    info = ("devcontainer", "features", "info", "tags", "--output-format", "json")
    said = json.loads(devcontainer(*info, f"{host}/{NAMESPACE}/two/hello"))
    assert set(said["publishedTags"]) == {"1", "1.2", "1.2.3", "1.3", "1.3.0", "latest"}


def test_features_are_resolved_for_a_project(
    devcontainer: Shell, host: str, tmp_path: Path
) -> None:
    source = images.devcontainer_features(tmp_path)
    publish(devcontainer, "features", source, host, f"{NAMESPACE}/three")
    project = {"image": "scratch", "features": {f"{host}/{NAMESPACE}/three/hello:1": {}}}
    images.write_files(
        tmp_path / "project", {".devcontainer/devcontainer.json": json.dumps(project)}
    )
    resolve = ("devcontainer", "features", "resolve-dependencies")
    said = devcontainer(*resolve, "--workspace-folder", tmp_path / "project")
    assert "/three/hello@sha256:" in said


def test_a_template_is_published_and_applied(
    devcontainer: Shell, host: str, tmp_path: Path
) -> None:
    source = images.devcontainer_templates(tmp_path)
    publish(devcontainer, "templates", source, host, f"{NAMESPACE}/four")
    template = f"{host}/{NAMESPACE}/four/plain"
    (tmp_path / "project").mkdir()
    apply = ("devcontainer", "templates", "apply", "-t", template)
    devcontainer(*apply, "-w", tmp_path / "project")
    made = tmp_path / "project" / ".devcontainer" / "devcontainer.json"
    assert json.loads(made.read_text())["image"] == "debian:bookworm"
    shown = devcontainer("devcontainer", "templates", "metadata", template)
    assert json.loads(shown)["id"] == "plain"


def test_a_reader_cannot_publish(
    devcontainer: Shell, registry_tls: Registry, host: str, tmp_path: Path
) -> None:
    devcontainer.remember(host, registry_tls.reader, registry_tls.reader_password)
    said = refused(devcontainer, host, "acme/refused", tmp_path)
    assert "bob may not push acme/refused/color" in said


def test_who_is_not_known_cannot_publish(
    devcontainer: Shell, registry_tls: Registry, host: str, tmp_path: Path
) -> None:
    """The CLI goes on without a login after a wrong one, and shows the next refusal."""
    for secret in ("wrong-password", registry_tls.revoked_token(), registry_tls.expired_token()):
        devcontainer.remember(host, registry_tls.user, secret)
        said = refused(devcontainer, host, "acme/refused", tmp_path)
        assert "Failed to publish" in said


def test_a_collection_without_an_owner_is_explained(
    devcontainer: Shell, host: str, tmp_path: Path
) -> None:
    """The features are alice's, and their collection would be an image called `alice`."""
    assert "owner/image" in refused(devcontainer, host, "alice", tmp_path)


def refused(run: Shell, host: str, namespace: str, tmp_path: Path) -> str:
    source = images.devcontainer_features(tmp_path)
    target = ("-r", host, "-n", namespace)
    return run.fails("devcontainer", "features", "publish", *target, source)
