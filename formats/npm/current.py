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

    async def abbreviated(self, package_id: int, name: str) -> bytes:
        """Return the document that installers ask for."""
        parts = await self._parts(package_id, name, ABBREVIATED)
        return render_abbreviated(
            name,
            modified=parts.moment.modified_at,
            fragments=parts.fragments,
            dist_tags=parts.aliases,
        )

    async def _parts(self, package_id: int, name: str, kind: str, *more: Question) -> Parts:
        """Return what a document is rendered of. Raises NotFound for a package without versions.

        A push that is not finished, or was refused, makes the name.
        """
        parts = await self._versions.parts(package_id, kind, *more)
        if parts.fragments:
            return parts
        raise NotFound(f"there is no package {parse_name(name).repository}")


def _maintainers(name: str, grants: Sequence[Row]) -> list[str]:
    return read_maintainers(parse_name(name).owner, grants)
