"""Manifests: what their bytes say, and what is refused.

Reading list: OCI image-spec manifest.md, image-index.md, descriptor.md; Docker "Image Manifest
Version 2, Schema 2"; CVE-2021-41190 (a document that reads as manifest and as index).

Bytes are kept exactly; this module only reads. Unknown fields pass. Refused is what two clients
could read differently: duplicate keys, known keys in another case (Go folds case), `layers` beside
`manifests`, a mediaType that is not the Content-Type.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from registry.errors import ManifestInvalid
from storage.digest import Digest
from storage.errors import DigestInvalid

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MEDIA_TYPES = frozenset({OCI_MANIFEST, OCI_ARTIFACT, DOCKER_MANIFEST}) | INDEX_TYPES

_FOREIGN_TYPES = (
    "application/vnd.docker.image.rootfs.foreign.",
    "application/vnd.oci.image.layer.nondistributable.",
)
_MEMBERS = {
    OCI_MANIFEST: ("layers", ("manifests", "blobs", "fsLayers")),
    DOCKER_MANIFEST: ("layers", ("manifests", "blobs", "fsLayers")),
    OCI_ARTIFACT: ("blobs", ("manifests", "layers", "config", "fsLayers")),
    OCI_INDEX: ("manifests", ("layers", "config", "blobs", "fsLayers")),
    DOCKER_LIST: ("manifests", ("layers", "config", "blobs", "fsLayers")),
}
_MANIFEST_KEYS = (
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
    "fsLayers",
)
_DESCRIPTOR_KEYS = (
    "mediaType",
    "digest",
    "size",
    "urls",
    "data",
    "annotations",
    "artifactType",
    "platform",
)
_MAX_SIZE = 2**63 - 1
_MAX_MEDIA_TYPE = 255


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One descriptor of a manifest; `where` names it in messages ("layers[2]")."""

    where: str
    media_type: str
    digest: Digest
    size: int

    @property
    def foreign(self) -> bool:
        """Whether the bytes may lie elsewhere (non-distributable layers)."""
        return self.media_type.startswith(_FOREIGN_TYPES)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest's bytes say. `artifact_type` is what the referrers list shows, or ""."""

    media_type: str
    artifact_type: str
    subject: Descriptor | None
    members: tuple[Descriptor, ...]

    @property
    def index(self) -> bool:
        """Whether its members may be manifests."""
        return self.media_type in INDEX_TYPES


def parse_manifest(data: bytes, content_type: str | None) -> Manifest:
    """Read a manifest pushed as `content_type` (parameters are ignored). Raises ManifestInvalid."""
    document = _parse_json(data)
    _check_case(document, _MANIFEST_KEYS, "the manifest")
    media_type = _media_type(document, content_type)
    version = document.get("schemaVersion")
    if media_type != OCI_ARTIFACT and (version != 2 or isinstance(version, bool)):
        raise ManifestInvalid(f"schemaVersion is {version!r}: only 2 is supported")
    key, foreign_keys = _MEMBERS[media_type]
    for other in foreign_keys:
        if other in document:
            raise ManifestInvalid(f"a manifest of type {media_type} may not hold {other!r}")
    members = _list(document, key)
    config = document.get("config")
    if config is None and media_type == DOCKER_MANIFEST:
        raise ManifestInvalid("a Docker manifest needs a config")
    descriptors = [] if config is None else [_descriptor(config, "config")]
    descriptors += [_descriptor(item, f"{key}[{i}]") for i, item in enumerate(members)]
    subject = document.get("subject")
    return Manifest(
        media_type=media_type,
        artifact_type=_artifact_type(document, descriptors if config is not None else []),
        subject=None if subject is None else _descriptor(subject, "subject"),
        members=tuple(descriptors),
    )


def annotations(data: bytes) -> Mapping[str, str]:
    """Return the annotations of stored manifest bytes, which were parsed when they came.

    Those that are not text are left out: Go clients could not read a list that holds one.
    """
    found = json.loads(data).get("annotations")
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
        if b"\\ud" in data.lower():  # perhaps half a surrogate pair, which is no text
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except ManifestInvalid:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"the manifest is not JSON: {_short(error)}") from error
    if not isinstance(document, dict):
        raise ManifestInvalid("the manifest is not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ManifestInvalid(f"the manifest holds the key {key[:100]!r} twice")
        found[key] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


def _short(error: Exception) -> str:
    return str(error)[:200] if isinstance(error, json.JSONDecodeError) else "it cannot be decoded"


def _check_case(document: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    folded = {key.lower(): key for key in known}
    for key in document:
        meant = folded.get(key.lower())
        if meant is not None and key != meant:
            raise ManifestInvalid(f"{where} holds the key {key!r}: write {meant!r}")


def _media_type(document: Mapping[str, Any], content_type: str | None) -> str:
    announced = (content_type or "").partition(";")[0].strip().lower()
    said = document.get("mediaType")
    if said is not None and not isinstance(said, str):
        raise ManifestInvalid("mediaType is not text")
    if announced and said and said != announced:
        raise ManifestInvalid(
            f"mediaType is {said[:_MAX_MEDIA_TYPE]!r} but the Content-Type is {announced!r}"
        )
    media_type = announced or said or ""
    if media_type not in MEDIA_TYPES:
        raise ManifestInvalid(
            f"{media_type[:_MAX_MEDIA_TYPE]!r} is not a manifest type: push one of "
            + ", ".join(sorted(MEDIA_TYPES))
        )
    return media_type


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    members = document.get(key)
    if members is None and key in document:
        return []  # Go clients write null for an empty list
    if members is None and key == "manifests":
        raise ManifestInvalid("an index needs 'manifests'")
    if members is not None and not isinstance(members, list):
        raise ManifestInvalid(f"{key!r} is not a list")
    return members or []


def _descriptor(value: object, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where} is not a descriptor")
    _check_case(value, _DESCRIPTOR_KEYS, where)
    media_type, size, text = value.get("mediaType"), value.get("size"), value.get("digest")
    if not media_type or not _is_media_type(media_type):
        raise ManifestInvalid(f"{where} has no mediaType")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
        raise ManifestInvalid(f"{where} has no size: write a whole number of bytes")
    if not isinstance(text, str):
        raise ManifestInvalid(f"{where} has no digest")
    try:
        digest = Digest.parse(text)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{where}: {error.message}") from error
    _check_data(value.get("data"), digest, size, where)
    return Descriptor(where=where, media_type=media_type, digest=digest, size=size)


def _is_media_type(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= _MAX_MEDIA_TYPE and value.isprintable()


def _check_data(data: object, digest: Digest, size: int, where: str) -> None:
    if data is None:
        return
    try:
        content = base64.b64decode(data if isinstance(data, str) else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ManifestInvalid(f"{where}.data is not base64") from error
    if len(content) != size or Digest.of(content, digest.algorithm) != digest:
        raise ManifestInvalid(f"{where}.data is not the content its digest and size name")


def _artifact_type(document: Mapping[str, Any], config: list[Descriptor]) -> str:
    said = document.get("artifactType")
    if said is not None and not _is_media_type(said):
        raise ManifestInvalid("artifactType is not a media type")
    return said or (config[0].media_type if config else "")
