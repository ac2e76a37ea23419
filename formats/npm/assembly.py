"""npm's parts, put together over the services of a server."""

from typing import Protocol

from formats.npm import account_routes as accounts
from formats.npm.adapter import Npm
from formats.npm.current import CurrentPackages
from formats.npm.dist_tags import DistTags
from formats.npm.documents import PackageDocuments
from formats.npm.editing import Editing
from formats.npm.publishing import Publishes
from formats.npm.routes import NpmRoutes
from registry.deletion import Deletion
from registry.packages import Packages
from registry.sign_in_limits import SignInLimits
from registry.tagging import Tagging


class Services(accounts.Services, Protocol):
    """What npm's parts work with."""

    @property
    def deletion(self) -> Deletion: ...
    @property
    def packages(self) -> Packages: ...


def npm_routes(services: Services, sign_ins: SignInLimits) -> NpmRoutes:
    """Return how npm's clients are answered."""
    packaging, deletion, account = (
        services.packaging,
        services.deletion,
        accounts.account_routes(services, sign_ins),
    )
    tagging = Tagging(services.database, services.manifests)
    current = CurrentPackages(packaging.versions)
    changing = (tagging, deletion, services.packages, account.people)
    editing = Editing(current, packaging.versions, packaging.states, *changing)
    publishes = Publishes(
        Npm(), packaging.files, packaging.publishing, editing, services.config.package_bytes
    )
    parts = [
        *account.parts,
        DistTags(packaging.versions, tagging, deletion),
        publishes,
        editing,
        PackageDocuments(packaging, current),
    ]
    return NpmRoutes(parts, account.at_root)
