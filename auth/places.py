"""Who may do what to an owner or a project: the rules of packages, one level up.

Hidden and unknown answer alike: 401 to the anonymous, else 404 to a reader; a change without right
is 403 whether the thing exists or not.
"""

from dataclasses import dataclass

from auth.accounts import OWNER, PROJECT
from auth.errors import NotSignedIn
from auth.organizations import GroupRole
from auth.permissions import HELD, PROJECT_OPEN, Permissions, allowed, covered, on, role_of
from auth.principals import Action, Principal, Role, Scope, Visibility
from storage.database import Database, Row
from storage.errors import Denied, NotFound

FIND_PLACE = f"""
select o.id as owner_id, o.kind as owner_kind, o.name as owner, o.default_visibility,
  r.id as project_id, r.name as project, coalesce(r.visibility, 0) as visibility,
  u.is_admin, u.disabled_at, u.password_version,
  k.id as live_token_id, k.scopes, k.expires_at, k.revoked_at,
  case when {PROJECT_OPEN} or (cast($4 as text) = ''
        and exists (select 1 from members b where b.user_id = $1 and b.group_id = o.id))
    then 1 else 0 end as is_open,
  case when {covered("o.id", "r.id", "null")} then 1 else 0 end as is_covered,
  coalesce((
    select max(g.role) from members m cross join grants g where {HELD} and (
      {on(OWNER, "o.id")} or {on(PROJECT, "r.id")})
  ), 0) as role
from (select 1 as one) nobody
  left join accounts o on o.name = $3 and o.kind in ('user', 'organization')
  left join projects r on r.owner_id = o.id and r.folded_name = $4 and r.deleted_at is null
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
"""

FIND_TEAM = f"""
select t.id as team_id, u.is_admin, u.disabled_at, u.password_version,
  k.id as live_token_id, k.scopes, k.expires_at, k.revoked_at,
  coalesce((select b.role from members b where b.user_id = $1 and b.group_id = t.id), 0)
    as team_role,
  case when {covered("o.id", "null", "null")} then 1 else 0 end as is_covered,
  coalesce((
    select max(g.role) from members m cross join grants g where {HELD} and {on(OWNER, "o.id")}
  ), 0) as role
from (select 1 as one) nobody
  left join accounts o on o.name = $3 and o.kind = 'organization'
  left join accounts t on t.name = $4 and t.kind = 'team'
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An owner, or one of its projects, that the caller may see; and the caller's role there."""

    owner_id: int
    owner: str
    owner_kind: str
    default_visibility: Visibility
    role: Role
    project_id: int | None = None
    project: str = ""
    visibility: Visibility = Visibility.PRIVATE

    @property
    def path(self) -> str:
        """The owner's name, or `owner/project`."""
        return f"{self.owner}/{self.project}" if self.project else self.owner


class Places:
    """Decides about whatever is not a package."""

    def __init__(self, database: Database, permissions: Permissions) -> None:
        self._database = database
        self._permissions = permissions

    async def require(self, who: Principal, action: Action, owner: str, project: str = "") -> Place:
        """Return an owner, or with `project` one of its projects.

        Raises NotSignedIn (401), NotFound (404) for what is hidden or unknown, Denied (403).
        """
        words = f"{owner}/{project}" if project else owner
        key = (owner.lower(), project.lower())
        row = await self._database.fetch_one(FIND_PLACE, who.account_id, who.token_id, *key)
        if row is None:
            raise RuntimeError("a statement with one row returned none")
        self._permissions.check_live(row, who)
        role = role_of(row, who)
        missing = row["owner_id"] is None or (project != "" and row["project_id"] is None)
        if missing:
            may = role >= action.role and _has_scope(row, who, action)
        else:
            may = allowed(row, who, action, role)
        if not may and who.anonymous:
            raise NotSignedIn(f"sign in to see {words}")
        if not may and action is not Action.PULL:
            verb = "administer" if action is Action.ADMINISTER else f"{action.wire_name} to"
            raise Denied(
                f"{who.name} may not {verb} {words}: that takes the role "
                f"{action.role.name.lower()}, and a token with the scope "
                f"'{(action.scope.name or '').lower()}' and no limits that leave it out"
            )
        if not may:
            raise NotFound(f"{words} is not known, or you may not see it")
        if missing:
            raise _unknown(owner, project if row["owner_id"] is not None else "")
        return Place(
            owner_id=row["owner_id"],
            owner=row["owner"],
            owner_kind=row["owner_kind"],
            default_visibility=Visibility(row["default_visibility"]),
            role=role,
            project_id=row["project_id"],
            project=row["project"] or "",
            visibility=Visibility(row["visibility"]),
        )

    async def require_team(self, who: Principal, action: Action, owner: str, team: str) -> None:
        """Raises NotSignedIn, NotFound, Denied for who is not in a team, or may not change it."""
        names = owner.lower(), f"{owner}/{team}".lower()
        row = await self._database.fetch_one(FIND_TEAM, who.account_id, who.token_id, *names)
        if row is None:
            raise RuntimeError("a statement with one row returned none")
        self._permissions.check_live(row, who)
        least = GroupRole.MEMBER if action is Action.PULL else GroupRole.MAINTAINER
        inside = bool(row["is_covered"]) and row["team_role"] >= least
        may = (inside or role_of(row, who) is Role.ADMIN) and _has_scope(row, who, action)
        if not may and action is not Action.PULL:
            raise Denied(
                f"{who.name} may not change the team {owner}/{team}: its maintainers may, and the "
                "administrators of its organization, with a token of the scope 'admin'"
            )
        if not may or row["team_id"] is None:
            raise NotFound(f"the team {owner}/{team} is not known, or you may not see it")

    async def is_site(self, who: Principal, scope: Scope) -> bool:
        """Return whether the caller administers the site, by a token without limits.

        Raises NotSignedIn, Denied for a token without `scope`.
        """
        if who.operator:
            return True
        row = await self._permissions.live(who, scope)
        return bool(row["is_admin"]) and not row["limit_layers"]

    async def require_site(self, who: Principal, scope: Scope) -> None:
        """Raises NotSignedIn, Denied for whoever is no site administrator."""
        if not await self.is_site(who, scope):
            raise Denied(f"{who.name} is no administrator of this site, or the token has limits")

    async def require_user(
        self, who: Principal, scope: Scope, user: str, *, bounded: bool = False
    ) -> None:
        """Raises NotSignedIn, Denied for who is neither this user nor a site administrator.

        A token with limits changes nothing about its user, unless `bounded`.
        """
        if who.operator:
            return
        row = await self._permissions.live(who, scope)
        limits, own = bool(row["limit_layers"]), who.name == user.lower()
        if not own and not (row["is_admin"] and not limits):
            raise Denied(f"{who.name} may not see or change what belongs to {user}")
        if limits and scope & Scope.ADMIN and not bounded:
            raise Denied("this token has limits: it changes nothing about its user")


def _has_scope(row: Row, who: Principal, action: Action) -> bool:
    return not who.token_id or bool(action.scope & (row["scopes"] or 0))


def _unknown(owner: str, project: str) -> NotFound:
    """Say what is missing to whoever might see it, if it were there."""
    if project:
        return NotFound(f"there is no project {f'{owner}/{project}'!r}")
    return NotFound(f"there is no user or organization named {owner!r}")
