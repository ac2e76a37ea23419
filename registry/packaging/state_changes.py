"""Versions whose states change: their parts of documents rendered anew, and written.

Rendering comes before the transaction; in it, a version that is not as it was read ends it.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auth.permissions import Access
from auth.principals import Principal
from registry.errors import ManifestUnknown
from registry.linking import FIND_CONFIG
from registry.manifest_bytes import decode
from registry.packaging.arrivals import MAX_METADATA
from registry.packaging.files import Files
from registry.packaging.format import Format, PublishedVersion, State
from registry.packaging.version_rows import LIST_FILES, stored_file, to_json, write_fragments
from registry.repositories import record
from storage.database import Database, Row, Transaction

FIND_WHOLE = """
select v.id, v.name, v.facts, v.state, v.manifest_id, v.published_at, m.deleted_at,
  p.name as package, a.name as publisher, c.encoding, c.bytes
from package_versions v join packages p on p.id = v.package_id
  join manifests m on m.id = v.manifest_id join manifest_contents c on c.id = m.content_id
  left join accounts a on a.id = v.published_by
where v.package_id = $1 and v.name = $2
"""
SET_STATE = """
update package_versions set state = $3 where id = $1 and state = $2 and manifest_id = $4
"""


class Moved(Exception):
    """Others changed the package between reading and writing: what was prepared is void."""


@dataclass(frozen=True, slots=True)
class Change:
    """A version's new state, with its parts of documents."""

    version_id: int
    version: str
    manifest_id: int
    before: str
    after: str
    parts: Mapping[str, bytes]


class Rendering:
    """Renders versions that are there."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    async def change(
        self, access: Access, package_id: int, adapter: Format, row: Row, state: State
    ) -> Change:
        """Render a version's parts of documents with another state."""
        metadata = await self._metadata(access, package_id, row)
        files = await self._database.fetch(LIST_FILES, row["id"])
        version = PublishedVersion(
            package=adapter.package_name(access.repository, row["package"]),
            version=row["name"],
            metadata=metadata,
            computed=json.loads(row["facts"]),
            files=[stored_file(file) for file in files],
            state=state,
            published_at=row["published_at"],
            publisher=row["publisher"] or "",
        )
        parts = await asyncio.to_thread(adapter.fragments, version)
        before, after = row["state"], to_json(state)
        return Change(row["id"], row["name"], row["manifest_id"], before, after, parts)

    async def _metadata(self, access: Access, package_id: int, row: Row) -> bytes:
        digest = json.loads(decode(row))["config"]["digest"]
        config = await self._database.fetch_one(FIND_CONFIG, package_id, digest)
        if config is None:
            raise ManifestUnknown(
                f"the metadata of {access.repository} {row['name']} is damaged: an administrator "
                "of this server finds out more with 'packhouse fsck'"
            )
        return await self._files.bytes_of(config["key"], MAX_METADATA)


async def apply(
    tx: Transaction,
    who: Principal,
    access: Access,
    package_id: int,
    changes: Sequence[Change],
    at: int,
) -> None:
    """Write states and parts of documents. Raises Moved where a version is not as it was read."""
    for change in changes:
        was = (change.version_id, change.before)
        if not await tx.execute(SET_STATE, *was, change.after, change.manifest_id):
            raise Moved
        await write_fragments(tx, change.version_id, change.parts)
        said = " ".join(sorted(json.loads(change.after))) or "none"
        await record(tx, "version.state", who, access, package_id, change.version, said, at)
