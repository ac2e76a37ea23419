"""Versions as OCI clients push them, part by part, and copies from one registry to another."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tests.registry.client import OCI_MANIFEST, Client, descriptor, digest_of
from tests.registry.packaging.generic import BIN, Generic
from tests.registry.packaging.shelf import PAD

TITLE = "org.opencontainers.image.title"
ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """The parts of a version of `acme:pad`; `fields` stand in the place of the manifest's own."""

    config: bytes
    file: bytes
    name: str
    fields: Mapping[str, Any]

    @property
    def layer(self) -> dict[str, Any]:
        return descriptor(self.file, BIN, annotations={TITLE: self.name})

    @property
    def manifest(self) -> bytes:
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": Generic.artifact_type,
            "config": descriptor(self.config, Generic.metadata_type),
            "layers": [self.layer],
            **self.fields,
        }
        return json.dumps({key: value for key, value in document.items() if value}).encode()

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    def with_fields(self, **fields: object) -> "Artifact":
        return replace(self, fields={**self.fields, **fields})


def artifact(version: str, more: bytes = b"", package: str = "acme:pad", **said: str) -> Artifact:
    """A version; `said` are further words of its metadata."""
    config = json.dumps({"package": package, "version": version, **said}).encode()
    return Artifact(config, f"{version}\n".encode() + more, f"pad-{version}.bin", {})


async def push_blobs(client: Client, *blobs: bytes, to: str = PAD) -> None:
    for data in blobs:
        await client.push_blob(to, data)


async def push(
    client: Client, made: Artifact, reference: str, tags: Iterable[str] = (), to: str = PAD
) -> httpx.Response:
    """Push a version's blobs, then its manifest; an empty reference pushes it by its digest."""
    await push_blobs(client, made.config, made.file, to=to)
    return await put(client, made, reference, tags, to)


async def put(
    client: Client, made: Artifact, reference: str, tags: Iterable[str] = (), to: str = PAD
) -> httpx.Response:
    """Push the manifest alone."""
    where = reference or made.digest
    return await client.put_manifest(to, where, made.manifest, OCI_MANIFEST, tags)


async def copy(
    source: Client, target: Client, reference: str, by: str = "", repository: str = PAD
) -> httpx.Response:
    """Copy a manifest and its blobs, under the same reference or `by` another."""
    got = await source.get(f"/v2/{repository}/manifests/{reference}", headers=ACCEPT)
    assert got.status_code == 200, got.text
    document = got.json()
    for blob in (document["config"], *document["layers"]):
        path = f"/v2/{repository}/blobs/{blob['digest']}"
        if (await target.head(path)).status_code == 200:
            continue
        found = await source.get(path)
        assert found.status_code == 200, found.text
        await target.push_blob(repository, found.content)
    media_type = got.headers["content-type"]
    return await target.put_manifest(repository, by or reference, got.content, media_type)
