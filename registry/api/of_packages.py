"""The parts of the API that are about packages, put together."""

from typing import Protocol

from auth.permissions import Permissions
from auth.places import Places
from registry.api.cleaning import CleaningApi
from registry.api.deletions import DeletionsApi
from registry.api.installing import InstallingApi
from registry.api.packages import PackagesApi
from registry.api.searching import SearchApi
from registry.api.tags import TagsApi
from registry.api.versions import VersionsApi
from registry.deletion import Deletion
from registry.explain import Explainer
from registry.gc import Collector
from registry.manifest_store import ManifestStore
from registry.package_changes import PackageChanges
from registry.package_lists import PackageLists
from registry.packages import Packages
from registry.packaging.services import Packaging
from registry.preview import Preview
from registry.renaming import Renaming
from registry.rest.operation import Operation, Part
from registry.restoration import Restoration
from registry.search import Search
from registry.tagging import Tagging
from registry.versions import Versions
from storage.blobs import BlobStore
from storage.clock import Clock
from storage.database import Database


class Services(Protocol):
    """What these operations are made of."""

    @property
    def database(self) -> Database: ...
    @property
    def store(self) -> BlobStore: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def permissions(self) -> Permissions: ...
    @property
    def places(self) -> Places: ...
    @property
    def packaging(self) -> Packaging: ...
    @property
    def packages(self) -> Packages: ...
    @property
    def manifests(self) -> ManifestStore: ...
    @property
    def deletion(self) -> Deletion: ...
    @property
    def restoration(self) -> Restoration: ...
    @property
    def collector(self) -> Collector: ...


def package_operations(services: Services) -> list[Operation]:
    """Return the operations."""
    database, clock, packages = services.database, services.clock, services.packages
    deletion, restoration = services.deletion, services.restoration
    retention = services.collector.retention
    lists = PackageLists(database, services.permissions)
    formats = services.packaging.formats
    changes = PackageChanges(database, services.places, clock, formats)
    preview = Preview(database, services.store, retention, clock)
    parts: list[Part] = [
        PackagesApi(packages, lists, changes, Renaming(database, clock, formats), formats),
        VersionsApi(Versions(database, retention, clock), deletion, restoration),
        TagsApi(packages, Tagging(database, services.manifests), deletion),
        DeletionsApi(packages, restoration),
        SearchApi(Search(database, services.permissions)),
        InstallingApi(packages, services.packaging.formats, services.packaging.versions),
        CleaningApi(Explainer(database, retention), preview),
    ]
    return [operation for part in parts for operation in part.operations()]
