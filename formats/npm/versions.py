"""npm's versions and dist-tags.

Reading list: semver.org 2.0.0, 2, 9 to 11; node-semver classes/range.js and internal/re.js; npm
docs, npm-dist-tag, "Caveats".

Every pattern is possessive or bounded, and applied to at most 256 characters.
"""

import re

from registry.packaging.format import Order
from storage.digest import quoted
from storage.errors import Invalid
from storage.names import MAX_TAG_LENGTH, Tag, TagInvalid, parse_tag

MAX_LENGTH = 256
"""Characters of a version, as npm counts them."""
MAX_NUMBER = 2**53 - 1
"""JavaScript's largest exact integer: major, minor and patch end there."""

_NUMBER = r"(0|[1-9][0-9]{0,15})"
_IDENTIFIER = r"(?:0|[1-9][0-9]*+|[0-9]*+[A-Za-z-][0-9A-Za-z-]*+)(?![0-9A-Za-z-])"
_PRERELEASE = rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*+))?"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}{_PRERELEASE}")

_PART = r"(0|[1-9][0-9]*+|[xX])"
_PARTIAL = re.compile(rf"v*+{_PART}(?:\.{_PART}(?:\.{_PART}{_PRERELEASE})?)?")
_ANY = frozenset("xX")
_OURS = ("_", "sha256-", "sha512-")


class VersionInvalid(Invalid):
    """What is no version as npm publishes them."""


def check_version(text: str) -> str:
    """Return a version as it is. Raises VersionInvalid for anything but strict SemVer.

    npm strips a leading v and build metadata before it publishes, so neither is taken here.
    """
    _parts(text)
    return text


def tag_of(version: str) -> Tag:
    """Return the tag of a version, which is the version. Raises VersionInvalid."""
    _parts(version)
    if len(version) > MAX_TAG_LENGTH:
        raise VersionInvalid(
            f"version {quoted(version)} is too long: it becomes a tag, and tags have at most "
            f"{MAX_TAG_LENGTH} characters"
        )
    return Tag(version)


def order_of(version: str) -> Order:
    """Return keys that compare, as ASCII, the way SemVer's precedence does. Raises VersionInvalid.

    A number is its count of digits and the digits. "," ends an identifier and is less than any of
    its characters; "-" begins a prerelease and is less than the "~" of a release.
    """
    *numbers, prerelease = _parts(version)
    core = "".join(chr(ord("a") + len(number)) + number for number in numbers)
    if not prerelease:
        return Order(f"{core}~", prerelease=False)
    identifiers = (_identifier_key(text) for text in prerelease.split("."))
    return Order(f"{core}-{''.join(identifiers)}", prerelease=True)


def parse_dist_tag(text: str) -> Tag:
    """Read a dist-tag: a tag that is no range of versions and not ours. Raises TagInvalid."""
    tag = parse_tag(text)
    if is_range(tag):
        raise TagInvalid(
            f"tag {quoted(text)} is not valid: npm would read it as a version or a range of "
            "versions; use a word such as 'next'"
        )
    if tag.startswith(_OURS):
        raise TagInvalid(
            f"tag {quoted(text)} is not valid: tags that begin with {', '.join(_OURS)} are the "
            "registry's own"
        )
    return tag


def is_range(tag: str) -> bool:
    """Whether npm reads a tag as a range of versions: "1", "v1.4", "1.2.x", "1.0.0-beta".

    Operators, spaces and '*' need no look: no tag holds any. Numbers that are too large for npm
    count too.
    """
    found = _PARTIAL.fullmatch(tag)
    parts = (
        [part in _ANY for part in found.groups()[:3] if part is not None]
        if found
        else [True, False]
    )
    return parts == sorted(parts)


def _parts(text: str) -> tuple[str, str, str, str]:
    """Return major, minor, patch and prerelease ("" for none). Raises VersionInvalid."""
    found = _VERSION.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if not found:
        raise VersionInvalid(_message(text))
    major, minor, patch, prerelease = found.groups()
    if max(int(major), int(minor), int(patch)) > MAX_NUMBER:
        raise VersionInvalid(
            f"version {quoted(text)} is not valid: its numbers go to {MAX_NUMBER} at most"
        )
    return major, minor, patch, prerelease or ""


def _message(text: str) -> str:
    if len(text) > MAX_LENGTH:
        return f"version {quoted(text)} is too long: use at most {MAX_LENGTH} characters"
    plain, plus, _ = text.partition("+")
    if plus and _VERSION.fullmatch(plain):
        return f"version {quoted(text)} is not valid: leave out the build metadata after '+'"
    return f"version {quoted(text)} is not valid: use SemVer, such as 1.0.0 or 1.0.0-beta.1"


def _identifier_key(text: str) -> str:
    return f"0{len(text):03}{text}," if text.isdigit() else f"1{text},"
