"""Attestations of a version, and the keys that sign versions: none.

Reading list: pacote, lib/registry.js (how npm reads and verifies them); sigstore's bundle format;
in-toto's Statement v1. An attestation is a referrer of the version's manifest, whoever attached it,
whose statement is about the version's tarball: a signature of the manifest is none.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from formats.npm.json_bodies import answer
from registry.blobs import Blobs
from registry.catalog import Catalog
from registry.manifest_store import ManifestStore
from registry.packaging.files import Files
from registry.packaging.surface import Call, Route
from registry.packaging.version_rows import LiveVersion, VersionRows
from registry.rest.needs import READ_PACKAGE, open_because
from storage.digest import Digest
from storage.errors import NotFound, TooLarge

BUNDLES = "application/vnd.dev.sigstore.bundle"
"""How the types of all versions of the format begin."""
BUNDLE_BYTES = 4 * 1024 * 1024
MOST = 50
"""Bundles of a version that are looked at."""
ALL_BYTES = 8 * 1024 * 1024
"""Bytes of those that are read for one answer: some ten thousand are usual."""
PAGES = 10
"""Pages of referrers that are looked through for them."""
PATH = "/-/npm/v1/attestations/@{owner}/{name}@{version}"


@dataclass(frozen=True, slots=True)
class Attestation:
    """A bundle, byte for byte, and what its statement says: which type, about which sha512s."""

    predicate_type: str
    subjects: frozenset[str]
    bundle: msgspec.Raw


class Attestations:
    """Shows what was attached to versions."""

    def __init__(
        self,
        versions: VersionRows,
        catalog: Catalog,
        manifests: ManifestStore,
        blobs: Blobs,
        files: Files,
    ) -> None:
        self._versions = versions
        self._catalog = catalog
        self._manifests = manifests
        self._blobs = blobs
        self._files = files

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
        version = await self._versions.find(call.package_id, call.values["version"])
        found = [] if version is None else [each async for each in self._about(call, version)]
        if not found:
            raise NotFound("no attestation of this version is known")
        shown = [{"predicateType": one.predicate_type, "bundle": one.bundle} for one in found]
        return Response(msgspec.json.encode({"attestations": shown}), media_type="application/json")

    async def _about(self, call: Call, version: LiveVersion) -> AsyncIterator[Attestation]:
        """Yield what is attested of a version's tarball."""
        hashes = {file.sha512 for file in version.files}
        left = ALL_BYTES
        for digest in await self._bundles(call, version.digest):
            data = await self._read(call, digest, min(left, BUNDLE_BYTES))
            left -= len(data)
            read = await asyncio.to_thread(parse_bundle, data)
            if read is not None and not hashes.isdisjoint(read.subjects):
                yield read

    async def _bundles(self, call: Call, subject: Digest) -> Sequence[Digest]:
        """Return the manifests of the first bundles that refer to a version's."""
        found: list[Digest] = []
        last: str | None = "0"
        for _ in range(PAGES):
            if last is None or len(found) >= MOST:
                break
            page = await self._catalog.referrers(call.who, call.repository, subject, "", int(last))
            found += [
                Digest(each["digest"])
                for each in page.items
                if each.get("artifactType", "").startswith(BUNDLES)
            ]
            last = page.last
        return found[:MOST]

    async def _read(self, call: Call, digest: Digest, most: int) -> bytes:
        """Return a bundle, b"" for what has more than `most` bytes."""
        manifest = await self._manifests.find(call.who, call.repository, digest)
        layers = json.loads(manifest.data).get("layers", [])
        if len(layers) != 1:
            return b""
        blob = await self._blobs.find(call.who, call.repository, Digest(layers[0]["digest"]))
        try:
            return await self._files.bytes_of(blob.key, most)
        except TooLarge:
            return b""


def parse_bundle(data: bytes) -> Attestation | None:
    """Return what a bundle attests; None for what is no attestation. Nothing is verified."""
    try:
        envelope = msgspec.json.decode(data, type=_Bundle).envelope
        payload = base64.b64decode(envelope.payload, validate=True)
        said = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    subjects = frozenset(each.digest.get("sha512", "") for each in said.subject)
    return Attestation(said.type, subjects, msgspec.Raw(data))


class _Envelope(msgspec.Struct, frozen=True):
    payload: str


class _Bundle(msgspec.Struct, frozen=True):
    envelope: _Envelope = msgspec.field(name="dsseEnvelope")


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True):
    subject: list[_Subject]
    type: str = msgspec.field(name="predicateType")
