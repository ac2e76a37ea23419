"""Moving a tag to a manifest that the repository holds: the same as pushing it under that tag."""

from auth.principals import Principal
from registry.manifest_bytes import decode
from registry.manifest_store import ManifestStore, PushedManifest, unknown
from storage.database import Database
from storage.digest import Digest
from storage.names import RepositoryName, Tag

FIND_HELD = """
select m.media_type, c.encoding, c.bytes from manifests m
  join manifest_contents c on c.id = m.content_id
where m.repository_id = $1 and m.deleted_at is null
  and m.content_id = (select id from manifest_contents where digest = $2)
"""


class Tagging:
    """Points tags at manifests; every method authorizes its caller."""

    def __init__(self, database: Database, manifests: ManifestStore) -> None:
        self._database = database
        self._manifests = manifests

    async def move(
        self, who: Principal, repository: RepositoryName, tag: Tag, digest: Digest
    ) -> PushedManifest:
        """Push a manifest again, under a tag. Raises ManifestUnknown, and what a push raises."""
        access = await self._manifests.require(who, repository)
        row = await self._database.fetch_one(FIND_HELD, access.package_id, digest)
        if row is None:
            raise unknown(repository, digest)
        data = decode(row)
        return await self._manifests.put(who, repository, digest, [tag], data, row["media_type"])
