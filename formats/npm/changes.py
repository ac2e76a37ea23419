"""What a client means by sending a package's document back changed.

Reading list: npm lib/commands/deprecate.js, owner.js, star.js; libnpmpublish lib/unpublish.js.

npm reads the whole document, changes it and PUTs it, as CouchDB wanted it. What was published never
changes: of a version only its deprecation may differ, and the registry's own fields do not count.
Stars, readmes and all else at the top of the document are taken and forgotten.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from formats.npm.body_scan import BYTES_OF_A_VALUE, MAX_DOCUMENT
from formats.npm.fragments import OWN
from formats.npm.packument import parse_revision
from formats.npm.versions import parse_dist_tag
from registry.packaging.version_rows import Fragment
from storage.digest import quoted
from storage.errors import Conflict, Invalid, TooLarge
from storage.names import Tag

LATEST = "latest"
MAX_MESSAGE = 1024
"""Characters of a deprecation's message."""
MAX_MAINTAINERS = 1000

_BREAKING = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that begin a line or command a terminal."""

_NOT_COMPARED = frozenset({*OWN, "readme"})

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Current:
    """A package as it is; `fragments` are full ones, of live versions."""

    name: str
    revision: int
    fragments: Sequence[Fragment]
    dist_tags: Mapping[str, str]
    maintainers: Sequence[str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is asked for.

    `deprecations` have a message by version, "" to take one back. `maintainers` are names of
    accounts, None where they stay as they are. A tag of an unpublished version is no change of its
    own.
    """

    deprecations: Mapping[str, str] = field(default_factory=dict)
    unpublished: Sequence[str] = ()
    tagged: Mapping[Tag, str] = field(default_factory=dict)
    untagged: Sequence[str] = ()
    maintainers: Sequence[str] | None = None


def read_changes(before: Current, body: bytes, *, removing: bool) -> Changes:
    """Return how a document that a client sends differs from the package.

    A version that is missing is unpublished if `removing`, which is `PUT /<package>/-rev/<rev>`.
    Raises Invalid for what cannot change, and Conflict for a document that was read too long ago.
    """
    _check_values(before, body)
    after = _decode(body)
    _check_current(before, after)
    published = {part.version: part.bytes for part in before.fragments}
    versions = _mapping(after, "versions", published)
    added = next((version for version in versions if version not in published), None)
    if added is not None:
        raise Invalid(f"version {added[:100]} is not published: 'npm publish' adds it")
    removed = tuple(version for version in published if version not in versions)
    if removed and not removing:
        raise Invalid(f"the document lacks version {removed[0]}: 'npm unpublish' removes it")
    left = {version: data for version, data in published.items() if version in versions}
    tagged, untagged = _tags(before, after, removed)
    return Changes(
        deprecations={} if versions is published else _deprecations(left, versions),
        unpublished=removed,
        tagged=tagged,
        untagged=untagged,
        maintainers=_maintainers(before, after),
    )


def check_message(message: object) -> str:
    """Return a deprecation's message, "" for none. Raises Invalid."""
    if message is None or message is False:
        return ""
    if not isinstance(message, str) or len(message) > MAX_MESSAGE:
        raise Invalid(f"a deprecation is a text of at most {MAX_MESSAGE} characters")
    if any(unicodedata.category(character) in _BREAKING for character in message):
        raise Invalid("a deprecation is one line without control characters")
    return message


def _check_values(before: Current, body: bytes) -> None:
    """Refuse what decodes to much more than it has bytes: a list of a million lists.

    Commas and brackets in texts count too, in the document that was read as well.
    """
    most = MAX_DOCUMENT // BYTES_OF_A_VALUE
    most += 2 * sum(_signs(part.bytes) for part in before.fragments)
    if _signs(body) > most:
        raise TooLarge(f"a document of {before.name} holds at most {most} values")


