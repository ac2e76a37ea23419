"""crane: layouts, copies, tags, deletes; and images with Docker's own media types."""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell


@pytest.fixture
def crane(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    options = ("-u", user, "--password-stdin", registry.host)
    run("crane", "auth", "login", *options, stdin=secret)
    return run


@pytest.mark.parametrize("types", [images.OCI, images.DOCKER], ids=["oci", "docker"])
def test_an_image_comes_back_as_it_was_pushed(
    crane: Shell, repository: str, tmp_path: Path, types: images.Types
) -> None:
    made = images.image_layout(tmp_path / "in", layers=(1, 2, 3, 4), types=types)
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    assert crane("crane", "digest", f"{repository}:v1").strip() == made["digest"]
    assert json.loads(crane("crane", "manifest", f"{repository}:v1"))["mediaType"] == types.manifest
    crane("crane", "pull", "--format", "oci", f"{repository}:v1", tmp_path / "out")
    crane("crane", "validate", "--remote", f"{repository}:v1")
    assert (tmp_path / "out" / "blobs" / made["digest"].replace(":", "/")).exists()


@pytest.mark.parametrize("types", [images.OCI, images.DOCKER], ids=["oci", "docker"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_an_index_comes_back_as_it_was_pushed(
    crane: Shell, repository: str, tmp_path: Path, types: images.Types, nested: bool
) -> None:
    made = images.index_layout(tmp_path / "in", types=types, nested=nested)
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    assert crane("crane", "digest", f"{repository}:v1").strip() == made["digest"]
    crane("crane", "validate", "--remote", f"{repository}:v1")


def test_an_image_is_copied_and_its_layers_mounted(
    crane: Shell, repository: str, tmp_path: Path
) -> None:
    images.index_layout(tmp_path / "in")
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    done = crane.run("crane", "copy", f"{repository}:v1", f"{repository}-copy:v1")
    assert "mounted blob" in done.stderr
    digests = {crane("crane", "digest", f"{repository}{at}:v1") for at in ("", "-copy")}
    assert len(digests) == 1


def test_all_tags_are_copied(crane: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in")
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    crane("crane", "tag", f"{repository}:v1", "v2")
    crane("crane", "copy", "--all-tags", repository, f"{repository}-copy")
    assert crane("crane", "ls", f"{repository}-copy").split() == ["v1", "v2"]


def test_an_image_is_changed_in_place(crane: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in")
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    crane("crane", "mutate", "--label", "a=b", "-t", f"{repository}:v2", f"{repository}:v1")
    config = json.loads(crane("crane", "config", f"{repository}:v2"))
    assert config["config"]["Labels"]["a"] == "b"


def test_a_layer_is_appended(crane: Shell, repository: str, tmp_path: Path) -> None:
    images.image_layout(tmp_path / "in", layers=(1, 2))
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    with (tmp_path / "layer.tar").open("wb") as file:
        file.writelines(images.layer(9, 10_000))
    layer = ("-f", tmp_path / "layer.tar", "-b", f"{repository}:v1", "-t", f"{repository}:v2")
    crane("crane", "append", *layer)
    assert len(json.loads(crane("crane", "manifest", f"{repository}:v2"))["layers"]) == 3


def test_a_deleted_image_is_gone(crane: Shell, repository: str, tmp_path: Path) -> None:
    made = images.image_layout(tmp_path / "in")
    crane("crane", "push", tmp_path / "in", f"{repository}:v1")
    crane("crane", "delete", f"{repository}@{made['digest']}")
    assert "MANIFEST_UNKNOWN" in crane.fails("crane", "manifest", f"{repository}:v1")


def test_repositories_are_listed(
    crane: Shell, registry: Registry, name: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    crane("crane", "push", tmp_path / "in", f"{registry.host}/{name}:v1")
    assert name in crane("crane", "catalog", registry.host).split()


def test_a_wrong_password_is_refused(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    """`crane auth login` asks nobody: the push shows it."""
    login(run, registry, registry.user, "wrong-password")
    images.image_layout(tmp_path / "in")
    said = run.fails("crane", "push", tmp_path / "in", f"{repository}:v1")
    assert "wrong user name, password or token" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("crane", "push", tmp_path / "in", f"{repository}:v1")


def test_a_reader_cannot_push(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    images.image_layout(tmp_path / "in")
    assert "bob may not push acme/" in run.fails(
        "crane", "push", tmp_path / "in", f"{repository}:v1"
    )


def test_a_name_without_an_owner_is_explained(
    crane: Shell, registry: Registry, tmp_path: Path
) -> None:
    images.image_layout(tmp_path / "in")
    said = crane.fails("crane", "push", tmp_path / "in", f"{registry.host}/alpine:v1")
    assert "owner/image" in said
