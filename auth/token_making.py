"""Tokens as people ask for them: for themselves, for a project's robot or one of its jobs.

What a token makes is bounded by it, and ends with it; what it is limited to is only what whoever
asks may see.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from auth.accounts import OWNER, PACKAGE, PROJECT, Accounts
from auth.permissions import HELD, Permissions, covered, on
from auth.places import Place, Places
from auth.principals import Action, Principal, Role, Scope
from auth.projects import Projects, split_path
from auth.tokens import MintedToken, NewToken, Tokens
from storage.clock import SECOND, Clock
from storage.database import Database
from storage.errors import Denied, Invalid, NotFound
from storage.names import parse_repository

MOST_LIMITS = 100
JOB_DEFAULT_SECONDS = 3600
MOST_SECONDS = 36_525 * 86_400
"""A century: what ends later has an end that cannot be written down, or none."""

FIND_ENDABLE = f"""
select x.id, x.account_id, x.parent_id, a.kind, u.is_admin,
  coalesce(k.limit_layers, 0) as limit_layers,
  case when {covered("a.owner_id", "x.project_id", "null")} then 1 else 0 end as is_covered,
  coalesce((
    select max(g.role) from members m cross join grants g where {HELD} and (
      {on(OWNER, "a.owner_id")} or {on(PROJECT, "x.project_id")})
  ), 0) as role
from (select 1 as one) nobody
  left join tokens x on x.id = $3
  left join accounts a on a.id = x.account_id
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is to be. It ends after `seconds` or at `ends_at` (µs UTC), or never.

    It is good for what `owners`, `projects` and `packages` name alone; for all, if they are empty.
    """

    name: str
    scopes: Scope
    seconds: int | None = None
    ends_at: int | None = None
    owners: Collection[str] = ()
    projects: Collection[str] = ()
    packages: Collection[str] = ()


class TokenMaking:
    """Makes and ends tokens for callers whose need was judged."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        projects: Projects,
        tokens: Tokens,
        permissions: Permissions,
        places: Places,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._projects = projects
        self._tokens = tokens
        self._permissions = permissions
        self._places = places
        self._clock = clock

    async def for_user(self, who: Principal, user: str, wanted: Wanted) -> MintedToken:
        """Make a token of a user: the caller, or for an administrator of the site anybody.

        Raises NotFound, Invalid, Denied for more than the caller's token has.
        """
        account = await self._accounts.get(user.lower(), "user")
        if who.password_version is not None and who.account_id != account.id:
            raise Denied("with a password you make tokens of your own only: come with a token")
        limits = await self._limits(who, wanted)
        name, end = _checked_name(wanted.name), self._end(wanted)
        new = NewToken(account.id, "user", name, wanted.scopes, end, limits=limits)
        return await self._tokens.make(who, new)

    async def for_project(
        self, who: Principal, project: Place, kind: Literal["robot", "job"], wanted: Wanted
    ) -> MintedToken:
        """Make a token of a project's robot; what it creates is linked to the project.

        Raises Invalid, Denied for more than the caller's token has.
        """
        name, end = _checked_name(wanted.name), self._end(wanted)
        if end is None and kind == "job":
            end = self._clock() + JOB_DEFAULT_SECONDS * SECOND
        robot_id, project_id = await self._projects.robot(who, project.path)
        new = NewToken(robot_id, kind, name, wanted.scopes, end, project_id)
        return await self._tokens.make(who, new)

    async def revoke(self, who: Principal, token_id: int) -> None:
        """End a token of the caller's, or of a robot whose project he administers.

        A token with limits ends of its account's only itself and those it made. An administrator
        of the site ends any. Raises Denied for any other, and for one that is unknown; NotFound
        for one that has ended.
        """
        row = await self._database.fetch_one(FIND_ENDABLE, who.account_id, who.token_id, token_id)
        if row is None:
            raise RuntimeError("a statement with one row returned none")
        unlimited = not row["limit_layers"]
        near = who.token_id != 0 and who.token_id in (row["id"], row["parent_id"])
        own = row["account_id"] == who.account_id and (unlimited or near)
        robots = row["kind"] == "robot" and row["is_covered"] and row["role"] == Role.ADMIN
        site = who.operator or (row["is_admin"] and unlimited)
        if not (own or robots or site):
            raise Denied(f"token {token_id} is not yours to end, or there is none")
        await self._tokens.revoke(who, token_id)

    def _end(self, wanted: Wanted) -> int | None:
        if wanted.seconds is not None and wanted.ends_at is not None:
            raise Invalid("say how long a token lives, or when it ends: one of them")
        at = self._clock()
        end = wanted.ends_at if wanted.seconds is None else at + wanted.seconds * SECOND
        if end is not None and end <= at:
            raise Invalid("a token ends in the future")
        if end is not None and end > at + MOST_SECONDS * SECOND:
            raise Invalid("a token ends within a hundred years, or never")
        return end

    async def _limits(self, who: Principal, wanted: Wanted) -> list[tuple[int, int]]:
        """Find what limits name, by what the caller may see. Raises NotFound, Invalid, Denied."""
        if len(wanted.owners) + len(wanted.projects) + len(wanted.packages) > MOST_LIMITS:
            raise Invalid(f"a token is limited to at most {MOST_LIMITS} things")
        found: list[tuple[int, int]] = []
        for owner in wanted.owners:
            found.append((OWNER, (await self._places.require(who, Action.PULL, owner)).owner_id))
        for path in wanted.projects:
            place = await self._places.require(who, Action.PULL, *split_path(path))
            found.append((PROJECT, place.project_id or 0))
        for name in wanted.packages:
            access = await self._permissions.require(who, Action.PULL, parse_repository(name))
            if access.package_id is None:
                raise NotFound(f"there is no package {name}")
            found.append((PACKAGE, access.package_id))
        return found


def robot_of(project: Place) -> str:
    """Return the name of a project's robot."""
    return f"{project.owner}+{project.project.lower()}"


def _checked_name(name: str) -> str:
    if not name.isprintable():
        raise Invalid("the name of a token holds printable characters only")
    return name
