"""`npm team`, and the half of `npm access` that gives teams roles on packages.

Reading list: npm's lib/commands/team.js and access.js; libnpmteam, libnpmaccess.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from starlette.responses import Response

from auth.accounts import PACKAGE, PROJECT, Accounts
from auth.grantees import Grantees
from auth.organizations import GroupRole
from auth.permissions import Permissions
from auth.principals import Action, Role
from auth.teams import Teams
from formats.npm.access import permission, read_packages, true_name
from formats.npm.json_bodies import answer, read_json
from formats.npm.names import FORMAT, parse_name
from formats.npm.organizations import plain_user
from formats.npm.whole_lists import answer_all, read_all
from registry.package_lists import Filters, PackageLists
from registry.packaging.surface import Call, Route
from registry.rest.needs import CHANGE_OWNER, CHANGE_TEAM, READ_OWNER, READ_TEAM
from storage.database import Row
from storage.errors import NotFound

TEAMS = "/-/org/{owner}/team"
TEAM = "/-/team/{owner}/{team}"


class NewTeam(msgspec.Struct, frozen=True):
    """A team to be made."""

    name: str


class TeamMember(msgspec.Struct, frozen=True):
    """Who is put into a team, or taken out."""

    user: str


class TeamPackage(msgspec.Struct, frozen=True):
    """On which package a team gets a role, or loses it."""

    package: str
    permissions: Literal["read-only", "read-write"] = "read-only"


class TeamPages:
    """Makes teams, fills them, and gives them roles."""

    def __init__(
        self,
        teams: Teams,
        accounts: Accounts,
        grantees: Grantees,
        permissions: Permissions,
        lists: PackageLists,
    ) -> None:
        self._teams = teams
        self._accounts = accounts
        self._grantees = grantees
        self._permissions = permissions
        self._lists = lists

    def routes(self) -> list[Route]:
        """Return the routes of teams."""
        return [
            Route("GET", TEAMS, self.list, READ_OWNER),
            Route("PUT", TEAMS, self.create, CHANGE_OWNER),
            Route("DELETE", TEAM, self.delete, CHANGE_OWNER),
            Route("GET", TEAM + "/user", self.members, READ_OWNER),
            Route("PUT", TEAM + "/user", self.add, CHANGE_TEAM),
            Route("DELETE", TEAM + "/user", self.remove, CHANGE_TEAM),
            Route("GET", TEAM + "/package", self.packages, READ_TEAM),
            Route("PUT", TEAM + "/package", self.grant, READ_TEAM),
            Route("DELETE", TEAM + "/package", self.ungrant, READ_TEAM),
        ]

    async def list(self, call: Call) -> Response:
        """GET /-/org/S/team: ["acme:core"]."""
        name = call.values["owner"].lower()

        async def read(after: str, limit: int) -> Sequence[Row]:
            return await self._teams.list(name, after, limit)

        return answer_all([row["name"].replace("/", ":") for row in await read_all(read)])

    async def create(self, call: Call) -> Response:
        """PUT /-/org/S/team. Raises NameInvalid, NotFound, Conflict."""
        new = await read_json(call, NewTeam)
        await self._teams.create(call.who, f"{call.values['owner']}/{new.name}")
        return answer({"name": new.name.lower()}, 201)

    async def delete(self, call: Call) -> Response:
        """DELETE /-/team/S/T. Raises NameInvalid, NotFound."""
        await self._teams.delete(call.who, _path(call))
        return answer({"ok": True})

    async def members(self, call: Call) -> Response:
        """GET /-/team/S/T/user: ["ann"]. Raises NameInvalid, NotFound."""
        return answer_all([row["name"] for row in await self._members(call)])

    async def add(self, call: Call) -> Response:
        """PUT /-/team/S/T/user; a maintainer stays one. Raises NotFound, Conflict."""
        user = plain_user((await read_json(call, TeamMember)).user)
        if all(row["name"] != user for row in await self._members(call)):
            await self._teams.add(call.who, _path(call), user, GroupRole.MEMBER)
        return answer({"user": user})

    async def remove(self, call: Call) -> Response:
        """DELETE /-/team/S/T/user. Raises NotFound."""
        user = plain_user((await read_json(call, TeamMember)).user)
        await self._teams.remove(call.who, _path(call), user)
        return answer({"ok": True})

    async def packages(self, call: Call) -> Response:
        """GET /-/team/S/T/package: what the team has by itself, or on their owner or project."""
        found: dict[str, int] = {}
        for grant in await self._teams.grants(call.who, _path(call)):
            for row in await self._of_grant(call, grant):
                name = true_name(row)
                found[name] = max(found.get(name, Role.NONE), grant["role"])
        return answer_all({name: permission(found[name]) for name in sorted(found)})

    async def grant(self, call: Call) -> Response:
        """PUT /-/team/S/T/package. Raises NotFound, and what judge raises."""
        asked = await read_json(call, TeamPackage)
        role = Role.WRITE if asked.permissions == "read-write" else Role.READ
        package_id = await self._package(call, asked.package)
        team = (await self._grantees.find(call.who, _path(call)))["name"]
        await self._accounts.grant(call.who, PACKAGE, package_id, team, role)
        return answer({"ok": True})

    async def ungrant(self, call: Call) -> Response:
        """DELETE /-/team/S/T/package. Raises NotFound, and what judge raises."""
        asked, team = await read_json(call, TeamPackage), _path(call)
        package_id = await self._package(call, asked.package)
        if not await self._accounts.grant(call.who, PACKAGE, package_id, team, Role.NONE):
            raise NotFound(f"the team {team} has no role on {asked.package}")
        return answer({"ok": True})

    async def _of_grant(self, call: Call, grant: Row) -> Sequence[Row]:
        """Return the packages that a role is on, as far as the caller sees them."""
        kind, resource = grant["resource_kind"], grant["resource"]
        if kind == PACKAGE:
            row = await self._lists.find(call.who, int(grant["key"].partition(".")[2]))
            return [row] if row["format"] == FORMAT and row["deleted_at"] is None else []
        if not resource:  # it is gone
            return []
        filters = Filters(owner=resource, format=FORMAT)
        if kind == PROJECT:
            filters = Filters(project=resource, format=FORMAT)
        return await read_packages(self._lists, call.who, filters)

    async def _package(self, call: Call, text: str) -> int:
        """Return the id of a package that the caller administers. Raises what judge raises."""
        name = parse_name(text)
        access = await self._permissions.require(call.who, Action.ADMINISTER, name.repository)
        if access.package_id is None:
            raise NotFound(f"there is no package {name.text}")
        return access.package_id

    async def _members(self, call: Call) -> Sequence[Row]:
        path = _path(call)

        async def read(after: str, limit: int) -> Sequence[Row]:
            return await self._teams.members(path, after, limit)

        return await read_all(read)


def _path(call: Call) -> str:
    return f"{call.values['owner']}/{call.values['team']}".lower()
