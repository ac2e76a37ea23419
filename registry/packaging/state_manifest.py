"""The manifest under the tag `_state`: how release states travel between registries.

Reading list: OCI image-spec manifest.md ("Guidelines for Artifact Usage", "Guidance for an Empty
Descriptor").

States are rows, for a version's bytes never change; whoever copies all tags of a package takes this
manifest along, and a push of it sets the states again. Versions of one state stand together.
"""

import json
from collections.abc import Mapping
from typing import Any

from registry.errors import ManifestInvalid
from registry.manifests import OCI_MANIFEST, Manifest, annotations
from registry.our_tags import STATE_TYPE
from registry.packaging.artifact import FORMAT
from registry.packaging.format import Format, State
from registry.packaging.version_rows import to_json
from storage.digest import Digest
from storage.errors import Conflict, Invalid

STATES = "vnd.packhouse.package.states"
"""The annotation that holds them: a list of {"state": ..., "versions": [...]} as JSON text."""

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
MAX_SIZE = 3 * 1024 * 1024
"""Bytes of such a manifest: clients read 4 MiB."""


def render_states(format_name: str, states: Mapping[str, State]) -> bytes:
    """Return the manifest that says which version has which state; those without are left out.

    Raises Conflict where it would be too large to travel.
    """
    groups: dict[str, list[str]] = {}
    for version in sorted(states):
        if states[version]:
            groups.setdefault(to_json(states[version]), []).append(version)
    said = [{"state": json.loads(state), "versions": groups[state]} for state in sorted(groups)]
    data = _render(format_name, json.dumps(said, ensure_ascii=False, separators=(",", ":")))
    if len(data) > MAX_SIZE:
        raise Conflict(
            f"the states of this package's versions would take {len(data)} bytes together, and "
            f"{MAX_SIZE} are allowed: use fewer or shorter texts"
        )
    return data


def read_states(manifest: Manifest, data: bytes, adapter: Format) -> dict[str, State]:
    """Return the states in a manifest that somebody pushed, checked. Raises ManifestInvalid."""
    empty = Digest.of(EMPTY)
    if manifest.media_type != OCI_MANIFEST or manifest.subject is not None:
        raise ManifestInvalid(f"states travel in an {OCI_MANIFEST} without a subject")
    if any(each.digest != empty or each.media_type != EMPTY_TYPE for each in manifest.members):
        raise ManifestInvalid(f"the config and layers of states are {EMPTY_TYPE}")
    said = annotations(data)
    if said.get(FORMAT) != adapter.name:
        raise ManifestInvalid(f"these are not states of {adapter.name} packages")
    found: dict[str, State] = {}
    for group in _groups(said.get(STATES, "")):
        state = _checked(group["state"], adapter)
        for version in group["versions"]:
            _check_version(version, adapter)
            if version in found:
                raise ManifestInvalid(f"version {version[:100]!a} has two states")
            found[version] = state
    return found


def kept_states(data: bytes) -> dict[str, State]:
    """Return the states in a manifest that was checked when it came, or that we made."""
    groups = json.loads(json.loads(data)["annotations"][STATES])
    return {version: group["state"] for group in groups for version in group["versions"]}


def _render(format_name: str, states: str) -> bytes:
    empty = {"mediaType": EMPTY_TYPE, "digest": str(Digest.of(EMPTY)), "size": len(EMPTY)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": STATE_TYPE,
        "config": empty,
        "layers": [empty],
        "annotations": {FORMAT: format_name, STATES: states},
    }
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode()


def _groups(text: str) -> list[dict[str, Any]]:
    try:
        groups = json.loads(text, parse_constant=_no_constant)
        json.dumps(groups, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"the annotation {STATES} is not JSON") from error
    if not isinstance(groups, list) or not all(_is_group(group) for group in groups):
        raise ManifestInvalid(
            f"the annotation {STATES} is a list of " + '{"state": {...}, "versions": ["1.0.0"]}'
        )
    return groups


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


def _is_group(group: object) -> bool:
    return (
        isinstance(group, dict)
        and group.keys() == {"state", "versions"}
        and isinstance(group["state"], dict)
        and isinstance(group["versions"], list)
        and all(isinstance(version, str) for version in group["versions"])
    )


def _checked(state: Mapping[str, Any], adapter: Format) -> State:
    try:
        return adapter.check_state(state)
    except Invalid as error:
        raise ManifestInvalid(f"a state is not valid: {error.message}") from error


def _check_version(version: str, adapter: Format) -> None:
    try:
        adapter.tag(version)
    except Invalid as error:
        raise ManifestInvalid(f"a state names no version: {error.message}") from error
