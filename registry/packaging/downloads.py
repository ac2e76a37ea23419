"""The files of versions, as they were published: one statement decides and finds."""

from starlette.responses import Response

from auth.permissions import ACCESS, Permissions, question
from auth.principals import Action, Visibility
from registry.blob_response import BlobResponse
from registry.blobs import Blob
from registry.oci.call import content_headers
from registry.open_files import OpenFiles
from registry.packaging.route import Call
from storage.blobs import BlobStore
from storage.database import Database
from storage.digest import Digest
from storage.errors import NotFound

FIND_FILE = f"""
with {ACCESS}
select access.*, f.digest, f.size, b.id as blob_id, b.key
from access
  left join package_versions v on v.package_id = access.package_id and v.name = $5
  left join manifests m on m.id = v.manifest_id and m.deleted_at is null
  left join version_files f on f.version_id = v.id and f.name = $6 and m.id is not null
  left join blobs b on b.digest = f.digest and b.damaged_at is null
"""


class Downloads:
    """Answers the routes whose handlers decide: their calls were not judged before."""

    def __init__(
        self, database: Database, permissions: Permissions, store: BlobStore, files: OpenFiles
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._store = store
        self._files = files

    async def file(self, call: Call, version: str, name: str) -> Response:
        """Return a file of a live version, whole or one range of it.

        Raises NotFound, and what Permissions.judge raises.
        """
        who, repository = call.who, call.repository
        row = await self._database.fetch_one(FIND_FILE, *question(who, repository), version, name)
        access = self._permissions.judge(row, who, Action.PULL, repository)
        if row is None or access.package_id is None or row["key"] is None:
            raise NotFound(f"{repository} holds no file {name} of a version {version}")
        blob = Blob(row["blob_id"], Digest(row["digest"]), row["size"], row["key"])
        public = access.visibility is Visibility.PUBLIC
        said = content_headers("application/octet-stream", blob.digest, public=public)
        return await BlobResponse.of(self._files, self._store, blob, call.headers, said)
