"""What refers to versions and stands in documents about them, such as their provenance.

Reading list: OCI image-spec manifest.md ("subject"); OCI distribution-spec, "Listing Referrers".

A referrer comes before its version or after it, and both may come at once. So both look for the
other again in their transactions, which lock the package, and begin anew where it has come.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auth.permissions import Access
from registry.linking import FIND_CONFIG
from registry.manifest_bytes import decode
from registry.packaging.files import Files
from registry.packaging.format import Format, PublishedVersion
from registry.packaging.rendering import Moved, Rendering
from registry.packaging.version_rows import to_json, write_fragments
from storage.database import Database, Row, Transaction
from storage.digest import Digest
from storage.errors import BlobMissing

LOOKED_AT = 1000
"""Referrers of a version that are looked through."""
MOST = 50
"""Of those that documents speak of, how many are read."""
FILE_BYTES = 4 * 1024 * 1024
ALL_BYTES = 8 * 1024 * 1024
"""Bytes of all that are read for one version: some ten thousand are usual."""

LIST_REFERRERS = """
select id, artifact_type from manifests
where repository_id = $1 and subject = $2 and deleted_at is null order by id limit $3
"""
FIND_BYTES = """
select c.encoding, c.bytes from manifests m join manifest_contents c on c.id = m.content_id
where m.id = $1 and m.deleted_at is null
"""
SET_FACTS = """
update package_versions set facts = $3
where id = $1 and facts = $2 and manifest_id = $4 and state = $5
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """A version's facts with what now refers to it, and its parts of documents."""

    version: Row
    facts: str
    parts: Mapping[str, bytes]

    async def write(self, tx: Transaction) -> None:
        """Write them. Raises Moved where the version is not as it was read."""
        row = self.version
        is_still = (row["manifest_id"], row["state"])
        if not await tx.execute(SET_FACTS, row["id"], row["facts"], self.facts, *is_still):
            raise Moved
        await write_fragments(tx, row["id"], self.parts)


class Attached:
    """Reads what refers to versions, for callers that were authorized."""

    def __init__(self, database: Database, files: Files, rendering: Rendering) -> None:
        self._database = database
        self._files = files
        self._rendering = rendering

    async def about(self, package_id: int, subject: Digest, adapter: Format) -> Sequence[bytes]:
        """Return the files of what refers to a version and stands in documents."""
        found = await list_attached(self._database, package_id, subject, adapter)
        return await self._files_of(package_id, found)

    async def joined(
        self, access: Access, adapter: Format, digest: Digest, version: PublishedVersion
    ) -> tuple[Sequence[int], PublishedVersion]:
        """Return what refers to a version that comes, and the version with that in its facts."""
        if access.package_id is None:
            return [], version
        found = await list_attached(self._database, access.package_id, digest, adapter)
        files = await self._files_of(access.package_id, found)
        return found, await _grown(adapter, version, files)

    async def subject(self, package_id: int, digest: Digest) -> Row | None:
        """Return the version that a referrer is about, a deleted one too: it may come back."""
        return await self._rendering.of(package_id, digest)

    async def growth(
        self, access: Access, package_id: int, adapter: Format, row: Row, manifest: bytes
    ) -> Growth | None:
        """Return how a referrer that comes changes its version; None where it does not."""
        data = await self._file(package_id, manifest, FILE_BYTES)
        if data is None:
            return None
        version = await self._rendering.version(access, package_id, adapter, row)
        version = await _grown(adapter, version, [data])
        facts = to_json(version.computed)
        if facts == row["facts"]:
            return None
        return Growth(row, facts, await asyncio.to_thread(adapter.fragments, version))

    async def _files_of(self, package_id: int, manifests: Sequence[int]) -> Sequence[bytes]:
        """Return the files of referrers; those that are too large, or gone, are left out."""
        found: list[bytes] = []
        for manifest_id in manifests:
            row = await self._database.fetch_one(FIND_BYTES, manifest_id)
            left = ALL_BYTES - sum(map(len, found))
            data = None if row is None else await self._file(package_id, decode(row), left)
            found += [] if data is None else [data]
        return found

    async def _file(self, package_id: int, manifest: bytes, most: int) -> bytes | None:
        """Return the one file of a referrer, None where there is another number or none to read."""
        layers = json.loads(manifest).get("layers") or []
        if len(layers) != 1:
            return None
        row = await self._database.fetch_one(FIND_CONFIG, package_id, layers[0]["digest"])
        if row is None or row["size"] > min(most, FILE_BYTES):
            return None
        try:
            return await self._files.bytes_of(row["key"], FILE_BYTES)
        except BlobMissing:
            return None


async def _grown(
    adapter: Format, version: PublishedVersion, files: Sequence[bytes]
) -> PublishedVersion:
    if not files:
        return version
    return replace(version, computed=await asyncio.to_thread(adapter.with_attached, version, files))


async def list_attached(
    tx: Transaction, package_id: int, subject: Digest, adapter: Format
) -> Sequence[int]:
    """Return the manifests that refer to one and that documents speak of, the oldest first."""
    if not adapter.attached:
        return []
    rows = await tx.fetch(LIST_REFERRERS, package_id, subject, LOOKED_AT)
    return [row["id"] for row in rows if is_attached(adapter, row["artifact_type"])][:MOST]


def is_attached(adapter: Format, artifact_type: str) -> bool:
    """Whether documents speak of referrers of a type."""
    return artifact_type.startswith(tuple(adapter.attached))
