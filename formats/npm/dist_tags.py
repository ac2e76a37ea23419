"""`npm dist-tag`: the names that move from version to version, which are tags like any other.

Reading list: npm docs, npm-dist-tag; npm's lib/commands/dist-tag.js.
"""

from starlette.responses import Response

from formats.npm.json_bodies import answer, parse_json
from formats.npm.paths import package_of
from formats.npm.versions import parse_dist_tag
from registry.deletion import Deletion
from registry.packaging.surface import Call, Route
from registry.packaging.version_rows import VersionRows
from registry.rest.needs import DELETE_PACKAGE, PUSH_PACKAGE, READ_PACKAGE
from registry.tagging import Tagging
from storage.errors import NotFound

DIST_TAGS = "/-/package/@{owner}/{name}/dist-tags"
DIST_TAG = DIST_TAGS + "/{tag}"
BODY_BYTES = 1024


class DistTags:
    """Lists, moves and removes them."""

    def __init__(self, versions: VersionRows, tagging: Tagging, deletion: Deletion) -> None:
        self._versions = versions
        self._tagging = tagging
        self._deletion = deletion

    def routes(self) -> list[Route]:
        """Return the routes of dist-tags."""
        return [
            Route("GET", DIST_TAGS, self.list, READ_PACKAGE),
            Route("PUT", DIST_TAG, self.move, PUSH_PACKAGE),
            Route("POST", DIST_TAG, self.move, PUSH_PACKAGE),
            Route("DELETE", DIST_TAG, self.remove, DELETE_PACKAGE),
        ]

    async def list(self, call: Call) -> Response:
        """GET: each dist-tag with the version it names."""
        return answer(await self._versions.aliases(call.package_id))

    async def move(self, call: Call) -> Response:
        """PUT, POST: the body is a version as a JSON string. Raises NotFound, Invalid."""
        tag, package = parse_dist_tag(call.values["tag"]), package_of(call)
        version = parse_json(await call.read(BODY_BYTES), str)
        found = await self._versions.find(call.package_id, version)
        if found is None:
            raise NotFound(f"{package} has no version {version[:100]!r}: publish it first")
        await self._tagging.move(call.who, call.repository, tag, found.digest)
        return answer({"ok": f"{tag} is {version} now", "id": package, "dist-tags": {tag: version}})

    async def remove(self, call: Call) -> Response:
        """DELETE: the dist-tag, and nothing else. Raises NotFound."""
        tag = parse_dist_tag(call.values["tag"])
        if tag not in await self._versions.aliases(call.package_id):
            raise NotFound(f"{package_of(call)} has no dist-tag {tag}")
        await self._deletion.delete_tag(call.who, call.repository, tag)
        return answer({"ok": f"{tag} is no dist-tag any more"})
