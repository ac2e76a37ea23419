"""Versions that are there, as their parts of documents are rendered from them anew.

Rendering comes before a transaction; in it, a version that is not as it was read ends it.
"""

import json

from auth.permissions import Access
from registry.errors import ManifestUnknown
from registry.linking import FIND_CONFIG
from registry.manifest_bytes import decode
from registry.packaging.arrivals import MAX_METADATA
from registry.packaging.files import Files
from registry.packaging.format import Format, PublishedVersion
from registry.packaging.version_rows import LIST_FILES, stored_file
from storage.database import Database, Row
from storage.digest import Digest

_WHOLE = """
v.id, v.name, v.facts, v.state, v.manifest_id, v.published_at, m.deleted_at, p.name as package,
  a.name as publisher, c.encoding, c.bytes
"""
FIND_WHOLE = f"""
select {_WHOLE}
from package_versions v join packages p on p.id = v.package_id
  join manifests m on m.id = v.manifest_id join manifest_contents c on c.id = m.content_id
  left join accounts a on a.id = v.published_by
where v.package_id = $1 and v.name = $2
"""
FIND_WHOLE_OF = f"""
select {_WHOLE}
from manifest_contents c join manifests m on m.content_id = c.id
  join package_versions v on v.manifest_id = m.id join packages p on p.id = v.package_id
  left join accounts a on a.id = v.published_by
where m.repository_id = $1 and c.digest = $2
"""


class Moved(Exception):
    """Others changed the package between reading and writing: what was prepared is void."""


class Rendering:
    """Reads versions, deleted ones too, for callers that were authorized."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    async def named(self, package_id: int, version: str) -> Row | None:
        """Return the row of a version by its name."""
        return await self._database.fetch_one(FIND_WHOLE, package_id, version)

    async def of(self, package_id: int, digest: Digest) -> Row | None:
        """Return the row of the version that a manifest is."""
        return await self._database.fetch_one(FIND_WHOLE_OF, package_id, digest)

    async def version(
        self, access: Access, package_id: int, adapter: Format, row: Row
    ) -> PublishedVersion:
        """Return what a version's parts of documents are rendered from; `row` is one of ours."""
        metadata = await self._metadata(access, package_id, row)
        files = await self._database.fetch(LIST_FILES, row["id"])
        return PublishedVersion(
            package=adapter.package_name(access.repository, row["package"]),
            version=row["name"],
            metadata=metadata,
            computed=json.loads(row["facts"]),
            files=[stored_file(file) for file in files],
            state=json.loads(row["state"]),
            published_at=row["published_at"],
            publisher=row["publisher"] or "",
        )

    async def _metadata(self, access: Access, package_id: int, row: Row) -> bytes:
        digest = json.loads(decode(row))["config"]["digest"]
        config = await self._database.fetch_one(FIND_CONFIG, package_id, digest)
        if config is None:
            raise ManifestUnknown(
                f"the metadata of {access.repository} {row['name']} is damaged: an administrator "
                "of this server finds out more with 'packhouse fsck'"
            )
        return await self._files.bytes_of(config["key"], MAX_METADATA)
