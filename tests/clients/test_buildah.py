"""buildah: build without a network, push, pull, and layers cached in the registry."""

import json
import re
from pathlib import Path

import pytest

from tests.clients.server import Registry
from tests.clients.shell import Shell

CONTAINERFILE = "FROM scratch\nCOPY one /one\nCOPY two /two\nLABEL made=here\n"
BUILD = ("buildah", "build", "--isolation", "chroot", "--layers", "--tls-verify=false")


@pytest.fixture
def buildah(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    run("buildah", "login", "--tls-verify=false", "-u", user, "-p", secret, registry.host)
    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "Containerfile").write_text(CONTAINERFILE)
    (directory / "one").write_text("one")
    (directory / "two").write_text("two" * 10_000)
    return directory


def test_an_image_is_built_pushed_and_pulled(buildah: Shell, repository: str, source: Path) -> None:
    image = f"{repository}:v1"
    buildah(*BUILD, "-t", image, source)
    buildah("buildah", "push", "--tls-verify=false", image)
    buildah("buildah", "rmi", "--all", "--force")
    buildah("buildah", "pull", "--tls-verify=false", image)
    described = buildah("buildah", "inspect", "--type", "image", image)
    assert '"made": "here"' in described


def test_layers_are_cached_in_the_registry(buildah: Shell, repository: str, source: Path) -> None:
    cache = ("--cache-to", f"{repository}-cache", "--cache-from", f"{repository}-cache")
    first = buildah.run(*BUILD, *cache, "-t", "first", source)
    assert first.returncode == 0
    assert "Pushing cache" in first.stdout + first.stderr
    buildah("buildah", "rmi", "--all", "--force")
    second = buildah.run(*BUILD, *cache, "-t", "second", source)
    assert second.returncode == 0
    assert "Cache pulled from remote" in second.stdout + second.stderr


def test_a_manifest_list_is_pushed(buildah: Shell, repository: str, source: Path) -> None:
    for arch in ("amd64", "arm64"):
        buildah(*BUILD, "--no-cache", "--platform", f"linux/{arch}", "--manifest", "all", source)
    target = f"docker://{repository}:all"
    buildah("buildah", "manifest", "push", "--all", "--tls-verify=false", "all", target)
    said = buildah("skopeo", "inspect", "--raw", "--tls-verify=false", target)
    assert set(re.findall(r'"architecture": ?"(\w+)"', said)) == {"amd64", "arm64"}


def test_a_build_starts_from_a_pushed_image(buildah: Shell, repository: str, source: Path) -> None:
    buildah(*BUILD, "-t", f"{repository}:base", source)
    buildah("buildah", "push", "--tls-verify=false", f"{repository}:base")
    buildah("buildah", "rmi", "--all", "--force")
    (source / "Containerfile").write_text(f"FROM {repository}:base\nCOPY one /three\n")
    buildah(*BUILD, "-t", f"{repository}:child", source)
    buildah("buildah", "push", "--tls-verify=false", f"{repository}:child")


def test_a_private_image_on_a_public_base_stays_private(
    buildah: Shell, registry: Registry, repository: str, name: str, source: Path
) -> None:
    url = f"https://git.example.com/{name}"
    registry.admin(
        "project", "create", f"{name}-project", "--visibility", "public", "--source", url
    )
    label = f'LABEL org.opencontainers.image.source="{url}.git"\n'
    (source / "Containerfile").write_text(CONTAINERFILE + label)
    base, child = f"{repository}-base", f"{repository}-child"
    buildah(*BUILD, "-t", base, source)
    buildah("buildah", "push", "--tls-verify=false", base)
    registry.admin("package", "link", f"{name}-base", f"{name}-project")
    buildah("buildah", "rmi", "--all", "--force")
    (source / "Containerfile").write_text(f"FROM {base}\nCOPY one /three\n")
    buildah(*BUILD, "-t", child, source)
    assert url in buildah("buildah", "inspect", "--type", "image", child)
    buildah("buildah", "push", "--tls-verify=false", child)
    buildah("buildah", "logout", registry.host)
    assert buildah("skopeo", "inspect", "--tls-verify=false", f"docker://{base}")
    buildah.fails("skopeo", "inspect", "--tls-verify=false", f"docker://{child}")
    shown = json.loads(registry.admin("package", "show", f"{name}-child", "--json"))
    assert (shown["project"], shown["visibility"]) == (
        f"{name}-project".partition("/")[2],
        "private",
    )
    assert shown["unconfirmed"] == "public"
    registry.admin("package", "link", f"{name}-child", f"{name}-project")
    assert buildah("skopeo", "inspect", "--tls-verify=false", f"docker://{child}")


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    options = ["--tls-verify=false", "-u", registry.user, "-p", "wrong-password"]
    said = run.fails("buildah", "login", *options, registry.host)
    assert "invalid username/password" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, source: Path
) -> None:
    run(*BUILD, "-t", f"{repository}:v1", source)
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("buildah", "push", "--tls-verify=false", f"{repository}:v1")


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, source: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    run(*BUILD, "-t", f"{repository}:v1", source)
    said = run.fails("buildah", "push", "--tls-verify=false", f"{repository}:v1")
    assert "bob may not push acme/" in said


def test_a_name_without_an_owner_is_explained(
    buildah: Shell, registry: Registry, source: Path
) -> None:
    image = f"{registry.host}/alpine:v1"
    buildah(*BUILD, "-t", image, source)
    assert "owner/image" in buildah.fails("buildah", "push", "--tls-verify=false", image)
