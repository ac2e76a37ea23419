"""`npm access`: who sees a package, who has a role on it, and which packages an owner has.

Reading list: npm's lib/commands/access.js; libnpmaccess. npm's `write` and `read` are our roles.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from starlette.responses import Response

from auth.accounts import PACKAGE, Accounts
from auth.permissions import Permissions
from auth.principals import Principal, Role, Visibility
from formats.npm.json_bodies import answer, read_json
from formats.npm.names import FORMAT
from formats.npm.whole_lists import answer_all, read_all
from registry.owned_packages import OwnedPackages, Owner
from registry.package_changes import Change, PackageChanges
from registry.package_lists import Filters, PackageLists
from registry.packaging.surface import Call, Route
from registry.rest.needs import CHANGE_PACKAGE, READ_PACKAGE, SIGNED_IN
from storage.database import Row
from storage.errors import Invalid, NotAllowed
from storage.names import parse_repository


class AccessChange(msgspec.Struct, frozen=True):
    """What `npm access set` sends: `status=` or `mfa=`."""

    access: Literal["public", "restricted", "private"] | None = None
    publish_requires_tfa: bool | None = None


class PackageAccess:
    """Shows and changes who sees packages."""

    def __init__(
        self,
        accounts: Accounts,
        permissions: Permissions,
        changes: PackageChanges,
        lists: PackageLists,
        owned: OwnedPackages,
    ) -> None:
        self._accounts = accounts
        self._permissions = permissions
        self._changes = changes
        self._lists = lists
        self._owned = owned

    def routes(self) -> list[Route]:
        """Return the routes of access."""
        package = "/-/package/@{owner}/{name}"
        return [
            Route("GET", package + "/visibility", self.visibility, READ_PACKAGE),
            Route("GET", package + "/access", self.visibility, READ_PACKAGE),
            Route("POST", package + "/access", self.change, CHANGE_PACKAGE),
            Route("GET", package + "/collaborators", self.collaborators, CHANGE_PACKAGE),
            Route("GET", "/-/org/{owner}/package", self.packages, SIGNED_IN),
            Route("GET", "/-/user/{owner}/package", self.packages, SIGNED_IN),
        ]

    async def visibility(self, call: Call) -> Response:
        """GET /-/package/P/visibility: whether everybody sees it."""
        return answer({"public": call.at.visibility is Visibility.PUBLIC})

    async def change(self, call: Call) -> Response:
        """POST /-/package/P/access.

        Raises Conflict for a package that has its project's visibility, NotAllowed for a second
        factor, Invalid.
        """
        change = await read_json(call, AccessChange)
        if change.publish_requires_tfa:
            raise NotAllowed(
                "there is no second factor here: publishing needs a token that may write",
                headers={"Allow": "GET, HEAD, POST"},
            )
        if change.access is not None:
            seen = Visibility.PUBLIC if change.access == "public" else Visibility.PRIVATE
            await self._changes.change(call.who, call.at, Change(visibility=seen))
        elif change.publish_requires_tfa is None:
            raise Invalid("say the access: public or restricted")
        return answer({"ok": True})

    async def collaborators(self, call: Call) -> Response:
        """GET /-/package/P/collaborators: the scope's owner, and who has a role on the package."""
        kind_and_id = (PACKAGE, call.package_id)

        async def read(after: str, limit: int) -> Sequence[Row]:
            return await self._accounts.grants(*kind_and_id, after, limit)

        rows = await read_all(read)
        found = {row["name"].replace("/", ":"): permission(row["role"]) for row in rows}
        return answer_all({call.repository.owner: "write", **found})

    async def packages(self, call: Call) -> Response:
        """GET /-/org/S/package: the owner's packages that the caller sees, and what he may.

        Of himself, as npm asks who names no owner: every package that a role was given to him on.
        Raises NotFound for an owner that is unknown, or of whom the caller sees nothing.
        """
        owner = await self._owner(call, call.values["owner"])
        filters = Filters(owner=owner.name, format=FORMAT)
        if owner.name == call.who.name:
            filters = Filters(format=FORMAT, held=True)
        roles, found = {owner.name: owner.role}, {}
        for row in await read_packages(self._lists, call.who, filters):
            name = parse_repository(row["repository"]).owner
            if name not in roles:
                roles[name] = (await self._owner(call, name)).role
            found[true_name(row)] = await self._may(call, row, roles[name])
        return answer_all(found)

    async def _owner(self, call: Call, owner: str) -> Owner:
        return await self._owned.owner(call.who, owner, "user", "organization")

    async def _may(self, call: Call, row: Row, role: Role) -> str:
        if role >= Role.WRITE:
            return permission(role)
        may = await self._permissions.actions(call.who, parse_repository(row["repository"]))
        return permission(Role.WRITE if "push" in may else Role.READ)


def permission(role: int) -> str:
    """Return npm's word for a role."""
    return "write" if role >= Role.WRITE else "read"


def true_name(row: Row) -> str:
    """Return what npm calls a package: `@acme/pad`."""
    return f"@{row['repository'].partition('/')[0]}/{row['name']}"


async def read_packages(lists: PackageLists, who: Principal, filters: Filters) -> list[Row]:
    """Return the packages that the caller sees, up to a limit."""

    async def read(after: str, limit: int) -> Sequence[Row]:
        return await lists.list(who, filters, after, limit)

    return await read_all(read, "repository")
