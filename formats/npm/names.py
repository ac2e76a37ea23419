"""npm's names: `@owner/pad` is the package `pad` of the owner `owner`.

Reading list: npm docs, package.json, "name"; validate-npm-package-name (rules for new packages).

A name is read as it is spelled, never folded: clients install what they asked for under the name
they asked by. Names with capitals are refused even for reading; npm took the last of those before
it had scopes, so no scoped package has one.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from storage.digest import quoted
from storage.errors import NameInvalid
from storage.names import RepositoryName, check_owner, component_of

FORMAT = "npm"
MAX_LENGTH = 214
"""Characters of a whole name, as npm counts them: `@owner/pad` has ten."""

_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*+")
_EXCLUDED = ("node_modules", "favicon.ico")
_GRAMMAR = "use lower-case letters, digits, '-', '.' and '_', not beginning with '.' or '-'"


@dataclass(frozen=True, slots=True)
class PackageName:
    """A name that was parsed."""

    owner: str
    name: str

    @property
    def text(self) -> str:
        """As npm writes it: `@acme/pad`."""
        return f"@{self.owner}/{self.name}"

    @property
    def repository(self) -> RepositoryName:
        """Where it lives under /v2/: `acme/npm/pad`."""
        return _repository(self.owner, self.name)

    def file(self, version: str) -> str:
        """Return the name of a version's tarball: `pad-1.0.0.tgz`."""
        return f"{self.name}-{version}.tgz"


def parse_name(text: str) -> PackageName:
    """Read `@owner/pad`. Raises NameInvalid."""
    scope, separator, name = text.partition("/")
    if not scope.startswith("@"):
        raise unscoped(text)
    if not separator:
        raise NameInvalid(f"package name {quoted(text)} has no name after its scope")
    return parse_pair(scope, name)


@lru_cache(2000)
def parse_pair(scope: str, name: str) -> PackageName:
    """Read two decoded segments of a path, `@owner` and `pad`. Raises NameInvalid."""
    text = f"{scope}/{name}"
    if not scope.startswith("@"):
        raise unscoped(text)
    if len(text) > MAX_LENGTH:
        raise NameInvalid(
            f"package name {quoted(text)} is too long: use at most {MAX_LENGTH} characters, "
            f"not {len(text)}"
        )
    check_owner(scope[1:])
    if not _NAME.fullmatch(name):
        hint = "use lower case" if _NAME.fullmatch(name.lower()) else _GRAMMAR
        raise NameInvalid(f"package name {quoted(text)} is not valid: {hint}")
    if name in _EXCLUDED:
        raise NameInvalid(f"no package may be called {quoted(name)}: choose another name")
    return PackageName(scope[1:], name)


@lru_cache(2000)
def _repository(owner: str, name: str) -> RepositoryName:
    return RepositoryName(owner, (FORMAT, component_of(name)))


def unscoped(name: str) -> NameInvalid:
    """Return the answer to a name without a scope, which says what to do."""
    shown = name if len(name) <= MAX_LENGTH and _NAME.fullmatch(name) else "<name>"
    return NameInvalid(
        f"packages here are scoped: name it @<owner>/{shown} and set "
        "'@<owner>:registry=https://<this host>/npm/' in .npmrc"
    )
