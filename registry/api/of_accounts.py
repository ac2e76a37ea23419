"""The operations on people and what belongs to them, over the services they need."""

from collections.abc import Callable
from typing import Protocol

from auth.grantees import Grantees
from auth.identities import Identities
from auth.token_making import TokenMaking
from auth.users import Users
from registry.api.audit import AuditApi
from registry.api.caller import CallerApi
from registry.api.grants import OwnerGrantsApi, PackageGrantsApi, ProjectGrantsApi
from registry.api.identities import IdentitiesApi
from registry.api.organizations import OrganizationsApi
from registry.api.owner_names import OwnerNamesApi
from registry.api.owners import OwnersApi
from registry.api.projects import ProjectsApi
from registry.api.teams import TeamsApi
from registry.api.tokens import TokensApi
from registry.api.users import UsersApi
from registry.audit import Audit
from registry.owner_renaming import OwnerRenaming
from registry.rest.operation import Operation, Part
from registry.services import AccountServices
from registry.sign_in_limits import SignInLimits


class Services(AccountServices, Protocol):
    """What these operations are made of."""

    @property
    def audit(self) -> Audit: ...


def account_operations(
    services: Services, sign_ins: SignInLimits, signed_in: Callable[[str], None]
) -> list[Operation]:
    """Return the operations; `signed_in` is told the name of who used his password."""
    database, clock, accounts = services.database, services.clock, services.accounts
    projects, tokens = services.projects, services.tokens
    permissions, places = services.permissions, services.places
    users = Users(database, accounts, services.authenticator, clock)
    making = TokenMaking(database, accounts, projects, tokens, permissions, places, clock)
    grantees = Grantees(database)
    issuers = [provider.issuer for provider in services.config.openid]
    parts: list[Part] = [
        CallerApi(permissions),
        UsersApi(accounts, users, sign_ins.attempt, signed_in),
        IdentitiesApi(Identities(database, accounts, clock), issuers),
        OwnersApi(accounts),
        OwnerNamesApi(OwnerRenaming(database, clock, services.packaging.formats)),
        OrganizationsApi(accounts, services.organizations, places),
        TeamsApi(services.teams),
        ProjectsApi(projects),
        OwnerGrantsApi(accounts, grantees),
        ProjectGrantsApi(accounts, grantees),
        PackageGrantsApi(accounts, grantees),
        TokensApi(accounts, making, tokens, signed_in),
        AuditApi(services.audit),
    ]
    return [operation for part in parts for operation in part.operations()]
