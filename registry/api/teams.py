"""Teams of organizations: their members, and the roles they give."""

from typing import Annotated, Literal

import msgspec

from auth.organizations import GroupRole
from auth.principals import Role
from auth.teams import Teams
from registry.api.owners import KINDS, ROLES, KindWord, RoleWord, Time
from registry.rest.needs import CHANGE_OWNER, CHANGE_TEAM, READ_OWNER, READ_TEAM
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

TEAMS = "/api/v1/organizations/{owner}/teams"
TEAM = TEAMS + "/{team}"
GRANTS = TEAM + "/grants"
MEMBERS = TEAM + "/members"
MEMBER = MEMBERS + "/{member}"

TeamName = Annotated[
    str,
    msgspec.Meta(pattern="^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$", max_length=39, examples=["core"]),
]
TeamRole = Literal["member", "maintainer"]


class NewTeam(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A team to be made."""

    name: TeamName


class Team(msgspec.Struct, frozen=True):
    """A team. `account` is what it is called where roles are given."""

    name: str
    account: str
    members: int
    created_at: Time


class TeamMember(msgspec.Struct, frozen=True):
    """Somebody in a team; a maintainer adds and removes others."""

    user: str
    role: TeamRole


class NewTeamMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody is to be in a team."""

    role: TeamRole = "member"


class TeamGrant(msgspec.Struct, frozen=True):
    """A role that the members of a team have: on an owner, a project or a package."""

    kind: KindWord
    resource: str
    role: RoleWord


class GrantPaging(msgspec.Struct, frozen=True):
    """Which page: up to `n` items after the one that `after` names."""

    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Annotated[str, msgspec.Meta(pattern=r"^([123]\.[0-9]{1,18})?$")] = ""


class TeamsApi:
    """The operations."""

    def __init__(self, teams: Teams) -> None:
        self._teams = teams

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", TEAMS, self.list, "List the teams of an organization", READ_OWNER,
                answer=Page[Team], query=Paging,
            ),
            Operation(
                "POST", TEAMS, self.create, "Make a team", CHANGE_OWNER,
                answer=Team, body=NewTeam, status=201,
            ),
            Operation("GET", TEAM, self.get, "Show a team", READ_OWNER, Team),
            Operation(
                "DELETE", TEAM, self.delete, "End a team, and the roles it gave", CHANGE_OWNER,
                status=204,
            ),
            Operation(
                "GET", GRANTS, self.grants, "List the roles a team gives", READ_TEAM,
                answer=Page[TeamGrant], query=GrantPaging,
            ),
            Operation(
                "GET", MEMBERS, self.members, "List who is in a team", READ_OWNER,
                answer=Page[TeamMember], query=Paging,
            ),
            Operation(
                "PUT", MEMBER, self.add, "Put a member of the organization into a team",
                CHANGE_TEAM, answer=TeamMember, body=NewTeamMember,
            ),
            Operation(
                "DELETE", MEMBER, self.remove, "Take somebody out of a team", CHANGE_TEAM,
                status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Team]:
        """List the teams of an organization, by name."""
        paging, owner = call.query, call.at.owner
        after = f"{owner}/{paging.after}" if paging.after else ""
        rows = await self._teams.list(owner, after, paging.n + 1)
        page = page_of(rows, paging.n, "name", _team)
        return Page(page.items, page.next and page.next.partition("/")[2])

    async def create(self, call: Call) -> Team:
        """Make a team."""
        new = await call.read(NewTeam)
        path = f"{call.values['owner']}/{new.name}"
        await self._teams.create(call.who, path)
        return _team(await self._teams.show(path))

    async def get(self, call: Call) -> Team:
        """Show a team."""
        return _team(await self._teams.show(_path(call)))

    async def delete(self, call: Call) -> None:
        """End a team."""
        await self._teams.delete(call.who, _path(call))

    async def grants(self, call: Call) -> Page[TeamGrant]:
        """List the roles a team gives, as far as the caller's token reaches."""
        paging: GrantPaging = call.query
        kind, _, resource = paging.after.partition(".")
        after = (int(kind or 0), int(resource or 0))
        rows = await self._teams.grants(call.who, _path(call), after, paging.n + 1)
        return page_of(rows, paging.n, "key", _grant)

    async def members(self, call: Call) -> Page[TeamMember]:
        """List who is in a team, by name."""
        paging: Paging = call.query
        rows = await self._teams.members(_path(call), paging.after, paging.n + 1)
        return page_of(rows, paging.n, "name", lambda row: _member(row["name"], row["role"]))

    async def add(self, call: Call) -> TeamMember:
        """Put somebody into a team, or change what he is there."""
        new, user = await call.read(NewTeamMember), call.values["member"].lower()
        role = GroupRole[new.role.upper()]
        await self._teams.add(call.who, _path(call), user, role)
        return _member(user, role)

    async def remove(self, call: Call) -> None:
        """Take somebody out of a team."""
        await self._teams.remove(call.who, _path(call), call.values["member"].lower())


def _path(call: Call) -> str:
    return f"{call.values['owner']}/{call.values['team']}"


def _team(row: Row) -> Team:
    account = row["name"]
    name = account.partition("/")[2]
    return Team(name, account, row["members"], rfc3339(row["created_at"]))


def _grant(row: Row) -> TeamGrant:
    kind, role = KINDS[row["resource_kind"]], ROLES[Role(row["role"])]
    return TeamGrant(kind, row["resource"], role)


def _member(user: str, role: int) -> TeamMember:
    return TeamMember(user, "maintainer" if role == GroupRole.MAINTAINER else "member")
