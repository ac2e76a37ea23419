"""What adapters work with, put together once."""

from dataclasses import dataclass
from typing import Self

from auth.permissions import Permissions
from registry.blobs import Blobs
from registry.linking import Linking
from registry.packaging.door import Door
from registry.packaging.files import Files
from registry.packaging.formats import Formats
from registry.packaging.publishing import Publishing
from registry.packaging.release_state import ReleaseStates
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
    door: Door

    @classmethod
    def over(
        cls,
        database: Database,
        store: BlobStore,
        blobs: Blobs,
        permissions: Permissions,
        linking: Linking,
        formats: Formats,
        clock: Clock,
    ) -> Self:
        """Connect them."""
        files = Files(store)
        publishing = Publishing(database, files, blobs, permissions, linking, formats, clock)
        states = ReleaseStates(database, files, blobs, permissions, formats, clock)
        door = Door(database, files, formats, states, clock)
        return cls(formats, files, publishing, VersionRows(database), states, door)
