"""The parts of GitHub's API, put together."""

from dataclasses import dataclass

from auth.permissions import Permissions
from auth.places import Places
from registry.deletion import Deletion
from registry.github.accounts import AccountsApi
from registry.github.packages import DOORS, PackagesApi
from registry.owned_packages import OwnedPackages
from registry.package_lists import PackageLists
from registry.packages import Packages
from registry.rate_limits import RateLimits
from registry.rest.operation import Operation, Part
from registry.restoration import Restoration
from registry.retention import Retention
from registry.versions import Versions
from storage.clock import Clock
from storage.database import Database


@dataclass(frozen=True, slots=True)
class OfGitHub:
    """What the operations need; each part is made of some of it."""

    database: Database
    permissions: Permissions
    places: Places
    packages: Packages
    deletion: Deletion
    restoration: Restoration
    retention: Retention
    limits: RateLimits
    clock: Clock

    def operations(self) -> list[Operation]:
        """Return what GitHub's API answers here."""
        lists = PackageLists(self.database, self.permissions)
        owned = OwnedPackages(self.database, self.places, lists)
        versions = Versions(self.database, self.retention, self.clock)
        acting = (self.deletion, self.restoration, self.limits)
        doors = [PackagesApi(door, owned, self.packages, versions, *acting) for door in DOORS]
        parts: list[Part] = [AccountsApi(owned), *doors]
        return [operation for part in parts for operation in part.operations()]
