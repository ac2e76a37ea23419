"""oras: artifacts, the graph of what refers to them, tags, deletes."""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

HTTP = "--plain-http"


@pytest.fixture
def oras(run: Shell, registry: Registry) -> Shell:
    """A shell in which alice is logged in."""
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    run("oras", "login", HTTP, "-u", user, "--password-stdin", registry.host, stdin=secret)
    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    (directory / "notes.txt").write_text("hello")
    (directory / "data.bin").write_bytes(bytes(range(256)) * 1000)
    (directory / "sbom.json").write_text("{}")
    return directory


def push(run: Shell, files: Path, name: str) -> str:
    """Push two files as an artifact; returns its digest."""
    kind = ("--artifact-type", "application/vnd.example.thing")
    said = run(
        *("oras", "push", HTTP, *kind, "--format", "json", name),
        *("notes.txt:text/plain", "data.bin"),
        cwd=files,
    )
    digest: str = json.loads(said)["digest"]
    return digest


def attach(run: Shell, files: Path, name: str, kind: str) -> str:
    attached = ("oras", "attach", HTTP, "--artifact-type", kind, "--format", "json")
    digest: str = json.loads(run(*attached, name, "sbom.json", cwd=files))["digest"]
    return digest


def referrers(run: Shell, name: str, *options: str) -> set[str]:
    said = json.loads(run("oras", "discover", HTTP, "--format", "json", *options, name))
    return {referrer["digest"] for referrer in said["referrers"] or []}


def test_an_artifact_comes_back_as_it_was_pushed(
    oras: Shell, repository: str, files: Path, tmp_path: Path
) -> None:
    push(oras, files, f"{repository}:v1")
    oras("oras", "pull", HTTP, "-o", tmp_path / "out", f"{repository}:v1")
    for name in ("notes.txt", "data.bin"):
        assert (tmp_path / "out" / name).read_bytes() == (files / name).read_bytes()


def test_what_is_attached_is_discovered(oras: Shell, repository: str, files: Path) -> None:
    name = f"{repository}:v1"
    push(oras, files, name)
    bill = attach(oras, files, name, "application/vnd.example.sbom")
    proof = attach(oras, files, name, "application/vnd.example.proof")
    assert referrers(oras, name) == {bill, proof}
    kind = ("--artifact-type", "application/vnd.example.sbom")
    assert referrers(oras, name, *kind) == {bill}
    tags = oras("oras", "repo", "tags", HTTP, repository).split()
    assert tags == ["v1"], "no fallback tag: the registry has the referrers API"


def test_a_graph_is_copied_with_its_referrers(
    oras: Shell, repository: str, files: Path, tmp_path: Path
) -> None:
    name, copy = f"{repository}:v1", f"{repository}-copy:v1"
    push(oras, files, name)
    bill = attach(oras, files, name, "application/vnd.example.sbom")
    attach(oras, files, f"{repository}@{bill}", "application/vnd.example.signature")
    oras("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", name, copy)
    assert referrers(oras, copy) == referrers(oras, name)
    layout = f"{tmp_path}/layout:v1"
    oras("oras", "cp", "-r", "--from-plain-http", "--to-oci-layout", copy, layout)
    oras("oras", "cp", "-r", "--from-oci-layout", "--to-plain-http", layout, f"{repository}-3:v1")
    assert referrers(oras, f"{repository}-3:v1") == {bill}


def test_a_webassembly_module_is_kept(
    oras: Shell, repository: str, files: Path, tmp_path: Path
) -> None:
    (files / "module.wasm").write_bytes(b"\0asm\1\0\0\0")
    (files / "config.json").write_text('{"architecture":"wasm","os":"wasip1"}')
    config = ("--config", "config.json:application/vnd.wasm.config.v0+json")
    name = f"{repository}:v1"
    oras("oras", "push", HTTP, *config, name, "module.wasm:application/wasm", cwd=files)
    oras("oras", "pull", HTTP, "-o", tmp_path / "out", name)
    assert (tmp_path / "out" / "module.wasm").read_bytes().startswith(b"\0asm")