def _signs(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _decode(body: bytes) -> Json:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body is not JSON that is read alike by all: {error}") from error
    if not isinstance(document, dict):
        raise Invalid("the body is not a JSON object")
    return document


def _check_current(before: Current, after: Json) -> None:
    for key in ("name", "_id"):
        if after.get(key, before.name) != before.name:
            raise Invalid(f"the document has another {key} than {before.name}")
    said = after.get("_rev")
    if isinstance(said, str):
        check_revision(before, said)
    elif said is not None:
        raise Invalid("'_rev' is no text")


def check_revision(before: Current, said: str) -> None:
    """Refuse a revision that is not the package's. Raises Invalid, Conflict."""
    if parse_revision(said) != before.revision:
        raise Conflict(f"{before.name} was changed meanwhile: do it again on what it is now")


def _deprecations(published: Mapping[str, bytes], versions: Json) -> dict[str, str]:
    found = {}
    for version, data in published.items():
        was, said = msgspec.json.decode(data), versions[version]
        if not isinstance(said, dict):
            raise Invalid(f"version {version} is not a JSON object")
        _check_unchanged(version, was, said)
        before, after = was.get("deprecated"), said.get("deprecated")
        if before != after and (message := check_message(after)) != (before or ""):
            found[version] = message
    return found


def _check_unchanged(version: str, was: Json, said: Json) -> None:
    was, said = _published(was), _published(said)
    if was == said:
        return
    for key in sorted(was.keys() | said.keys()):
        if key not in was or key not in said or not _same(was[key], said[key]):
            raise Invalid(
                f"{quoted(key)} of version {version} cannot be changed: what is published stays "
                "as it is, so publish a new version"
            )


def _published(version: Json) -> Json:
    return {key: value for key, value in version.items() if key not in _NOT_COMPARED}


def _same(was: object, said: object) -> bool:
    """Whether two values are one to JavaScript, through which all of this went."""
    if isinstance(was, dict) and isinstance(said, dict):
        return was.keys() == said.keys() and all(_same(was[key], said[key]) for key in was)
    if isinstance(was, list) and isinstance(said, list):
        return len(was) == len(said) and all(map(_same, was, said))
    if _is_number(was) and _is_number(said):
        return was == said or float(str(was)) == float(str(said))
    return was == said


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tags(
    before: Current, after: Json, removed: Sequence[str]
) -> tuple[dict[Tag, str], Sequence[str]]:
    """Return tags that are set and taken away. Those of a removed version go where it goes."""
    were = {tag: named for tag, named in before.dist_tags.items() if named not in removed}
    gone = before.dist_tags.keys() - were.keys()
    tags = _mapping(after, "dist-tags", before.dist_tags)
    there = {part.version for part in before.fragments}.difference(removed)
    tagged = {}
    for tag, version in tags.items():
        if tag in gone or were.get(tag) == version:
            continue
        if not isinstance(version, str) or version not in there:
            raise Invalid(f"dist-tag {quoted(tag)} names a version that is not published")
        tagged[parse_dist_tag(tag)] = version
    untagged = tuple(tag for tag in were if tag not in tags)
    if LATEST in untagged:
        raise Invalid("dist-tag 'latest' cannot be taken away: it is what installs by default")
    return tagged, untagged


def _maintainers(before: Current, after: Json) -> Sequence[str] | None:
    said = after.get("maintainers")
    if said is None:
        return None
    names = [_name(each) for each in said] if isinstance(said, list) else [""]
    if "" in names or len(names) > MAX_MAINTAINERS:
        raise Invalid(f"'maintainers' is not a list of at most {MAX_MAINTAINERS}, each with a name")
    return None if set(names) == set(before.maintainers) else tuple(dict.fromkeys(names))


def _name(maintainer: object) -> str:
    name = maintainer.get("name") if isinstance(maintainer, dict) else maintainer
    return name if isinstance(name, str) else ""


def _mapping(document: Json, key: str, default: Mapping[str, Any]) -> Json:
    value = document.get(key, default)
    if not isinstance(value, Mapping):
        raise Invalid(f"'{key}' is not an object")
    return value
