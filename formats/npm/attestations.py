"""Attestations of a version, and the keys that sign versions: none.

Reading list: pacote, lib/registry.js (how npm reads and verifies them). An attestation is a
referrer of the version's manifest, whoever attached it, whose bundle is about its tarball.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from formats.npm.bundles import Attestation, parse_bundle
from formats.npm.json_bodies import answer
from formats.npm.paths import package_in
from registry.packaging.attached import Attached
from registry.packaging.format import Format
from registry.packaging.surface import Call, Route
from registry.packaging.version_rows import LiveVersion, VersionRows
from registry.rest.needs import READ_PACKAGE, open_because
from storage.errors import NotFound

PATH = "/-/npm/v1/attestations/@{owner}/{name}@{version}"


class Attestations:
    """Shows what was attached to versions."""

    def __init__(self, adapter: Format, versions: VersionRows, attached: Attached) -> None:
        self._adapter = adapter
        self._versions = versions
        self._attached = attached

    def routes(self) -> list[Route]:
        """Return the routes of attestations and keys."""
        why = open_because("no version here is signed by the registry, and so no key is shown")
        return [*self.at_root(), Route("GET", "/-/npm/v1/keys", self.keys, why)]

    def at_root(self) -> list[Route]:
        """Return what npm asks for at the host's root too: it drops the path of a registry."""
        return [Route("GET", PATH, self.show, READ_PACKAGE)]

    async def keys(self, _: Call) -> Response:
        """GET /-/npm/v1/keys."""
        return answer({"keys": []})

    async def show(self, call: Call) -> Response:
        """GET /-/npm/v1/attestations/PACKAGE@VERSION. Raises NotFound."""
        package = package_in(call.values).text
        version = await self._versions.find(call.package_id, call.values["version"])
        found = [] if version is None else await self._about(call.package_id, package, version)
        if not found:
            raise NotFound("no attestation of this version is known")
        shown = [{"predicateType": one.predicate_type, "bundle": one.bundle} for one in found]
        return Response(msgspec.json.encode({"attestations": shown}), media_type="application/json")

    async def _about(
        self, package_id: int, package: str, version: LiveVersion
    ) -> Sequence[Attestation]:
        """Return what is attested of a version's tarball."""
        files = await self._attached.about(package_id, version.digest, self._adapter)
        hashes = {file.sha512 for file in version.files}
        read = [await asyncio.to_thread(parse_bundle, data) for data in files]
        return [one for one in read if one and one.is_about(package, version.name, hashes)]
