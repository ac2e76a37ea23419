"""Names: the grammar of every owner, project, repository, tag and reference.

Reading list: OCI distribution-spec, "Pulling manifests" (repository and tag grammars); OCI
image-spec, descriptor.md, "Digests".

Patterns are ASCII, possessive and matched in full against one component at a time: linear in the
input, and no newline slips past the end.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from storage.digest import Digest, quoted
from storage.errors import Invalid, NameInvalid

MAX_REPOSITORY_LENGTH = 255
"""Characters of a whole repository name.

The specification warns that many clients cap host and name together at 255; how long our host is
in front of a client is unknown here, so the name may use all of it. Names we make up ourselves
(slugs) stop at 200 and leave the host 55.
"""

RESERVED_OWNERS = frozenset(
    {
        "-",
        "_",
        "api",
        "auth",
        "cache",
        "healthz",
        "library",
        "login",
        "maven",
        "metrics",
        "npm",
        "nuget",
        "packhouse",
        "readyz",
        "rubygems",
        "static",
        "token",
        "v2",
    }
)
"""First path segments of our own routes, and names that would mislead; nobody may own them."""

RESERVED_FORMATS = frozenset(
    {
        "cargo",
        "composer",
        "conda",
        "debian",
        "generic",
        "go",
        "maven",
        "npm",
        "nuget",
        "pypi",
        "rpm",
        "rubygems",
    }
)
"""Reserved for ever as the second of three or more components: `acme/debian` is an image."""

_COMPONENT = re.compile(r"[a-z0-9]++(?:(?:\.|__?+|-++)[a-z0-9]++)*+")
_OWNER = re.compile(r"[a-z0-9]++(?:-[a-z0-9]++)*+")
_OWNER_LENGTH = 39
_PROJECT = re.compile(r"[A-Za-z0-9._-]{1,100}+")
MAX_TAG_LENGTH = 128
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}+")
_SLUG = re.compile(r"-x[0-9a-f]{16}\Z")
_SLUG_LENGTH = 18
_OTHER = re.compile(r"[^a-z0-9]++")
_SEPARATORS = (".", "_", "__")
MAX_COMPONENT_LENGTH = 150
"""Characters of a package's component: with owner and format, 200 at most."""


class OneComponentName(NameInvalid):
    """`app` where `owner/app` is wanted: HEAD answers 404, or docker retries for ever."""


class TagInvalid(Invalid):
    """A tag or reference that the grammar refuses."""


class Tag(str):
    """A tag that `parse_tag` accepted."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """A name under /v2/: the owner, and one or more further components."""

    owner: str
    rest: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.owner, *self.rest))

    @property
    def is_format_path(self) -> bool:
        """True for `owner/<reserved format>/name…`, which a package of that format lives at."""
        return len(self.rest) > 1 and self.rest[0] in RESERVED_FORMATS


@lru_cache(4000)
def parse_repository(text: str) -> RepositoryName:
    """Read a repository name by the specification's grammar, with our owner as its first component.

    A reserved owner is not refused here: it owns nothing, so its names are unknown like any other.
    Raises NameInvalid, and OneComponentName for a name without an owner.
    """
    if len(text) > MAX_REPOSITORY_LENGTH:
        raise NameInvalid(
            f"repository name {quoted(text)} is too long: use at most {MAX_REPOSITORY_LENGTH} "
            f"characters, not {len(text)}"
        )
    owner, *rest = text.split("/")
    for component in (owner, *rest):
        if not _COMPONENT.fullmatch(component):
            raise NameInvalid(_component_message(text, component))
    if not rest:
        raise OneComponentName(f"names are owner/image: try HOST/<you>/{text}")
    check_owner(owner)
    return RepositoryName(owner, tuple(rest))


def parse_owner(text: str) -> str:
    """Read the name of a user or organization, folded to lower case. Raises NameInvalid."""
    owner = text.lower() if text.isascii() else text
    check_owner(owner)
    if owner in RESERVED_OWNERS:
        raise NameInvalid(f"owner name {quoted(text)} is reserved: choose another")
    return owner


def check_owner(owner: str) -> None:
    """Check an owner's name by its grammar alone, without folding it. Raises NameInvalid."""
    if len(owner) > _OWNER_LENGTH or not _OWNER.fullmatch(owner):
        raise NameInvalid(
            f"owner name {quoted(owner)} is not valid: use lower-case letters and digits, with "
            f"single '-' between them (at most {_OWNER_LENGTH})"
        )


def parse_team(text: str) -> tuple[str, str]:
    """Read `organization/team` as its two names, folded to lower case. Raises NameInvalid.

    No owner's name holds a slash, so a team's row is named like this and collides with none.
    """
    owner, separator, name = text.partition("/")
    folded = name.lower() if name.isascii() else name
    if not separator or len(folded) > _OWNER_LENGTH or not _OWNER.fullmatch(folded):
        raise NameInvalid(
            f"team name {quoted(text)} is not valid: write ORGANIZATION/TEAM, with letters and "
            f"digits and single '-' between them (at most {_OWNER_LENGTH})"
        )
    return parse_owner(owner), folded


def parse_project(text: str) -> str:
    """Read a project's own name, case kept (it is unique without case). Raises NameInvalid."""
    if not _PROJECT.fullmatch(text) or text in (".", "..") or text.lower().endswith(".git"):
        raise NameInvalid(
            f"project name {quoted(text)} is not valid: use letters, digits, '_', '.', '-' "
            "(at most 100), not '.', '..' or a name that ends in '.git'"
        )
    return text


def parse_tag(text: str) -> Tag:
    """Read a tag. Raises TagInvalid."""
    if not is_tag(text):
        raise TagInvalid(
            f"tag {quoted(text)} is not valid: use letters, digits, '_', '.', '-' (at most 128), "
            "beginning with a letter, a digit or '_'"
        )
    return Tag(text)


def is_tag(text: str) -> bool:
    """Whether `parse_tag` accepts it."""
    return _TAG.fullmatch(text) is not None


def parse_reference(text: str) -> Digest | Tag:
    """Read what follows /manifests/: a digest if it holds a colon, else a tag.

    Raises DigestInvalid, TagInvalid.
    """
    return Digest.parse(text) if ":" in text else parse_tag(text)


def component_of(name: str, most: int = MAX_COMPONENT_LENGTH) -> str:
    """Return the component that a package's true name has in a repository's name.

    It is the name itself where that is a legal component of at most `most` characters, else a slug
    of it, "-x" and 16 hex digits of its sha256. What looks like a slug is slugged too, so no two
    names share a component (but for a collision of 64 bits, which the packages' row refuses).
    """
    if len(name) <= most and _COMPONENT.fullmatch(name) and not _SLUG.search(name):
        return name
    slug = _OTHER.sub(_separator, name.lower()).strip("._-")[: most - _SLUG_LENGTH]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug.rstrip('._-') or 'x'}-x{digest[:16]}"


def _separator(found: re.Match[str]) -> str:
    """Keep what may stand between letters; anything else is one '-'."""
    return found[0] if found[0] in _SEPARATORS else "-"


def _component_message(text: str, component: str) -> str:
    if component.isascii() and _COMPONENT.fullmatch(component.lower()):
        return f"repository name {quoted(text)} is not valid: use lower case"
    return (
        f"repository name {quoted(text)} is not valid at {quoted(component)}: use lower-case "
        "letters and digits, with '.', '_', '__' or '-' between them, in components split by '/'"
    )