@pytest.mark.parametrize("nested", [False, True])
def test_an_index_is_copied_there_and_back(
    oras: Shell, repository: str, tmp_path: Path, nested: bool
) -> None:
    made = images.index_layout(tmp_path / "in", nested=nested)
    name = f"{repository}:v1"
    oras("oras", "cp", "--from-oci-layout", "--to-plain-http", f"{tmp_path}/in:latest", name)
    oras("oras", "cp", "--from-plain-http", "--to-oci-layout", name, f"{tmp_path}/out:v1")
    assert oras("oras", "resolve", HTTP, name).strip() == made["digest"]
    blobs = [set((tmp_path / at / "blobs" / "sha256").iterdir()) for at in ("in", "out")]
    assert {blob.name for blob in blobs[0]} == {blob.name for blob in blobs[1]}


def test_an_index_is_made_of_what_is_there(oras: Shell, repository: str, files: Path) -> None:
    children = {push(oras, files, f"{repository}:one")}
    (files / "notes.txt").write_text("changed")
    children.add(push(oras, files, f"{repository}:two"))
    oras("oras", "manifest", "index", "create", HTTP, f"{repository}:all", "one", "two")
    index = json.loads(oras("oras", "manifest", "fetch", HTTP, f"{repository}:all"))
    assert {child["digest"] for child in index["manifests"]} == children


def test_tags_are_added_and_listed_in_order(oras: Shell, repository: str, files: Path) -> None:
    push(oras, files, f"{repository}:v1")
    oras("oras", "tag", HTTP, f"{repository}:v1", "latest", "Stable", "v1.0")
    tags = oras("oras", "repo", "tags", HTTP, repository).split()
    assert tags == ["Stable", "latest", "v1", "v1.0"]


def test_a_deleted_manifest_is_gone(oras: Shell, repository: str, files: Path) -> None:
    push(oras, files, f"{repository}:v1")
    oras("oras", "manifest", "delete", HTTP, "--force", f"{repository}:v1")
    said = oras.fails("oras", "manifest", "fetch", HTTP, f"{repository}:v1")
    assert "not found" in said


def test_a_blob_is_pushed_fetched_and_deleted(oras: Shell, repository: str, files: Path) -> None:
    said = oras("oras", "blob", "push", HTTP, "--descriptor", repository, files / "data.bin")
    blob = f"{repository}@{json.loads(said)['digest']}"
    oras("oras", "blob", "fetch", HTTP, "-o", files / "back.bin", blob)
    assert (files / "back.bin").read_bytes() == (files / "data.bin").read_bytes()
    oras("oras", "blob", "delete", HTTP, "--force", blob)
    oras.fails("oras", "blob", "fetch", HTTP, "-o", files / "gone.bin", blob)


def test_repositories_are_listed(oras: Shell, registry: Registry, name: str, files: Path) -> None:
    push(oras, files, f"{registry.host}/{name}:v1")
    assert name in oras("oras", "repo", "ls", HTTP, registry.host).split()


def test_a_public_artifact_is_pulled_without_login(
    oras: Shell, registry: Registry, name: str, files: Path, tmp_path: Path
) -> None:
    artifact = f"{registry.host}/{name}:v1"
    push(oras, files, artifact)
    oras("oras", "logout", registry.host)
    oras.fails("oras", "pull", HTTP, "-o", tmp_path / "refused", artifact)
    registry.admin("package", "visibility", name, "public")
    oras("oras", "pull", HTTP, "-o", tmp_path / "out", artifact)


def test_a_wrong_password_is_refused(run: Shell, registry: Registry) -> None:
    options = [HTTP, "-u", registry.user, "-p", "wrong-password"]
    said = run.fails("oras", "login", *options, registry.host)
    assert "wrong user name, password or token" in said


def test_a_dead_token_is_refused(
    run: Shell, registry: Registry, dead_tokens: dict[str, str], repository: str, files: Path
) -> None:
    for said, token in dead_tokens.items():
        run.remember(registry.host, registry.user, token)
        assert said in run.fails("oras", "push", HTTP, f"{repository}:v1", "notes.txt", cwd=files)


def test_a_reader_cannot_push(run: Shell, registry: Registry, repository: str, files: Path) -> None:
    login(run, registry, registry.reader, registry.reader_password)
    said = run.fails("oras", "push", HTTP, f"{repository}:v1", "notes.txt", cwd=files)
    assert "bob may not push acme/" in said


def test_a_name_without_an_owner_is_explained(oras: Shell, registry: Registry, files: Path) -> None:
    image = f"{registry.host}/alpine:v1"
    said = oras.fails("oras", "push", HTTP, image, "notes.txt", cwd=files)
    assert "owner/image" in said
