"""A version as an OCI artifact: the manifest that its metadata and its files make.

Reading list: OCI image-spec manifest.md ("Guidelines for Artifact Usage"), annotations.md.

The manifest is a pure function of what was published: what changes later (states, aliases) is
never in it, for it is signed by its digest.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from registry.manifests import OCI_MANIFEST, Descriptor, Manifest
from registry.package_texts import PREFIX, annotations_of, tidy
from registry.packaging.format import Format, StoredFile, VersionFacts
from storage.clock import rfc3339

TITLE = f"{PREFIX}title"
OUR_PREFIX = "vnd.packhouse.package."
FORMAT, NAME, VERSION = (f"{OUR_PREFIX}{word}" for word in ("format", "name", "version"))


def render_manifest(
    adapter: Format,
    name: str,
    facts: VersionFacts,
    config: StoredFile,
    files: Iterable[StoredFile],
    published_at: int,
) -> bytes:
    """Return the manifest of a version of the package whose row has `name`."""
    layers = [
        {**_descriptor(file), "annotations": {TITLE: file.name}}
        for file in sorted(files, key=lambda file: file.name)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": adapter.artifact_type,
        "config": _descriptor(config),
        "layers": layers,
        "annotations": _annotations(adapter, name, facts, published_at),
    }
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode()


def manifest_of(adapter: Format, config: StoredFile, files: Iterable[StoredFile]) -> Manifest:
    """Return what parse_manifest reads in what `render_manifest` returns."""
    layers = sorted(files, key=lambda file: file.name)
    named = {"config": config} | {f"layers[{at}]": file for at, file in enumerate(layers)}
    return Manifest(
        media_type=OCI_MANIFEST,
        artifact_type=adapter.artifact_type,
        subject=None,
        members=tuple(
            Descriptor(where, file.media_type, file.digest, file.size)
            for where, file in named.items()
        ),
    )


def _descriptor(file: StoredFile) -> dict[str, Any]:
    return {"mediaType": file.media_type, "digest": str(file.digest), "size": file.size}


def _annotations(
    adapter: Format, name: str, facts: VersionFacts, published_at: int
) -> Mapping[str, str]:
    said = annotations_of(tidy(facts.text))
    own = {FORMAT: adapter.name, NAME: name, VERSION: facts.version}
    made = {PREFIX + "created": rfc3339(published_at), PREFIX + "version": facts.version}
    return dict(sorted({**said, **made, **own}.items()))
