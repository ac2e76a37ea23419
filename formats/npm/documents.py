"""The documents and files that installers fetch.

Reading list: npm registry docs, REGISTRY-API.md and responses/package-metadata.md.
"""

from starlette.responses import Response

from auth.principals import Visibility
from formats.npm.current import CurrentPackages
from formats.npm.fragments import ABBREVIATED, FULL
from formats.npm.packument import ABBREVIATED_TYPE
from formats.npm.paths import PACKAGE, package_in, package_of, version_in
from registry.packaging.documents import DocumentKey, Render, Small, respond
from registry.packaging.services import Packaging
from registry.packaging.surface import Call, Route
from registry.rest.needs import READ_PACKAGE
from storage.errors import NotFound

JSON = "application/json"


class PackageDocuments:
    """Shows packages, versions and tarballs."""

    def __init__(self, packaging: Packaging, current: CurrentPackages) -> None:
        self._packaging = packaging
        self._current = current

    def routes(self) -> list[Route]:
        """Return the routes of reading."""
        tarball = (self.tarball, READ_PACKAGE)
        return [
            Route("GET", PACKAGE, self.package, READ_PACKAGE),
            Route("GET", PACKAGE + "/-/{file}", *tarball, pull=True, decides=True),
            Route("GET", PACKAGE + "/-/@{scope}/{file}", *tarball, pull=True, decides=True),
            Route("GET", PACKAGE + "/{version}", self.version, READ_PACKAGE),
        ]

    async def package(self, call: Call) -> Response:
        """GET /PACKAGE: the document that installers ask for, or the full one."""
        name, package_id = package_of(call), call.package_id
        if ABBREVIATED_TYPE in call.headers.get("accept", ""):
            made = self._current.abbreviated(package_id, name)
            return await self._respond(
                call, ABBREVIATED, ABBREVIATED_TYPE, made.render, made.is_small
            )
        return await self._respond(call, FULL, JSON, lambda: self._current.full(package_id, name))

    async def version(self, call: Call) -> Response:
        """GET /PACKAGE/VERSION: one version, or the one that a dist-tag names."""
        name, asked, package_id = package_of(call), call.values["version"], call.package_id

        async def render() -> bytes:
            versions = self._packaging.versions
            named = (await versions.aliases(package_id)).get(asked, asked)
            part = await versions.fragment(package_id, named, FULL)
            if part is None:
                raise NotFound(f"{name} has no version {asked[:100]!r}")
            return part

        return await self._respond(call, f"version {asked}", JSON, render)

    async def tarball(self, call: Call) -> Response:
        """GET /PACKAGE/-/FILE: a tarball, as it was published."""
        version, package = version_in(call), package_in(call.values)
        return await self._packaging.downloads.file(call, version, package.file(version))

    async def _respond(
        self, call: Call, kind: str, media_type: str, render: Render, small: Small | None = None
    ) -> Response:
        path = f"/{package_of(call)}"
        key = DocumentKey(call.package_id, kind, call.at.revision, call.base, path)
        document = await self._packaging.documents.get(key, render, small)
        public = call.at.visibility is Visibility.PUBLIC
        return respond(document, call.headers, media_type, public=public)
