"""skopeo: copies with every transport, sync, inspect, delete."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

SOURCE = "--src-tls-verify=false"
TARGET = "--dest-tls-verify=false"


@pytest.fixture
def skopeo(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    run("skopeo", "login", "--tls-verify=false", "-u", user, "-p", secret, registry.host)
    return run


def manifest(run: Shell, name: str) -> bytes:
    return run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}").encode()


def blobs(layout: Path) -> set[str]:
    return {file.name for file in (layout / "blobs" / "sha256").iterdir()}


def test_an_image_goes_there_and_back(skopeo: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in", layers=(1, 2, 3, 4))
    skopeo("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", f"docker://{repository}:v1")
    skopeo("skopeo", "copy", SOURCE, f"docker://{repository}:v1", f"oci:{tmp_path}/out:latest")
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


def test_what_it_learns_of_layers_stays_in_its_home(
    skopeo: Shell, repository: str, tmp_path: Path
) -> None:
    """Else it would put the layers of other tests, compressed otherwise, in place of this one's."""
    images.image_layout(tmp_path / "in")
    skopeo("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", f"docker://{repository}:v1")
    assert list((skopeo.home / "data" / "containers" / "cache").iterdir())


def test_an_index_goes_there_and_back(skopeo: Shell, repository: str, tmp_path: Path) -> None:
    images.index_layout(tmp_path / "in")
    local = [f"oci:{tmp_path}/{name}:latest" for name in ("in", "out")]
    skopeo("skopeo", "copy", "--all", TARGET, local[0], f"docker://{repository}:v1")
    skopeo("skopeo", "copy", "--all", SOURCE, f"docker://{repository}:v1", local[1])
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


def test_an_image_is_pushed_as_docker_schema_2(
    skopeo: Shell, repository: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    copy = ("skopeo", "copy", "--format", "v2s2", TARGET)
    skopeo(*copy, f"oci:{tmp_path}/in:latest", f"docker://{repository}:v1")
    assert json.loads(manifest(skopeo, f"{repository}:v1"))["mediaType"] == images.DOCKER_MANIFEST


def test_an_image_is_copied_between_repositories(
    skopeo: Shell, repository: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    first, second = f"docker://{repository}:v1", f"docker://{repository}-copy:v1"
    skopeo("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", first)
    skopeo("skopeo", "copy", SOURCE, TARGET, first, second)
    assert manifest(skopeo, f"{repository}:v1") == manifest(skopeo, f"{repository}-copy:v1")


def test_a_repository_is_mirrored_with_all_its_tags(
    skopeo: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    for tag in ("v1", "v2", "v3"):
        target = f"docker://{registry.host}/{name}:{tag}"
        skopeo("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", target)
    sync = ("skopeo", "sync", SOURCE, TARGET, "--src", "docker", "--dest")
    skopeo(*sync, "dir", f"{registry.host}/{name}", tmp_path / "mirror")
    assert len(list((tmp_path / "mirror").iterdir())) == 3
    skopeo(*sync, "docker", f"{registry.host}/{name}", f"{registry.host}/acme/mirrored")
    copied = f"docker://{registry.host}/acme/mirrored/{name.rpartition('/')[2]}"
    listed = skopeo("skopeo", "list-tags", "--tls-verify=false", copied)
    assert json.loads(listed)["Tags"] == ["v1", "v2", "v3"]


def test_an_image_goes_over_tls(
    run: Shell, registry_tls: Registry, name: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    shutil.copy(registry_tls.certificate, certificates / "ca.crt")
    run.remember(registry_tls.host, registry_tls.user, registry_tls.token)
    image = f"docker://{registry_tls.host}/{name}:v1"
    local = [f"oci:{tmp_path}/{at}:latest" for at in ("in", "out")]
    run("skopeo", "copy", "--dest-cert-dir", certificates, local[0], image)
    run("skopeo", "copy", "--src-cert-dir", certificates, image, local[1])
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


def test_a_deleted_image_is_gone(skopeo: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in")
    target = f"docker://{repository}:v1"
    skopeo("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", target)
    skopeo("skopeo", "delete", "--tls-verify=false", target)
    said = skopeo.fails("skopeo", "inspect", "--tls-verify=false", target)
    assert "manifest unknown" in said


def test_a_public_image_is_copied_without_login(
    skopeo: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    image = f"docker://{registry.host}/{name}:v1"
    skopeo_image(skopeo, image, tmp_path)
    skopeo("skopeo", "logout", registry.host)
    skopeo.fails("skopeo", "copy", SOURCE, image, f"oci:{tmp_path}/refused:v1")
    registry.admin("package", "visibility", name, "public")
    skopeo("skopeo", "copy", SOURCE, image, f"oci:{tmp_path}/out:v1")
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


def skopeo_image(run: Shell, image: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in")
    run("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", image)


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    options = ["--tls-verify=false", "-u", registry.user, "-p", "wrong-password"]
    said = run.fails("skopeo", "login", *options, registry.host)
    assert "invalid username/password" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    copy = ("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", f"docker://{repository}:v1")
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails(*copy)


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    images.image_layout(tmp_path / "in")
    image = f"docker://{repository}:v1"
    said = run.fails("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", image)
    assert "bob may not push acme/" in said


def test_a_name_without_an_owner_is_explained(
    skopeo: Shell, registry: Registry, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    image = f"docker://{registry.host}/alpine:v1"
    said = skopeo.fails("skopeo", "copy", TARGET, f"oci:{tmp_path}/in:latest", image)
    assert "owner/image" in said
