"""A package as its documents show it, read from its rows."""

import json
from collections.abc import Sequence

from formats.npm.changes import LATEST, Current
from formats.npm.fragments import ABBREVIATED, FULL, README
from formats.npm.names import parse_name
from formats.npm.packument import render_abbreviated, render_packument
from formats.npm.people import People
from registry.packaging.version_rows import Fragment, VersionRows
from storage.errors import NotFound


class CurrentPackages:
    """Reads them; for callers that were authorized."""

    def __init__(self, versions: VersionRows, people: People) -> None:
        self._versions = versions
        self._people = people

    async def read(self, package_id: int, name: str) -> Current:
        """Return a package as a client that sends its document back must have seen it."""
        moment = await self._versions.moment(package_id)  # first: what follows may be newer
        return Current(
            name=name,
            revision=moment.revision,
            fragments=await self._fragments(package_id, name, FULL),
            dist_tags=await self._versions.aliases(package_id),
            maintainers=await self._maintainers(package_id, name),
        )

    async def full(self, package_id: int, name: str) -> bytes:
        """Return the full document, in which addresses are placeholders."""
        moment = await self._versions.moment(package_id)
        before = await self.read(package_id, name)
        return render_packument(
            name,
            revision=moment.revision,
            created=moment.created_at,
            modified=moment.modified_at,
            fragments=before.fragments,
            dist_tags=before.dist_tags,
            maintainers=before.maintainers,
            readme=await self._readme(package_id, before.dist_tags.get(LATEST, "")),
        )

    async def abbreviated(self, package_id: int, name: str) -> bytes:
        """Return the document that installers ask for."""
        moment = await self._versions.moment(package_id)
        return render_abbreviated(
            name,
            modified=moment.modified_at,
            fragments=await self._fragments(package_id, name, ABBREVIATED),
            dist_tags=await self._versions.aliases(package_id),
        )

    async def _fragments(self, package_id: int, name: str, kind: str) -> Sequence[Fragment]:
        """Return the versions. Raises NotFound for a package whose name alone is here.

        A push that is not finished, or was refused, makes the name.
        """
        if found := await self._versions.fragments(package_id, kind):
            return found
        raise NotFound(f"there is no package {parse_name(name).repository}")

    async def _readme(self, package_id: int, version: str) -> str:
        part = await self._versions.fragment(package_id, version, README)
        return json.loads(part) if part else ""

    async def _maintainers(self, package_id: int, name: str) -> Sequence[str]:
        return await self._people.maintainers(package_id, parse_name(name).owner)
