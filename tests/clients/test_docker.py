"""docker, with a dockerd of the tests' own: what most people's first contact is."""

from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

pytestmark = pytest.mark.usefixtures("dockerd")


@pytest.fixture
def docker(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    login(run, registry, registry.user, registry.password)
    return run


def login(run: Shell, registry: Registry, user: str, secret: str) -> str:
    return run("docker", "login", "-u", user, "--password-stdin", registry.host, stdin=secret)


def load(run: Shell, archive: Path, name: str, **image: object) -> str:
    """Bring a made image into dockerd under a name; returns its id."""
    image_id = images.docker_archive(archive, name, **image)
    run("docker", "load", "-i", archive)
    return image_id


def image_id(run: Shell, name: str) -> str:
    return run("docker", "image", "inspect", "-f", "{{.Id}}", name).strip()


def test_an_image_comes_back_as_it_was_pushed(
    docker: Shell, repository: str, tmp_path: Path
) -> None:
    name = f"{repository}:v1"
    pushed = load(docker, tmp_path / "image.tar", name, layers=(1, 2, 3, 4))
    said = docker("docker", "push", name)
    assert "v1: digest: sha256:" in said
    docker("docker", "rmi", name)
    assert "Downloaded newer image" in docker("docker", "pull", name)
    assert image_id(docker, name) == pushed


def test_a_layer_that_is_there_is_not_sent_again(
    docker: Shell, repository: str, tmp_path: Path
) -> None:
    load(docker, tmp_path / "one.tar", f"{repository}:one", layers=(31, 32))
    load(docker, tmp_path / "two.tar", f"{repository}:two", layers=(31, 33))
    docker("docker", "push", f"{repository}:one")
    said = docker("docker", "push", f"{repository}:two")
    assert said.count("Layer already exists") == 1
    docker("docker", "rmi", f"{repository}:one", f"{repository}:two")
    docker("docker", "pull", "--all-tags", repository)
    assert image_id(docker, f"{repository}:one") != image_id(docker, f"{repository}:two")


def test_a_layer_of_another_repository_is_mounted(
    docker: Shell, repository: str, tmp_path: Path
) -> None:
    load(docker, tmp_path / "image.tar", f"{repository}:v1", layers=(41, 42))
    docker("docker", "push", f"{repository}:v1")
    docker("docker", "tag", f"{repository}:v1", f"{repository}-copy:v1")
    said = docker("docker", "push", f"{repository}-copy:v1")
    assert said.count("Mounted from") == 2


def test_every_tag_is_pushed_at_once(docker: Shell, repository: str, tmp_path: Path) -> None:
    load(docker, tmp_path / "image.tar", f"{repository}:a")
    docker("docker", "tag", f"{repository}:a", f"{repository}:b")
    said = docker("docker", "push", "--all-tags", repository)
    assert "a: digest: sha256:" in said
    assert "b: digest: sha256:" in said


def test_an_image_is_pulled_by_its_digest(docker: Shell, repository: str, tmp_path: Path) -> None:
    pushed = load(docker, tmp_path / "image.tar", f"{repository}:v1")
    said = docker("docker", "push", f"{repository}:v1")
    digest = said.split("digest: ")[1].split()[0]
    docker("docker", "rmi", f"{repository}:v1")
    docker("docker", "pull", f"{repository}@{digest}")
    assert image_id(docker, f"{repository}@{digest}") == pushed


def test_a_manifest_list_is_made_and_pulled(docker: Shell, repository: str, tmp_path: Path) -> None:
    for arch in ("amd64", "arm64"):
        name = f"{repository}:{arch}"
        load(docker, tmp_path / f"{arch}.tar", name, platform=f"linux/{arch}")
        docker("docker", "push", name)
    children = [f"{repository}:{arch}" for arch in ("amd64", "arm64")]
    docker("docker", "manifest", "create", "--insecure", f"{repository}:all", *children)
    docker("docker", "manifest", "push", "--insecure", f"{repository}:all")
    for arch in ("amd64", "arm64"):
        docker("docker", "pull", "--platform", f"linux/{arch}", f"{repository}:all")
        assert image_id(docker, f"{repository}:all") == image_id(docker, f"{repository}:{arch}")


def test_a_deleted_image_cannot_be_pulled(
    docker: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    image = f"{registry.host}/{name}:v1"
    load(docker, tmp_path / "image.tar", image)
    digest = docker("docker", "push", image).split("digest: ")[1].split()[0]
    with registry.http() as http:
        assert http.delete(f"/v2/{name}/manifests/{digest}").status_code == 202
    docker("docker", "rmi", image)
    assert "manifest unknown" in docker.fails("docker", "pull", image)


def test_a_public_image_is_pulled_without_login(
    docker: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    image = f"{registry.host}/{name}:v1"
    load(docker, tmp_path / "image.tar", image)
    docker("docker", "push", image)
    docker("docker", "logout", registry.host)
    docker("docker", "rmi", image)
    docker.fails("docker", "pull", image)
    registry.admin("package", "visibility", name, "public")
    docker("docker", "pull", image)


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    said = run.fails("docker", "login", "-u", registry.user, "-p", "wrong-password", registry.host)
    assert "wrong user name, password or token" in said


def test_a_token_logs_in(run: Shell, registry: Registry) -> None:
    assert "Login Succeeded" in login(run, registry, registry.user, registry.token)


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    load(run, tmp_path / "image.tar", f"{repository}:v1")
    assert "bob may not push acme/" in run.fails("docker", "push", f"{repository}:v1")


def test_a_stranger_cannot_pull(docker: Shell, repository: str, tmp_path: Path) -> None:
    load(docker, tmp_path / "image.tar", f"{repository}:v1")
    docker("docker", "push", f"{repository}:v1")
    docker("docker", "logout", repository.partition("/")[0])
    docker("docker", "rmi", f"{repository}:v1")
    said = docker.fails("docker", "pull", f"{repository}:v1")
    assert "is not known, or you may not see it" in said


def test_a_name_without_an_owner_is_explained(
    docker: Shell, registry: Registry, tmp_path: Path
) -> None:
    """At once: docker tries again for a minute after NAME_INVALID, and never after DENIED."""
    load(docker, tmp_path / "image.tar", f"{registry.host}/alpine:v1")
    said = docker.fails("docker", "push", f"{registry.host}/alpine:v1", timeout_seconds=20)
    assert "owner/image" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    load(run, tmp_path / "image.tar", f"{repository}:v1")
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("docker", "push", f"{repository}:v1")
        options = ("-u", registry.user, "--password-stdin", registry.host)
        assert said in run.fails("docker", "login", *options, stdin=token)
