"""A package as its documents show it, read from its rows."""

import json
from collections.abc import Sequence

from formats.npm.changes import LATEST, Current
from formats.npm.fragments import ABBREVIATED, FULL, README
from formats.npm.names import parse_name
from formats.npm.packument import render_abbreviated, render_packument
from formats.npm.people import asked_maintainers, read_maintainers
from registry.packaging.version_rows import Parts, VersionRows, aliased
from storage.database import Question, Row
from storage.errors import NotFound


class CurrentPackages:
    """Reads them, all rows of one moment; for callers that were authorized."""

    def __init__(self, versions: VersionRows) -> None:
        self._versions = versions

    async def read(self, package_id: int, name: str) -> Current:
        """Return a package as a client that sends its document back must have seen it."""
        parts = await self._parts(package_id, name, FULL, asked_maintainers(package_id))
        return Current(
            name=name,
            revision=parts.moment.revision,
            fragments=parts.fragments,
            dist_tags=parts.aliases,
            maintainers=_maintainers(name, parts.more[0]),
        )

    async def full(self, package_id: int, name: str) -> bytes:
        """Return the full document, in which addresses are placeholders."""
        parts = await self._parts(
            package_id,
            name,
            FULL,
            asked_maintainers(package_id),
            aliased(package_id, LATEST, README),
        )
        grants, readme = parts.more
        return render_packument(
            name,
            revision=parts.moment.revision,
            created=parts.moment.created_at,
            modified=parts.moment.modified_at,
            fragments=parts.fragments,
            dist_tags=parts.aliases,
            maintainers=_maintainers(name, grants),
            readme=json.loads(readme[0]["bytes"]) if readme else "",
        )

    def abbreviated(self, package_id: int, name: str) -> "Abbreviated":
        """Return the document that installers ask for, to be rendered."""
        return Abbreviated(self._versions, package_id, name)

    async def _parts(self, package_id: int, name: str, kind: str, *more: Question) -> Parts:
        """Return what a document is rendered of. Raises NotFound for a package without versions."""
        parts = await self._versions.parts(package_id, kind, *more)
        _check(parts, name)
        return parts


class Abbreviated:
    """The document that installers ask for: many ask for it once, for many packages."""

    def __init__(self, versions: VersionRows, package_id: int, name: str) -> None:
        self._versions = versions
        self._package_id = package_id
        self._name = name
        self._small = False

    async def is_small(self) -> bool:
        """Say whether it is small, for less than it costs to make it, which costs less then."""
        self._small = await self._versions.are_few(self._package_id, ABBREVIATED)
        return self._small

    async def render(self) -> bytes:
        """Return the document. Raises NotFound for a package without versions."""
        read = self._versions.few_parts if self._small else self._versions.parts
        parts = await read(self._package_id, ABBREVIATED)
        _check(parts, self._name)
        return render_abbreviated(
            self._name,
            modified=parts.moment.modified_at,
            fragments=parts.fragments,
            dist_tags=parts.aliases,
        )


def _check(parts: Parts, name: str) -> None:
    """Raise NotFound for a name alone: a push that is not finished, or was refused, makes it."""
    if not parts.fragments:
        raise NotFound(f"there is no package {parse_name(name).repository}")


def _maintainers(name: str, grants: Sequence[Row]) -> list[str]:
    return read_maintainers(parse_name(name).owner, grants)
