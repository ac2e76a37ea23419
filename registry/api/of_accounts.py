"""The operations on people and what belongs to them, over the services they need."""

from collections.abc import Callable

from auth.accounts import Accounts
from auth.authenticate import Authenticator
from auth.organizations import Organizations
from auth.permissions import Permissions
from auth.places import Places
from auth.projects import Projects
from auth.teams import Teams
from auth.token_making import TokenMaking
from auth.tokens import Tokens
from auth.users import Users
from registry.api.audit import AuditApi
from registry.api.caller import CallerApi
from registry.api.grants import OwnerGrantsApi, PackageGrantsApi, ProjectGrantsApi
from registry.api.organizations import OrganizationsApi
from registry.api.owners import OwnersApi
from registry.api.projects import ProjectsApi
from registry.api.teams import TeamsApi
from registry.api.tokens import TokensApi
from registry.api.users import UsersApi
from registry.audit import Audit
from registry.rest.operation import Operation, Part
from registry.sign_in_limits import SignInLimits
from storage.clock import Clock
from storage.database import Database


class OfAccounts:
    """Gives each part its services. `signed_in` is told the name of who used his password."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        organizations: Organizations,
        teams: Teams,
        projects: Projects,
        tokens: Tokens,
        authenticator: Authenticator,
        permissions: Permissions,
        places: Places,
        audit: Audit,
        sign_ins: SignInLimits,
        signed_in: Callable[[str], None],
        clock: Clock,
    ) -> None:
        users = Users(database, accounts, authenticator, clock)
        making = TokenMaking(database, accounts, projects, tokens, permissions, places, clock)
        self._parts: list[Part] = [
            CallerApi(permissions),
            UsersApi(accounts, users, sign_ins.attempt, signed_in),
            OwnersApi(accounts),
            OrganizationsApi(accounts, organizations, places),
            TeamsApi(teams),
            ProjectsApi(projects),
            OwnerGrantsApi(accounts),
            ProjectGrantsApi(accounts),
            PackageGrantsApi(accounts),
            TokensApi(accounts, making, tokens, signed_in),
            AuditApi(audit),
        ]

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [operation for part in self._parts for operation in part.operations()]
