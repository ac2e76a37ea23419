"""The account side of npm's API, put together: all that is no document, tarball or publication."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from auth.grantees import Grantees
from auth.token_making import TokenMaking
from auth.web_logins import WebLogins
from formats.npm.absent import Absent
from formats.npm.access import PackageAccess
from formats.npm.adapter import Npm
from formats.npm.attestations import Attestations
from formats.npm.audits import Audits
from formats.npm.organizations import Members
from formats.npm.password_door import PasswordDoor
from formats.npm.people import People
from formats.npm.profile import Profile
from formats.npm.routes import Part
from formats.npm.searching import Searching
from formats.npm.sign_in import SignIn
from formats.npm.teams import TeamPages
from formats.npm.tokens import TokenPages
from registry.manifest_store import ManifestStore
from registry.owned_packages import OwnedPackages
from registry.package_changes import PackageChanges
from registry.package_lists import PackageLists
from registry.packaging.summaries import Summaries
from registry.packaging.surface import Route
from registry.search import Search
from registry.services import AccountServices
from registry.sign_in_limits import SignInLimits
from registry.startup import forget_first_login


class Services(AccountServices, Protocol):
    """What these routes work with."""

    @property
    def manifests(self) -> ManifestStore: ...


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    """The parts; `people` also changes who maintains a package."""

    parts: Sequence[Part]
    at_root: Sequence[Route]
    people: People


def account_routes(services: Services, limits: SignInLimits) -> AccountRoutes:
    """Return the account side of npm's API."""
    permissions, places = services.permissions, services.places
    people = People(services.accounts, Grantees(services.database), permissions, places)
    attestations, absent = _attestations(services), Absent()
    parts = [
        absent,
        *_sign_ins(services, limits),
        Profile(services.accounts),
        people,
        *_places(services),
        _searching(services),
        Audits(),
        attestations,
    ]
    return AccountRoutes(parts, [*attestations.at_root(), *absent.at_root()], people)


def _sign_ins(services: Services, limits: SignInLimits) -> list[Part]:
    database, tokens, clock = services.database, services.tokens, services.clock
    making = TokenMaking(
        database,
        services.accounts,
        services.projects,
        tokens,
        services.permissions,
        services.places,
        clock,
    )
    authenticator, permissions = services.authenticator, services.permissions
    door = PasswordDoor(
        authenticator,
        permissions,
        limits,
        lambda name: forget_first_login(services.config, name),
    )
    logins = WebLogins(database, clock)
    return [
        SignIn(authenticator, permissions, making, tokens, logins, limits, door),
        TokenPages(permissions, making, tokens, services.places, door, clock),
    ]


def _places(services: Services) -> list[Part]:
    database, accounts, permissions = services.database, services.accounts, services.permissions
    lists = PackageLists(database, permissions)
    changes = PackageChanges(database, services.places, services.clock)
    owned = OwnedPackages(database, services.places, lists)
    return [
        PackageAccess(accounts, permissions, changes, lists, owned),
        Members(services.organizations),
        TeamPages(services.teams, accounts, Grantees(database), permissions, lists),
    ]


def _searching(services: Services) -> Part:
    database, permissions = services.database, services.permissions
    lists = PackageLists(database, permissions)
    return Searching(Search(database, permissions), lists, Summaries(database))


def _attestations(services: Services) -> Attestations:
    packaging = services.packaging
    return Attestations(Npm(), packaging.versions, packaging.attached)
