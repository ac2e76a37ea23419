"""The parameters of paths: which words each may be, for the document and for whoever sends one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.errors import Invalid

WORD = "[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
PROJECT = "(?!\\.{1,2}$)(?!.*\\.[Gg][Ii][Tt]$)[A-Za-z0-9._-]{1,100}"
COMPONENT = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
DIGEST = "sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}"


@dataclass(frozen=True, slots=True)
class PathName:
    """What a segment may hold once it is decoded."""

    pattern: str
    longest: int
    words: str
    _compiled: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", re.compile(self.pattern or ".+", re.DOTALL))

    def check(self, name: str, text: str) -> None:
        """Refuse what no name is, as far as its letters go; services look at its length.

        Raises Invalid.
        """
        if not self._compiled.fullmatch(text):
            raise Invalid(f"{{{name}}} in the path is not {self.words}")

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        found: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": self.longest}
        if self.pattern:
            found["pattern"] = f"^({self.pattern})$"
        return {**found, "description": f"It is {self.words}."}


_OWNER = PathName(WORD, 39, "letters and digits, with single '-' between them")
_ANY = PathName("[^\\x00-\\x1f\\x7f-\\x9f/]+", 255, "printable, and holds no '/'")
_NAMES = {
    "owner": _OWNER,
    "user": _OWNER,
    "member": _OWNER,
    "team": _OWNER,
    "project": PathName(
        PROJECT,
        100,
        "letters, digits, '_', '.', '-', and does not end in '.git'",
    ),
    "package": PathName(
        f"{COMPONENT}(/{COMPONENT})*",
        215,
        "a package's name below its owner, in lower case; each '/' in it is written %2F",
    ),
    "account": PathName(
        f"{WORD}(/{WORD}|\\+[A-Za-z0-9._-]+)?",
        140,
        "a user, a robot like acme+widget, or a team like acme%2Fcore",
    ),
    "source": PathName("", 1000, "a URL or host/path; each '/' is written %2F"),
    "tag": PathName(
        "[A-Za-z0-9_][A-Za-z0-9._-]*",
        128,
        "letters, digits, '_', '.', '-', beginning with a letter, a digit or '_'",
    ),
    "digest": PathName(DIGEST, 135, "sha256: or sha512: and lower-case hex"),
    "subject": PathName(f"{DIGEST}|[a-f0-9]{{32,128}}", 135, "a digest, or the key of an object"),
    "id": PathName("[1-9][0-9]{0,17}", 18, "a number that a list shows"),
}


def path_name(name: str) -> PathName:
    """Return what a parameter may be."""
    return _NAMES.get(name, _ANY)


def check_names(values: Mapping[str, str]) -> None:
    """Refuse parameters of a path that are no names. Raises Invalid."""
    for name, text in values.items():
        path_name(name).check(name, text)
