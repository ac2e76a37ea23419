"""What npm does by sending a package's document back: `deprecate`, `owner`, `unpublish`, `star`.

Reading list: npm's lib/commands/deprecate.js and owner.js; libnpmpublish, lib/unpublish.js.

Each such document says on which revision it was made. One that is not of the newest is refused, so
nobody undoes what somebody else did meanwhile.
"""

import asyncio
from collections.abc import Iterable, Mapping

from starlette.responses import Response

from formats.npm.adapter import DEPRECATED
from formats.npm.body_scan import MAX_DOCUMENT
from formats.npm.changes import Changes, Current, check_revision, read_changes
from formats.npm.current import CurrentPackages
from formats.npm.fragments import FULL
from formats.npm.json_bodies import answer
from formats.npm.paths import PACKAGE, package_of, version_in
from formats.npm.people import People
from registry.deletion import Deletion
from registry.errors import ManifestUnknown
from registry.packages import Packages
from registry.packaging.release_state import ReleaseStates
from registry.packaging.surface import Call, Route
from registry.packaging.version_rows import VersionRows
from registry.rest.needs import DELETE_PACKAGE, PUSH_PACKAGE
from registry.tagging import Tagging
from storage.errors import NotFound
from storage.names import parse_tag

AT_ONCE = 1
"""Documents that are read at once: a large one takes a hundred MB, and nobody waits for it."""


class Editing:
    """Does what a changed document asks for; services authorize each of it."""

    def __init__(
        self,
        current: CurrentPackages,
        versions: VersionRows,
        states: ReleaseStates,
        tagging: Tagging,
        deletion: Deletion,
        packages: Packages,
        people: People,
    ) -> None:
        self._current = current
        self._versions = versions
        self._states = states
        self._tagging = tagging
        self._deletion = deletion
        self._packages = packages
        self._people = people
        self._reading = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the routes of unpublishing, and of owners."""
        revision, tarball = "/-rev/{revision}", "/-/{file}/-rev/{revision}"
        scoped = "/-/@{scope}/{file}/-rev/{revision}"
        return [
            Route("PUT", PACKAGE + revision, self.put, PUSH_PACKAGE),
            Route("DELETE", PACKAGE + revision, self.unpublish, DELETE_PACKAGE),
            Route("DELETE", PACKAGE + tarball, self.unpublish_version, DELETE_PACKAGE),
            Route("DELETE", PACKAGE + scoped, self.unpublish_version, DELETE_PACKAGE),
        ]

    async def put(self, call: Call) -> Response:
        """PUT /PACKAGE/-rev/REV: without some of its versions, or with other maintainers."""
        body = await call.read(await self.most(call))
        return await self.change(call, body, revision=call.values["revision"])

    async def most(self, call: Call) -> int:
        """Return what a document may have that is sent back: what the package's has, and more."""
        small = call.body.length is not None and call.body.length <= MAX_DOCUMENT
        if small or call.at.package_id is None:
            return MAX_DOCUMENT
        return MAX_DOCUMENT + 2 * await self._versions.bytes_of(call.package_id, FULL)

    async def change(self, call: Call, body: bytes, *, revision: str | None) -> Response:
        """Do what a document asks for. Raises Invalid, Conflict, and what services raise."""
        if call.at.package_id is None:
            raise NotFound(f"there is no {package_of(call)} to change: publish it first")
        before = await self._current.read(call.package_id, package_of(call))
        if revision is not None:
            check_revision(before, revision)
        removing = revision is not None
        async with self._reading:
            changes = await asyncio.to_thread(read_changes, before, body, removing=removing)
        await self._apply(call, before, changes)
        return answer({"ok": "changed", "success": True}, 201)

    async def unpublish(self, call: Call) -> Response:
        """DELETE /PACKAGE/-rev/REV: the whole package. It can be restored."""
        before = await self._found(call)
        check_revision(before, call.values["revision"])
        await self._packages.delete(call.who, str(call.repository))
        return answer({"ok": "unpublished"})

    async def unpublish_version(self, call: Call) -> Response:
        """DELETE TARBALL/-rev/REV: a version, which is gone already when npm asks for this.

        It names one version, which nothing that came meanwhile makes another.
        """
        await self._remove(call, [version_in(call)])
        return answer({"ok": "unpublished"})

    async def _found(self, call: Call) -> Current:
        if call.at.package_id is None:
            raise NotFound(f"there is no {package_of(call)}")
        return await self._current.read(call.package_id, package_of(call))

    async def _apply(self, call: Call, before: Current, changes: Changes) -> None:
        if changes.maintainers is not None:
            await self._people.set_maintainers(
                call.who, call.repository, before.maintainers, changes.maintainers
            )
        if changes.deprecations:
            await self._deprecate(call, changes.deprecations)
        for tag, version in changes.tagged.items():
            found = await self._versions.find(call.package_id, version)
            if found is not None:
                await self._tagging.move(call.who, call.repository, tag, found.digest)
        await self._remove(call, changes.unpublished)
        for name in changes.untagged:
            await self._deletion.delete_tag(call.who, call.repository, parse_tag(name))

    async def _deprecate(self, call: Call, messages: Mapping[str, str]) -> None:
        were = await self._states.of(call.package_id)
        states = {
            version: {**were.get(version, {}), DEPRECATED: message}
            for version, message in messages.items()
        }
        await self._states.set(call.who, call.repository, states)

    async def _remove(self, call: Call, versions: Iterable[str]) -> None:
        for version in versions:
            found = await self._versions.find(call.package_id, version)
            if found is None:
                continue  # npm removes it from the document first, and its tarball after
            try:
                await self._deletion.delete_manifest(call.who, call.repository, found.digest)
            except ManifestUnknown:
                continue  # somebody else just did
