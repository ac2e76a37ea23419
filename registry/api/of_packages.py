"""The parts of the API that are about packages, put together."""

from dataclasses import dataclass

from auth.permissions import Permissions
from auth.places import Places
from registry.api.cleaning import CleaningApi
from registry.api.deletions import DeletionsApi
from registry.api.packages import PackagesApi
from registry.api.searching import SearchApi
from registry.api.tags import TagsApi
from registry.api.versions import VersionsApi
from registry.deletion import Deletion
from registry.explain import Explainer
from registry.manifest_store import ManifestStore
from registry.package_changes import PackageChanges
from registry.package_lists import PackageLists
from registry.packages import Packages
from registry.preview import Preview
from registry.rate_limits import RateLimits
from registry.renaming import Renaming
from registry.rest.operation import Operation
from registry.restoration import Restoration
from registry.retention import Retention
from registry.search import Search
from registry.tagging import Tagging
from registry.versions import Versions
from storage.blobs import BlobStore
from storage.clock import Clock
from storage.database import Database


@dataclass(frozen=True, slots=True)
class OfPackages:
    """What the operations on packages need; each part is made of some of it."""

    database: Database
    store: BlobStore
    permissions: Permissions
    places: Places
    packages: Packages
    manifests: ManifestStore
    deletion: Deletion
    restoration: Restoration
    retention: Retention
    limits: RateLimits
    clock: Clock

    def operations(self) -> list[Operation]:
        """Return what these parts of the API answer."""
        database, packages, limits, clock = self.database, self.packages, self.limits, self.clock
        versions = Versions(database, self.retention, clock)
        preview = Preview(database, self.store, self.retention, clock)
        parts = (
            PackagesApi(
                packages,
                PackageLists(database, self.permissions),
                PackageChanges(database, self.places, clock),
                Renaming(database, clock),
                limits,
            ),
            VersionsApi(versions, self.deletion, self.restoration, limits),
            TagsApi(packages, Tagging(database, self.manifests), self.deletion, limits),
            DeletionsApi(packages, self.restoration),
            SearchApi(Search(database, self.permissions)),
            CleaningApi(Explainer(database, self.retention), preview),
        )
        return [operation for part in parts for operation in part.operations()]
