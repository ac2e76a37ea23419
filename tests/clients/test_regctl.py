"""regctl: layouts, nested indexes, artifacts and referrers, tag deletes, the digest it checks."""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell


@pytest.fixture
def regctl(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(plain(run, registry), registry, registry.user, registry.password)


def plain(run: Shell, registry: Registry) -> Shell:
    run("regctl", "registry", "set", "--skip-check", "--tls", "disabled", registry.host)
    return run


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    options = ("-u", user, "--pass-stdin", registry.host)
    run("regctl", "registry", "login", *options, stdin=secret)
    return run


def blobs(layout: Path) -> set[str]:
    return {file.name for file in (layout / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("types", [images.OCI, images.DOCKER], ids=["oci", "docker"])
def test_an_image_comes_back_as_it_was_pushed(
    regctl: Shell, repository: str, tmp_path: Path, types: images.Types
) -> None:
    images.image_layout(tmp_path / "in", layers=(1, 2, 3, 4), types=types)
    copy = ("regctl", "image", "copy")
    regctl(*copy, f"ocidir://{tmp_path}/in:latest", f"{repository}:v1")
    regctl(*copy, f"{repository}:v1", f"ocidir://{tmp_path}/out:latest")
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_an_index_comes_back_as_it_was_pushed(
    regctl: Shell, repository: str, tmp_path: Path, nested: bool
) -> None:
    images.index_layout(tmp_path / "in", nested=nested)
    copy = ("regctl", "image", "copy")
    regctl(*copy, f"ocidir://{tmp_path}/in:latest", f"{repository}:v1")
    regctl(*copy, f"{repository}:v1", f"ocidir://{tmp_path}/out:latest")
    assert blobs(tmp_path / "out") == blobs(tmp_path / "in")


def test_an_image_is_copied_between_repositories(
    regctl: Shell, repository: str, tmp_path: Path
) -> None:
    images.index_layout(tmp_path / "in")
    copy = ("regctl", "image", "copy")
    regctl(*copy, f"ocidir://{tmp_path}/in:latest", f"{repository}:v1")
    regctl(*copy, "--digest-tags", "--referrers", f"{repository}:v1", f"{repository}-copy:v1")
    digests = {regctl("regctl", "image", "digest", f"{repository}{at}:v1") for at in ("", "-copy")}
    assert len(digests) == 1


def test_artifacts_refer_to_their_subject(regctl: Shell, repository: str, tmp_path: Path) -> None:
    image = f"{repository}:v1"
    images.image_layout(tmp_path / "in")
    regctl("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest", image)
    for kind in ("sbom", "proof"):
        put = ("regctl", "artifact", "put", "--artifact-type", f"application/vnd.example.{kind}")
        regctl(*put, "--subject", image, stdin=kind)
    listed = json.loads(regctl("regctl", "artifact", "list", "--format", "{{json .}}", image))
    assert len(listed["descriptors"]) == 2
    one = ("--filter-artifact-type", "application/vnd.example.sbom")
    assert regctl("regctl", "artifact", "get", "--subject", image, *one) == "sbom"
    assert regctl("regctl", "tag", "ls", repository).split() == ["v1"]


def test_a_tag_is_deleted_and_the_manifest_stays(
    regctl: Shell, repository: str, tmp_path: Path
) -> None:
    made = images.image_layout(tmp_path / "in")
    for tag in ("v1", "v2"):
        copy = ("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest")
        regctl(*copy, f"{repository}:{tag}")
    regctl("regctl", "tag", "delete", f"{repository}:v1")
    assert regctl("regctl", "tag", "ls", repository).split() == ["v2"]
    regctl("regctl", "manifest", "head", f"{repository}@{made['digest']}")
    regctl("regctl", "manifest", "delete", f"{repository}@{made['digest']}")
    regctl.fails("regctl", "manifest", "head", f"{repository}:v2")


def test_a_blob_is_put_got_and_deleted(regctl: Shell, repository: str) -> None:
    digest = regctl("regctl", "blob", "put", repository, stdin="some bytes").split()[0]
    assert regctl("regctl", "blob", "get", repository, digest) == "some bytes"
    regctl("regctl", "blob", "delete", repository, digest)
    regctl.fails("regctl", "blob", "head", repository, digest)


def test_content_with_sha512_is_kept(regctl: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in")
    regctl("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest", f"{repository}:v1")
    change = ("regctl", "image", "mod", f"{repository}:v1", "--digest-algo", "sha512")
    regctl(*change, "--create", f"{repository}:v2")
    manifest = regctl("regctl", "manifest", "get", f"{repository}:v2", "--format", "raw-body")
    config = json.loads(manifest)["config"]["digest"]
    assert config.startswith("sha512:")
    regctl("regctl", "image", "copy", f"{repository}:v2", f"ocidir://{tmp_path}/out:v2")
    assert (tmp_path / "out" / "blobs" / config.replace(":", "/")).exists()


def test_repositories_are_listed(
    regctl: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    copy = ("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest")
    regctl(*copy, f"{registry.host}/{name}:v1")
    assert name in regctl("regctl", "repo", "ls", registry.host).split()


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    plain(run, registry)
    login_options = ("-u", registry.user, "--pass-stdin", registry.host)
    said = run.fails("regctl", "registry", "login", *login_options, stdin="wrong-password")
    assert "unauthorized" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    """regctl keeps the registry's own words to itself."""
    plain(run, registry)
    images.image_layout(tmp_path / "in")
    copy = ("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest")
    for token in dead_tokens.values():
        run.remember(registry.host, registry.user, token)
        assert "unauthorized" in run.fails(*copy, f"{repository}:v1")


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(plain(run, registry), registry, registry.reader, registry.reader_password)
    images.image_layout(tmp_path / "in")
    copy = ("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest")
    assert "bob may not push acme/" in run.fails(*copy, f"{repository}:v1")


def test_a_name_without_an_owner_is_explained(
    regctl: Shell, registry: Registry, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    copy = ("regctl", "image", "copy", f"ocidir://{tmp_path}/in:latest")
    assert "owner/image" in regctl.fails(*copy, f"{registry.host}/alpine:v1")
