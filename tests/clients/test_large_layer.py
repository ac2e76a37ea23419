"""A layer of more than a gigabyte, pushed once by docker and pulled by everybody else."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import images, server
from tests.clients.engine import Engine
from tests.clients.server import Registry
from tests.clients.shell import Shell

LAYER_SIZE = 1_100_000_000
MINUTES = 60


@dataclass(frozen=True, slots=True)
class Large:
    """The pushed image: its name, its large layer, and the digest of the layer's tar."""

    name: str
    layer: str
    diff_id: str


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A server of its own, so that its memory tells of this layer alone."""
    with server.running(tmp_path_factory.mktemp("large-registry")) as running:
        yield running


@pytest.fixture(scope="module")
def large(registry: Registry, dockerd: Engine, tmp_path_factory: pytest.TempPathFactory) -> Large:
    home = tmp_path_factory.mktemp("large")
    run = Shell(home, {"DOCKER_HOST": dockerd.socket}, [registry.log, dockerd.log])
    name = f"{registry.host}/acme/large:v1"
    images.docker_archive(home / "image.tar", name, layers=(71,), layer_size=LAYER_SIZE)
    run("docker", "load", "-i", home / "image.tar")
    (home / "image.tar").unlink()
    login = ("docker", "login", "-u", registry.user, "--password-stdin", registry.host)
    run(*login, stdin=registry.password)
    run("docker", "push", name, timeout_seconds=10 * MINUTES)
    run("docker", "rmi", name)
    manifest = json.loads(run("crane", "manifest", name))
    assert manifest["layers"][0]["size"] > 1_000_000_000
    config = json.loads(run("crane", "config", name))
    return Large(name, manifest["layers"][0]["digest"], config["rootfs"]["diff_ids"][0])


@pytest.fixture
def out(run: Shell, registry: Registry, tmp_path: Path) -> Iterator[Path]:
    """A directory for a pull, emptied afterwards; alice is logged in."""
    login = ("crane", "auth", "login", "-u", registry.user, "--password-stdin", registry.host)
    run(*login, stdin=registry.password)
    yield tmp_path / "out"
    shutil.rmtree(tmp_path, ignore_errors=True)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def test_docker_pulls_it_back(run: Shell, dockerd: Engine, out: Path, large: Large) -> None:
    run("docker", "pull", large.name)
    layers = run("docker", "image", "inspect", "-f", "{{json .RootFS.Layers}}", large.name)
    run("docker", "rmi", large.name)
    made, _ = images.digest_and_size(images.layer(71, LAYER_SIZE))
    assert json.loads(layers) == [large.diff_id] == [f"sha256:{made}"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_never_holds_it(registry: Registry, large: Large) -> None:
    assert max(registry.peak_memory()) < 200_000_000


def test_skopeo_pulls_it(run: Shell, out: Path, large: Large) -> None:
    copy = ("skopeo", "copy", "--src-tls-verify=false", f"docker://{large.name}", f"dir:{out}")
    run(*copy)
    assert digest_of(out / large.layer.removeprefix("sha256:")) == large.layer


def test_podman_pulls_it(run: Shell, out: Path, large: Large) -> None:
    run("podman", "pull", "--tls-verify=false", large.name)
    layers = run("podman", "image", "inspect", "--format", "{{json .RootFS.Layers}}", large.name)
    assert json.loads(layers) == [large.diff_id]


def test_crane_pulls_it(run: Shell, out: Path, large: Large) -> None:
    run("crane", "pull", "--format", "oci", large.name, out)
    assert digest_of(blob(out, large.layer)) == large.layer


def test_regctl_pulls_it(run: Shell, registry: Registry, out: Path, large: Large) -> None:
    run("regctl", "registry", "set", "--skip-check", "--tls", "disabled", registry.host)
    run("regctl", "image", "copy", large.name, f"ocidir://{out}:v1")
    assert digest_of(blob(out, large.layer)) == large.layer


def test_oras_pulls_it(run: Shell, out: Path, large: Large) -> None:
    copy = ("oras", "cp", "--from-plain-http", "--to-oci-layout", large.name, f"{out}:v1")
    run(*copy)
    assert digest_of(blob(out, large.layer)) == large.layer
