"""What is published together with a version: referrers of its manifest, such as its provenance.

Reading list: OCI image-spec manifest.md ("subject", "Guidance for an Empty Descriptor"); OCI
distribution-spec, "Enabling the Referrers API".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from registry.manifest_bytes import encode
from registry.manifest_push import Push
from registry.manifests import OCI_MANIFEST, parse_manifest
from registry.package_texts import PREFIX
from registry.packaging.artifact import TITLE
from registry.packaging.format import StoredFile
from registry.packaging.state_manifest import EMPTY, EMPTY_TYPE
from storage.clock import rfc3339
from storage.digest import Digest


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is about a version: `artifact_type` is that of the referrer it becomes."""

    artifact_type: str
    file: StoredFile


def attach(version: Push, attached: Sequence[Attachment]) -> list[Push]:
    """Return the pushes of the referrers, to be kept after the version's own."""
    return [_push(version, each) for each in attached]


def _push(version: Push, attached: Attachment) -> Push:
    data = render_referrer(version, attached)
    manifest = parse_manifest(data, OCI_MANIFEST)
    encoding, kept = encode(data)
    return replace(
        version,
        manifest=manifest,
        digest=Digest.of(data),
        size=len(data),
        encoding=encoding,
        kept=kept,
        source=None,
        text=None,
    )


def render_referrer(version: Push, attached: Attachment) -> bytes:
    """Return the manifest of a referrer; its config is the empty descriptor."""
    file = attached.file
    empty = {"mediaType": EMPTY_TYPE, "digest": str(Digest.of(EMPTY)), "size": len(EMPTY)}
    layer: dict[str, Any] = {
        "mediaType": file.media_type,
        "digest": str(file.digest),
        "size": file.size,
        "annotations": {TITLE: file.name},
    }
    subject = {"mediaType": OCI_MANIFEST, "digest": str(version.digest), "size": version.size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": attached.artifact_type,
        "config": empty,
        "layers": [layer],
        "subject": subject,
        "annotations": {PREFIX + "created": rfc3339(version.at)},
    }
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode()
