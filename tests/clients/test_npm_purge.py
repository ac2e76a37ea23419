"""A purge of what npm published: the bytes are gone with the answer, and nobody else's are."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell

SIZE = 5 * 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    return npm.home(tmp_path / "alice", registry, registry.token)


def publish(run: Shell, at: Path, name: str) -> bytes:
    """Publish a version of 5 MiB that no compression makes smaller; returns its tarball."""
    source = npm.package(at, name)
    (source / "data.bin").write_bytes(os.urandom(SIZE))
    packed = json.loads(run("npm", "pack", "--json", "--pack-destination", at.parent, cwd=source))
    run("npm", "publish", cwd=source)
    return (at.parent / packed[0]["filename"].replace("@", "").replace("/", "-")).read_bytes()


def stored(registry: Registry, data: bytes) -> int:
    """How many files of the data directory hold these bytes."""
    files = [file for file in registry.data.rglob("*") if file.is_file()]
    return sum(file.stat().st_size == len(data) and file.read_bytes() == data for file in files)


def refer(registry: Registry, source: str, target: str, data: bytes) -> str:
    """Mount a tarball into an image's repository, and name it there; returns its URL."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer = {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x.test"}
    with registry.http() as http:
        asked = {"mount": digest, "from": source}
        assert http.post(f"/v2/{target}/blobs/uploads/", params=asked).status_code == 201
        image = json.dumps({**document, "config": layer, "layers": [layer]})
        type_ = {"Content-Type": MANIFEST}
        put = http.put(f"/v2/{target}/manifests/v1", content=image, headers=type_)
        assert put.status_code == 201, put.text
    return f"/v2/{target}/blobs/{digest}"


def purge(registry: Registry, name: str) -> None:
    registry.admin("package", "delete", name)
    registry.admin("package", "purge", name)


def test_the_bytes_of_a_purged_package_leave_the_disk(
    alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    tarball = publish(alice, tmp_path / "pad", pad)
    assert stored(registry, tarball) == 1
    purge(registry, pad.replace("@acme/", "acme/npm/"))
    assert stored(registry, tarball) == 0
    registry.admin("fsck")
    assert "404" in alice.fails("npm", "view", pad)


def test_the_bytes_that_an_image_names_too_stay_until_it_is_purged(
    alice: Shell, registry: Registry, pad: str, name: str, tmp_path: Path
) -> None:
    tarball = publish(alice, tmp_path / "pad", pad)
    source = pad.replace("@acme/", "acme/npm/")
    blob = refer(registry, source, name, tarball)
    purge(registry, source)
    with registry.http() as http:
        assert http.get(blob).content == tarball
    registry.admin("fsck")
    purge(registry, name)
    assert stored(registry, tarball) == 0
    registry.admin("fsck")


def test_a_purged_version_takes_its_bytes_and_its_number_along(
    alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    tarball = publish(alice, tmp_path / "one", pad)
    source = npm.package(tmp_path / "two", pad, "1.0.1")
    alice("npm", "publish", cwd=source)
    repository = pad.replace("@acme/", "acme/npm/")
    alice("npm", "unpublish", "--force", f"{pad}@1.0.0")
    assert stored(registry, tarball) == 1
    (listed,) = json.loads(registry.admin("package", "deletions", repository, "--json"))
    registry.admin("package", "purge", repository, "--deletion", str(listed["deletion"]))
    assert stored(registry, tarball) == 0
    assert json.loads(registry.admin("package", "deletions", repository, "--json")) == []
    assert "deleted for good" in alice.fails("npm", "publish", "--tag", "old", cwd=tmp_path / "one")
