"""Roles that accounts have on an owner, a project or a package."""

from typing import Literal

import msgspec

from auth.accounts import OWNER, PACKAGE, PROJECT, Accounts
from auth.grantees import Grantees
from auth.principals import Role
from registry.api.owners import ROLES, RoleWord
from registry.rest.needs import CHANGE_OWNER, CHANGE_PACKAGE, CHANGE_PROJECT, Need
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_of
from storage.database import Row
from storage.errors import NotFound

GranteeKind = Literal["user", "team", "robot"]


class Grant(msgspec.Struct, frozen=True):
    """A role, given to an account; the members of a team have what it has."""

    account: str
    kind: GranteeKind
    role: RoleWord


class NewGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The role an account is to have."""

    role: RoleWord


class OwnerGrantsApi:
    """The operations on an owner's roles; those on a project's and a package's are alike."""

    path = "/api/v1/owners/{owner}/grants"
    what = "an owner"
    need: Need = CHANGE_OWNER

    def __init__(self, accounts: Accounts, grantees: Grantees) -> None:
        self._accounts = accounts
        self._grantees = grantees

    def resource(self, call: Call) -> tuple[int, int]:
        """Return kind and id of what was judged."""
        return OWNER, call.at.owner_id

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        one = self.path + "/{account}"
        return [
            Operation(
                "GET", self.path, self.list, f"List the roles on {self.what}", self.need,
                answer=Page[Grant], query=Paging,
            ),
            Operation(
                "PUT", one, self.give, f"Give an account a role on {self.what}", self.need,
                answer=Grant, body=NewGrant,
            ),
            Operation(
                "DELETE", one, self.take, f"Take an account's role on {self.what}", self.need,
                status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Grant]:
        """List the roles, by the names of those who have them."""
        paging: Paging = call.query
        on, after = self.resource(call), paging.after.lower()
        rows = await self._accounts.grants(*on, after, paging.n + 1)
        return page_of(rows, paging.n, "name", _grant)

    async def give(self, call: Call) -> Grant:
        """Give an account a role, in place of the one it had."""
        new, name = await call.read(NewGrant), call.values["account"].lower()
        account = await self._grantees.find(call.who, name)
        role = Role[new.role.upper()]
        await self._accounts.grant(call.who, *self.resource(call), name, role)
        return Grant(name, account["kind"], new.role)

    async def take(self, call: Call) -> None:
        """Take an account's role."""
        name = call.values["account"].lower()
        if not await self._accounts.grant(call.who, *self.resource(call), name, Role.NONE):
            raise NotFound(f"{name} has no role here")


class ProjectGrantsApi(OwnerGrantsApi):
    """The operations on a project's roles."""

    path = "/api/v1/projects/{owner}/{project}/grants"
    what = "a project"
    need = CHANGE_PROJECT

    def resource(self, call: Call) -> tuple[int, int]:
        """Return kind and id of what was judged."""
        return PROJECT, call.at.project_id or 0


class PackageGrantsApi(OwnerGrantsApi):
    """The operations on a package's own roles; those of its project count too."""

    path = "/api/v1/packages/{owner}/{package}/grants"
    what = "a package"
    need = CHANGE_PACKAGE

    def resource(self, call: Call) -> tuple[int, int]:
        """Return kind and id of what was judged."""
        return PACKAGE, call.package_id


def _grant(row: Row) -> Grant:
    return Grant(row["name"], row["kind"], ROLES[Role(row["role"])])
