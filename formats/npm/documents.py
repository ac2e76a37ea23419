"""The documents and files that installers fetch."""

from starlette.responses import Response

from formats.npm.current import CurrentPackages
from formats.npm.dist_tags import package_of
from formats.npm.editing import version_in
from formats.npm.fragments import FULL
from formats.npm.packument import ABBREVIATED_TYPE, replace_base
from registry.blobs import Blobs
from registry.packaging.services import Packaging
from registry.packaging.surface import Call, Route
from registry.rest.needs import READ_PACKAGE
from storage.errors import NotFound

PACKAGE = "/@{owner}/{name}"


class PackageDocuments:
    """Shows packages, versions and tarballs."""

    def __init__(self, packaging: Packaging, blobs: Blobs, current: CurrentPackages) -> None:
        self._packaging = packaging
        self._blobs = blobs
        self._current = current

    def routes(self) -> list[Route]:
        """Return the routes of reading."""
        return [
            Route("GET", PACKAGE, self.package, READ_PACKAGE),
            Route("GET", PACKAGE + "/-/{file}", self.tarball, READ_PACKAGE, pull=True),
            Route("GET", PACKAGE + "/-/@{scope}/{file}", self.tarball, READ_PACKAGE, pull=True),
            Route("GET", PACKAGE + "/{version}", self.version, READ_PACKAGE),
        ]

    async def package(self, call: Call) -> Response:
        """GET /PACKAGE."""
        name = package_of(call)
        if ABBREVIATED_TYPE in call.headers.get("accept", ""):
            data, kind = await self._current.abbreviated(call.package_id, name), ABBREVIATED_TYPE
        else:
            data, kind = await self._current.full(call.package_id, name), "application/json"
        return Response(replace_base(data, call.base, name), media_type=kind)

    async def version(self, call: Call) -> Response:
        """GET /PACKAGE/VERSION."""
        name, version = package_of(call), call.values["version"]
        parts = await self._packaging.versions.fragments(call.package_id, FULL)
        aliases = await self._packaging.versions.aliases(call.package_id)
        for part in parts:
            if part.version == aliases.get(version, version):
                data = replace_base(part.bytes, call.base, name)
                return Response(data, media_type="application/json")
        raise NotFound(f"{name} has no version {version[:100]!r}")

    async def tarball(self, call: Call) -> Response:
        """GET /PACKAGE/-/FILE."""
        found = await self._packaging.versions.find(call.package_id, version_in(call))
        if found is None:
            raise NotFound(f"{package_of(call)} has no such version")
        blob = await self._blobs.find(call.who, call.repository, found.files[0].digest)
        return Response(await self._packaging.files.bytes_of(blob.key, 2**30))
