"""Manifests that arrive by OCI in a format's repository: what each says it is.

Reading list: OCI image-spec manifest.md ("Guidelines for Artifact Usage"), annotations.md; OCI
distribution-spec, "Referrers Tag Schema"; cosign's SIGNATURE_SPEC.md ("Discovering Signatures").
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from registry.errors import ManifestInvalid
from registry.manifests import OCI_MANIFEST, Descriptor, Manifest, annotations
from registry.package_texts import PREFIX
from registry.packaging.artifact import FORMAT, NAME, TITLE, VERSION
from registry.packaging.files import check_file_name
from registry.packaging.format import Format, VersionFacts
from storage.clock import SECOND
from storage.errors import Invalid
from storage.names import Tag

MAX_METADATA = 8 * 1024 * 1024
"""Bytes of a version's metadata."""
MAX_FILES = 256

_CREATED = PREFIX + "created"
_SIGNATURES = ("application/vnd.dev.cosign.", "application/vnd.dsse.envelope.")
_OF_A_DIGEST = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A manifest that says it is a version: its metadata, its files by name, its annotations."""

    config: Descriptor
    files: Mapping[str, Descriptor]
    said: Mapping[str, str]


def names_a_digest(tag: Tag) -> bool:
    """Whether a tag is made from a manifest's digest: cosign's, or of the referrers tag schema."""
    return _OF_A_DIGEST.fullmatch(tag) is not None


def signs(manifest: Manifest) -> bool:
    """Whether a manifest is cosign's of the older form, which only its tag connects to another."""
    layers = [member for member in manifest.members if member.where != "config"]
    return bool(layers) and all(layer.media_type.startswith(_SIGNATURES) for layer in layers)


def read_arrival(manifest: Manifest, data: bytes, adapter: Format) -> Arrival:
    """Read a manifest of the adapter's artifact type. Raises ManifestInvalid."""
    if manifest.media_type != OCI_MANIFEST:
        raise ManifestInvalid(
            f"a version of {adapter.name} is an {OCI_MANIFEST}, not {manifest.media_type}"
        )
    if manifest.subject is not None:
        raise ManifestInvalid("a version refers to nothing: leave its subject out")
    document = json.loads(data)
    if document.get("artifactType") != adapter.artifact_type:
        raise ManifestInvalid(f"artifactType is missing: write {adapter.artifact_type!r}")
    config = _config(manifest, adapter)
    return Arrival(config, _files(manifest, document, adapter), annotations(data))


def check_said(said: Mapping[str, str], adapter: Format, name: str, facts: VersionFacts) -> None:
    """Refuse annotations that contradict what the files say. Raises ManifestInvalid."""
    true = {
        FORMAT: adapter.name,
        NAME: name,
        VERSION: facts.version,
        PREFIX + "version": facts.version,
    }
    for key, value in true.items():
        if said.get(key, value) != value:
            raise ManifestInvalid(
                f"the annotation {key} is {said[key][:100]!a}, but this is {value!a}"
            )


def check_tags(aliases: Iterable[Tag], adapter: Format, version: str, own: Tag) -> None:
    """Refuse tags that may not name just any version. Raises ManifestInvalid."""
    for tag in aliases:
        if names_a_digest(tag) or not adapter.is_alias(tag):
            raise ManifestInvalid(
                f"this is version {version} of its package, whose tag is {own}: {tag} is neither "
                f"that nor a tag that may name any version of {adapter.name}"
            )


def created_at(said: Mapping[str, str], at: int) -> int:
    """Return when a version says it was published (µs UTC), where that is not later than `at`."""
    try:
        when = datetime.fromisoformat(said.get(_CREATED, ""))
    except ValueError:
        return at
    if when.tzinfo is None:
        return at
    found = int((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * SECOND
    return found if 0 <= found <= at else at


def _config(manifest: Manifest, adapter: Format) -> Descriptor:
    config = next((member for member in manifest.members if member.where == "config"), None)
    if config is None or config.media_type != adapter.metadata_type:
        raise ManifestInvalid(f"the config of a version has the media type {adapter.metadata_type}")
    if config.size > MAX_METADATA:
        raise ManifestInvalid(f"the config of a version has at most {MAX_METADATA} bytes")
    return config


def _files(
    manifest: Manifest, document: Mapping[str, Any], adapter: Format
) -> Mapping[str, Descriptor]:
    layers = [member for member in manifest.members if member.where != "config"]
    if not 0 < len(layers) <= MAX_FILES:
        raise ManifestInvalid(f"a version has 1 to {MAX_FILES} layers, each a file of it")
    found: dict[str, Descriptor] = {}
    for layer, said in zip(layers, document["layers"], strict=True):
        name = _title(said, layer.where)
        if name in found:
            raise ManifestInvalid(f"two layers have the title {name!r}")
        _check_type(layer, name, adapter)
        found[name] = layer
    return found


def _title(layer: Mapping[str, Any], where: str) -> str:
    said = layer.get("annotations")
    title = said.get(TITLE) if isinstance(said, dict) else None
    if not isinstance(title, str):
        raise ManifestInvalid(f"{where} has no name: write the annotation {TITLE}")
    try:
        check_file_name(title)
    except Invalid as error:
        raise ManifestInvalid(f"{where}: {error.message}") from error
    return title


def _check_type(layer: Descriptor, name: str, adapter: Format) -> None:
    try:
        expected = adapter.media_type(name)
    except Invalid as error:
        raise ManifestInvalid(f"{layer.where}: {error.message}") from error
    if layer.media_type != expected:
        raise ManifestInvalid(
            f"{layer.where} has the media type {layer.media_type}: {name} has {expected}"
        )
