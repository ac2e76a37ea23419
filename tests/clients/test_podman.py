"""podman, with its own storage: push, pull, manifest lists."""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell


@pytest.fixture
def podman(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    run("podman", "login", "--tls-verify=false", "-u", user, "-p", secret, registry.host)
    return run


def load(run: Shell, tmp_path: Path, name: str, **image: object) -> str:
    """Bring a made image into podman's storage under a name; returns its id."""
    archive = tmp_path / "image.tar"
    image_id = images.docker_archive(archive, name, **image)
    run("podman", "load", "-i", archive)
    return image_id.removeprefix("sha256:")


def image_id(run: Shell, name: str) -> str:
    return run("podman", "image", "inspect", "--format", "{{.Id}}", name).strip()


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_an_image_comes_back_as_it_was_pushed(
    podman: Shell, repository: str, tmp_path: Path, form: str
) -> None:
    name = f"{repository}:v1"
    load(podman, tmp_path, name, layers=(1, 2, 3, 4))
    podman("podman", "push", "--tls-verify=false", "--format", form, name)
    podman("podman", "rmi", name)
    podman("podman", "pull", "--tls-verify=false", name)
    layers = podman("podman", "image", "inspect", "--format", "{{json .RootFS.Layers}}", name)
    made = [images.digest_and_size(images.layer(at, 50_000))[0] for at in (1, 2, 3, 4)]
    assert json.loads(layers) == [f"sha256:{digest}" for digest in made]


def test_a_layer_that_is_there_is_not_sent_again(
    podman: Shell, repository: str, tmp_path: Path
) -> None:
    for tag, layers in (("one", (31, 32)), ("two", (31, 33))):
        load(podman, tmp_path, f"{repository}:{tag}", layers=layers)
        podman("podman", "push", "--tls-verify=false", f"{repository}:{tag}")
    podman("podman", "rmi", "--all", "--force")
    for tag in ("one", "two"):
        podman("podman", "pull", "--tls-verify=false", f"{repository}:{tag}")
    assert image_id(podman, f"{repository}:one") != image_id(podman, f"{repository}:two")


def test_a_manifest_list_is_pushed_and_pulled(
    podman: Shell, repository: str, tmp_path: Path
) -> None:
    podman("podman", "manifest", "create", "all")
    for at, arch in enumerate(("amd64", "arm64")):
        name = f"localhost/{arch}:v1"
        load(podman, tmp_path, name, layers=(1, 50 + at), platform=f"linux/{arch}")
        podman("podman", "manifest", "add", "all", f"containers-storage:{name}")
    target = f"docker://{repository}:all"
    podman("podman", "manifest", "push", "--all", "--tls-verify=false", "all", target)
    pull = ("podman", "pull", "--tls-verify=false", "--platform")
    ids = {podman(*pull, f"linux/{arch}", f"{repository}:all") for arch in ("amd64", "arm64")}
    assert len(ids) == 2


def test_a_repository_is_searched_for_its_tags(
    podman: Shell, repository: str, tmp_path: Path
) -> None:
    load(podman, tmp_path, f"{repository}:v1")
    podman("podman", "push", "--tls-verify=false", f"{repository}:v1")
    said = podman("podman", "search", "--list-tags", "--tls-verify=false", repository)
    assert "v1" in said


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    options = ["--tls-verify=false", "-u", registry.user, "-p", "wrong-password"]
    said = run.fails("podman", "login", *options, registry.host)
    assert "invalid username/password" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    load(run, tmp_path, f"{repository}:v1")
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("podman", "push", "--tls-verify=false", f"{repository}:v1")


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    load(run, tmp_path, f"{repository}:v1")
    said = run.fails("podman", "push", "--tls-verify=false", f"{repository}:v1")
    assert "bob may not push acme/" in said


def test_a_name_without_an_owner_is_explained(
    podman: Shell, registry: Registry, tmp_path: Path
) -> None:
    """At once: podman tries again after UNSUPPORTED and NAME_INVALID, and not after DENIED."""
    load(podman, tmp_path, f"{registry.host}/alpine:v1")
    said = podman.fails("podman", "push", "--tls-verify=false", f"{registry.host}/alpine:v1")
    assert "owner/image" in said
    assert "retrying" not in said
