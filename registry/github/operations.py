"""The parts of GitHub's API, put together."""

from typing import Protocol

from auth.permissions import Permissions
from auth.places import Places
from registry.deletion import Deletion
from registry.gc import Collector
from registry.github.accounts import AccountsApi
from registry.github.packages import DOORS, PackagesApi
from registry.owned_packages import OwnedPackages
from registry.package_lists import PackageLists
from registry.packages import Packages
from registry.rest.operation import Operation, Part
from registry.restoration import Restoration
from registry.versions import Versions
from storage.clock import Clock
from storage.database import Database


class Services(Protocol):
    """What these operations are made of."""

    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def permissions(self) -> Permissions: ...
    @property
    def places(self) -> Places: ...
    @property
    def packages(self) -> Packages: ...
    @property
    def deletion(self) -> Deletion: ...
    @property
    def restoration(self) -> Restoration: ...
    @property
    def collector(self) -> Collector: ...


def github_operations(services: Services) -> list[Operation]:
    """Return what GitHub's API answers here."""
    database, packages = services.database, services.packages
    lists = PackageLists(database, services.permissions)
    owned = OwnedPackages(database, services.places, lists)
    versions = Versions(database, services.collector.retention, services.clock)
    acting = (services.deletion, services.restoration)
    doors = [PackagesApi(door, owned, packages, versions, *acting) for door in DOORS]
    parts: list[Part] = [AccountsApi(owned), *doors]
    return [operation for part in parts for operation in part.operations()]
