"""Organizations and who belongs to them."""

from typing import Literal

import msgspec

from auth.accounts import Accounts
from auth.organizations import Organizations
from auth.places import Places
from auth.principals import Role, Scope, Visibility
from registry.api.owners import VISIBILITIES, OwnerName, Time, VisibilityWord
from registry.rest.needs import CHANGE_OWNER, READ_OWNER, SIGNED_IN, SITE
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

ORGANIZATIONS = "/api/v1/organizations"
ORGANIZATION = ORGANIZATIONS + "/{owner}"
MEMBERS = ORGANIZATION + "/members"
MEMBER = MEMBERS + "/{member}"

MemberRole = Literal["member", "owner"]


class NewOrganization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organization to be made; `owner` is a user who will administer it."""

    name: OwnerName
    owner: str | None = None


class Organization(msgspec.Struct, frozen=True):
    """An organization. `default_visibility` is that of packages without a project."""

    name: str
    default_visibility: VisibilityWord
    created_at: Time


class Member(msgspec.Struct, frozen=True):
    """Somebody who belongs to an organization."""

    user: str
    role: MemberRole


class NewMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody is to be in an organization."""

    role: MemberRole = "member"


class OrganizationsApi:
    """The operations."""

    def __init__(self, accounts: Accounts, organizations: Organizations, places: Places) -> None:
        self._accounts = accounts
        self._places = places
        self._organizations = organizations

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", ORGANIZATIONS, self.list,
                "List the organizations the caller belongs to or has a role on", SIGNED_IN,
                answer=Page[Organization], query=Paging,
            ),
            Operation(
                "POST", ORGANIZATIONS, self.create, "Make an organization", SITE,
                answer=Organization, body=NewOrganization, status=201,
            ),
            Operation(
                "GET", ORGANIZATION, self.get, "Show an organization", READ_OWNER,
                answer=Organization,
            ),
            Operation(
                "GET", MEMBERS, self.members, "List who belongs to an organization", READ_OWNER,
                answer=Page[Member], query=Paging,
            ),
            Operation(
                "PUT", MEMBER, self.add, "Make a user a member or an owner", CHANGE_OWNER,
                answer=Member, body=NewMember,
            ),
            Operation(
                "DELETE", MEMBER, self.remove,
                "End a membership, and every role of the user in the organization", CHANGE_OWNER,
                status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Organization]:
        """List organizations by name: for an administrator of the site, all."""
        paging: Paging = call.query
        site = await self._places.is_site(call.who, Scope.READ)
        rows = await self._organizations.visible(call.who, paging.after, paging.n + 1, site=site)
        return page_of(rows, paging.n, "name", _organization)

    async def create(self, call: Call) -> Organization:
        """Make an organization."""
        new = await call.read(NewOrganization)
        await self._accounts.create_organization(call.who, new.name, new.owner)
        return await self._show(new.name)

    async def get(self, call: Call) -> Organization:
        """Show an organization."""
        return await self._show(call.at.owner)

    async def members(self, call: Call) -> Page[Member]:
        """List who belongs to an organization, by name."""
        paging: Paging = call.query
        rows = await self._organizations.members(call.at.owner, paging.after, paging.n + 1)
        return page_of(rows, paging.n, "name", lambda row: Member(row["name"], _word(row["role"])))

    async def add(self, call: Call) -> Member:
        """Make a user a member, or an owner."""
        new, name = await call.read(NewMember), call.values["member"].lower()
        owner = new.role == "owner"
        await self._organizations.add(call.who, call.at.owner, name, owner=owner)
        return Member(name, new.role)

    async def remove(self, call: Call) -> None:
        """End a membership."""
        await self._organizations.remove(call.who, call.at.owner, call.values["member"].lower())

    async def _show(self, name: str) -> Organization:
        found = await self._accounts.get(name.lower(), "organization")
        created_at = rfc3339(found.created_at)
        return Organization(found.name, VISIBILITIES[found.default_visibility], created_at)


def _organization(row: Row) -> Organization:
    visibility = VISIBILITIES[Visibility(row["default_visibility"])]
    return Organization(row["name"], visibility, rfc3339(row["created_at"]))


def _word(role: int) -> MemberRole:
    return "owner" if role == Role.ADMIN else "member"
