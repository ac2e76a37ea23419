"""The documents about a package, joined from its versions' fragments.

Reading list: npm registry docs, REGISTRY-API.md ("package"), responses/package-metadata.md.

Fragments are never read here, however many they are; only the newest version's is, for the fields
that stand at the top of the full document.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from formats.npm.fragments import person, write_plain
from formats.npm.members import Members, join, members, write
from registry.packaging.version_rows import Fragment
from storage.errors import Invalid

ABBREVIATED_TYPE = "application/vnd.npm.install-v1+json"

TOP = (
    "description",
    "homepage",
    "keywords",
    "repository",
    "contributors",
    "author",
    "bugs",
    "license",
    "readmeFilename",
)
"""What the full document repeats of its newest version, in npm's order."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC is written as Z


def render_packument(
    name: str,
    *,
    revision: int,
    created: int,
    modified: int,
    fragments: Sequence[Fragment],
    dist_tags: Mapping[str, str],
    maintainers: Sequence[str] = (),
    readme: str = "",
) -> bytes:
    """Return the full document; `fragments` are full ones, oldest first, times microseconds.

    `maintainers` are accounts' names. Addresses are placeholders: see registry.packaging.document.
    """
    latest = _fragment(fragments, dist_tags.get("latest"))
    top = {} if latest is None else members(latest)
    document = {
        "_id": write(name),
        "_rev": write(revision_text(name, revision)),
        "name": write(name),
        "dist-tags": write(dist_tags),
        "time": write(_times(created, modified, fragments)),
        "maintainers": write([person(each) for each in maintainers]),
        "users": b"{}",
        **{key: top[key] for key in TOP if key in top},
        "readme": write_plain(readme),
    }
    return _with_versions(document, fragments)


def render_abbreviated(
    name: str, *, modified: int, fragments: Sequence[Fragment], dist_tags: Mapping[str, str]
) -> bytes:
    """Return the document that installers ask for; `fragments` are abbreviated ones."""
    document = {
        "name": write(name),
        "modified": write(_time(modified)),
        "dist-tags": write(dist_tags),
    }
    return _with_versions(document, fragments)


def revision_text(name: str, revision: int) -> str:
    """Return a package's revision as CouchDB wrote them: `7-` and 32 hex digits."""
    return f"{revision}-{hashlib.sha256(f'{name}@{revision}'.encode()).hexdigest()[:32]}"


def parse_revision(text: str) -> int:
    """Return the revision that a client read before and sends back. Raises Invalid."""
    number = text.partition("-")[0]
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Invalid("the revision is none of ours: read the package again")
    return int(number)


def _with_versions(document: Members, fragments: Sequence[Fragment]) -> bytes:
    """Return the document with all of its versions, each of which is copied once."""
    pieces = [join(document)[:-1], b',"versions":{']
    for part in fragments:
        pieces += (write(part.version), b":", part.bytes, b",")
    if fragments:
        pieces.pop()
    return b"".join([*pieces, b"}}"])


def _times(created: int, modified: int, fragments: Sequence[Fragment]) -> dict[str, str]:
    times = {"created": _time(created), "modified": _time(modified)}
    return times | {part.version: _time(part.published_at) for part in fragments}


def _time(at: int) -> str:
    """Render microseconds as JavaScript does: 2026-11-21T09:40:00.123Z."""
    moment = _EPOCH + timedelta(microseconds=at)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def _fragment(fragments: Sequence[Fragment], version: str | None) -> bytes | None:
    return next((part.bytes for part in fragments if part.version == version), None)
