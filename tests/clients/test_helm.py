"""helm: charts pushed, pulled, shown and rendered from the registry."""

import re
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

HTTP = "--plain-http"


@pytest.fixture
def helm(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    options = (HTTP, "-u", user, "--password-stdin", registry.host)
    run("helm", "registry", "login", *options, stdin=secret)
    return run


def package(run: Shell, tmp_path: Path, version: str = "0.1.0") -> Path:
    """A chart as helm packs it."""
    source = images.helm_chart(tmp_path, name="pad", version=version)
    run("helm", "package", source, "-d", tmp_path)
    return tmp_path / f"pad-{version}.tgz"


def test_a_chart_comes_back_as_it_was_pushed(helm: Shell, repository: str, tmp_path: Path) -> None:
    chart = package(helm, tmp_path)
    helm("helm", "push", HTTP, chart, f"oci://{repository}")
    options = ("--version", "0.1.0", "-d", tmp_path / "out")
    (tmp_path / "out").mkdir()
    helm("helm", "pull", HTTP, f"oci://{repository}/pad", *options)
    assert (tmp_path / "out" / chart.name).read_bytes() == chart.read_bytes()


def test_a_version_with_a_plus_is_found_again(helm: Shell, repository: str, tmp_path: Path) -> None:
    chart = package(helm, tmp_path, "1.2.3+build.5")
    helm("helm", "push", HTTP, chart, f"oci://{repository}")
    shown = helm(
        "helm", "show", "chart", HTTP, f"oci://{repository}/pad", "--version", "1.2.3+build.5"
    )
    assert "version: 1.2.3+build.5" in shown


def test_the_newest_version_of_a_range_is_taken(
    helm: Shell, repository: str, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        helm("helm", "push", HTTP, package(helm, tmp_path, version), f"oci://{repository}")
    chart = f"oci://{repository}/pad"
    assert "version: 1.4.0" in helm("helm", "show", "chart", HTTP, chart, "--version", "^1.0.0")
    assert "version: 2.0.0" in helm("helm", "show", "chart", HTTP, chart)


def test_a_chart_is_rendered_from_the_registry(
    helm: Shell, repository: str, tmp_path: Path
) -> None:
    helm("helm", "push", HTTP, package(helm, tmp_path), f"oci://{repository}")
    rendered = helm("helm", "template", HTTP, "mine", f"oci://{repository}/pad")
    assert re.search(r"greeting: hello", rendered)


def test_a_chart_is_the_dependency_of_another(helm: Shell, repository: str, tmp_path: Path) -> None:
    helm("helm", "push", HTTP, package(helm, tmp_path), f"oci://{repository}")
    parent = images.helm_chart(tmp_path, name="parent")
    needed = f"dependencies:\n- name: pad\n  version: 0.1.0\n  repository: oci://{repository}\n"
    (parent / "Chart.yaml").write_text((parent / "Chart.yaml").read_text() + needed)
    helm("helm", "dependency", "update", HTTP, parent)
    assert (parent / "charts" / "pad-0.1.0.tgz").exists()


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    options = (HTTP, "-u", registry.user, "-p", "wrong-password", registry.host)
    assert "wrong user name, password or token" in run.fails("helm", "registry", "login", *options)


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    chart = package(run, tmp_path)
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("helm", "push", HTTP, chart, f"oci://{repository}")


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    said = run.fails("helm", "push", HTTP, package(run, tmp_path), f"oci://{repository}")
    assert "bob may not push acme/" in said


def test_a_name_without_an_owner_is_explained(
    helm: Shell, registry: Registry, tmp_path: Path
) -> None:
    said = helm.fails("helm", "push", HTTP, package(helm, tmp_path), f"oci://{registry.host}")
    assert "owner/image" in said
