"""What adapters work with, put together once."""

from dataclasses import dataclass
from typing import Self

from auth.permissions import Permissions
from registry.blobs import Blobs
from registry.config import Config
from registry.linking import Linking
from registry.manifest_store import ManifestStore
from registry.open_files import OpenFiles
from registry.packaging.attached import Attached
from registry.packaging.documents import Documents
from registry.packaging.door import Door
from registry.packaging.downloads import Downloads
from registry.packaging.files import Files
from registry.packaging.formats import Formats
from registry.packaging.publishing import Publishing
from registry.packaging.release_state import ReleaseStates
from registry.packaging.rendering import Rendering
from registry.packaging.version_rows import VersionRows
from storage.blobs import BlobStore
from storage.clock import Clock
from storage.database import Database


@dataclass(frozen=True, slots=True)
class Packaging:
    """The verbs that every format shares, over one database and one store."""

    formats: Formats
    files: Files
    publishing: Publishing
    versions: VersionRows
    states: ReleaseStates
    attached: Attached
    door: Door
    manifests: ManifestStore
    documents: Documents
    downloads: Downloads

    @classmethod
    def over(
        cls,
        config: Config,
        database: Database,
        store: BlobStore,
        open_files: OpenFiles,
        blobs: Blobs,
        permissions: Permissions,
        formats: Formats,
        clock: Clock,
    ) -> Self:
        """Connect them."""
        files, linking = Files(store), Linking(database, store, config.public_url)
        publishing = Publishing(database, files, blobs, permissions, linking, formats, clock)
        rendering = Rendering(database, files)
        states = ReleaseStates(database, files, blobs, permissions, formats, rendering, clock)
        attached = Attached(database, files, rendering)
        door = Door(database, files, formats, states, attached, clock)
        return cls(
            formats=formats,
            files=files,
            publishing=publishing,
            versions=VersionRows(database),
            states=states,
            attached=attached,
            door=door,
            manifests=ManifestStore(database, permissions, linking, formats, door, clock),
            documents=Documents.over(config, open_files),
            downloads=Downloads(database, permissions, store, open_files),
        )
