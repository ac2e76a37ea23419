"""A version's part of its package's documents: the published object with the registry's own fields.

Reading list: npm registry docs, responses/package-metadata.md ("Version", "Abbreviated version
object"); npm's package.json page.

What was published stays as it was written, in its order. Only OWN fields are ours: they stand where
the client wrote them, else at the end. Addresses begin with placeholders that formats.npm.packument
replaces; what was published is escaped where it spells them, so that it stays what it was.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from formats.npm.members import Members, join, members, write
from formats.npm.texts import readme_of
from registry.packaging.document import PLACEHOLDER, ROOT
from registry.packaging.format import PublishedVersion, State

FULL, ABBREVIATED, README = "full", "abbreviated", "readme"

OWN = ("_id", "deprecated", "dist", "_npmUser", "_hasShrinkwrap", "hasInstallScript")
"""The registry's own fields; `readme` stands in the document, once, and not in each version."""

INSTALLED = (
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "dist",
    "engines",
    "os",
    "cpu",
    "libc",
    "funding",
    "acceptDependencies",
    "_hasShrinkwrap",
    "hasInstallScript",
)
"""The keys of an abbreviated version object, in the order of npm's description."""

_SPELLED, _ESCAPED = b"packhouse.invalid", b"packhouse\\u002einvalid"
_NONE = (b"null", b"false", b'""')


def render_fragments(version: PublishedVersion) -> Mapping[str, bytes]:
    """Return the full and the abbreviated version object, and the readme as JSON text."""
    published = members(version.metadata.replace(_SPELLED, _ESCAPED))
    own = _own_fields(version, published)
    readme = readme_of({"readme": json.loads(published.get("readme", b"null"))})
    return {
        FULL: join(_full(published, own)),
        ABBREVIATED: join(_abbreviated(published, own)),
        README: write(readme or version.computed.get(README, "")),
    }


def _full(published: Members, own: Members) -> Members:
    kept = {
        key: value
        for key, value in published.items()
        if key != "readme" and (key in own or key not in OWN)
    }
    return kept | own


def _abbreviated(published: Members, own: Members) -> Members:
    """Pick what installers read; the older spelling of bundleDependencies is one of it."""
    bundled = published.get("bundledDependencies")
    found = {} if bundled is None else {"bundleDependencies": bundled}
    found |= {key: value for key, value in published.items() if key not in OWN} | own
    if found["_hasShrinkwrap"] == b"false":
        del found["_hasShrinkwrap"]
    return {key: found[key] for key in INSTALLED if key in found}


def _own_fields(version: PublishedVersion, published: Members) -> Members:
    computed = version.computed
    own = {
        "_id": write(f"{version.package}@{version.version}"),
        "dist": write(_dist(version)),
        "_hasShrinkwrap": write(computed.get("_hasShrinkwrap") is True),
    }
    if version.publisher:
        own["_npmUser"] = write(person(version.publisher))
    if computed.get("hasInstallScript") is True:
        own["hasInstallScript"] = b"true"
    deprecated = _deprecated(version.state, published)
    if deprecated is not None:
        own["deprecated"] = deprecated
    return own


def _deprecated(state: State, published: Members) -> bytes | None:
    """Return the message: the state's, which may be none, else what was published with it."""
    if "deprecated" in state:
        return write_plain(state["deprecated"]) if state["deprecated"] else None
    said = published.get("deprecated")
    return None if said in _NONE else said


def _dist(version: PublishedVersion) -> dict[str, Any]:
    (file,) = version.files
    dist: dict[str, Any] = {
        "integrity": f"sha512-{base64.b64encode(bytes.fromhex(file.sha512)).decode()}",
        "shasum": file.sha1,
        "tarball": f"{PLACEHOLDER.decode()}/-/{file.name}",
    }
    sizes = {key: version.computed.get(key) for key in ("fileCount", "unpackedSize")}
    dist |= {key: size for key, size in sizes.items() if size is not None}
    predicates = _predicates(version)
    if predicates:
        dist["attestations"] = {
            "url": f"{ROOT.decode()}{attestations_path(version.package, version.version)}",
            "provenance": {"predicateType": msgspec.Raw(write_plain(predicates[0]))},
        }
    return dist


def write_plain(value: object) -> bytes:
    """Return somebody's value as JSON in which no placeholder stands."""
    return write(value).replace(_SPELLED, _ESCAPED)


def attestations_path(package: str, version: str) -> str:
    """Return where the attestations of a version are, below the registry's address."""
    return f"/-/npm/v1/attestations/{package.replace('/', '%2f')}@{version}"


def person(name: str) -> dict[str, str]:
    """Return an account as npm shows one; who reads a package is told nobody's address."""
    return {"name": name, "email": ""}


def _predicates(version: PublishedVersion) -> Sequence[str]:
    """Return the types of what is attested, that of the provenance first."""
    said = version.computed.get("attestations", ())
    return sorted(said, key=lambda type_: "/provenance/" not in type_)
