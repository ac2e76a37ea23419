"""The one place that decides who may do what to a repository, from rows, on every request.

ACCESS is a common table expression with exactly one row (owner_id is null where there is no such
owner: the credential is judged all the same); a service joins its target to it, so that one
statement decides and finds. `judge` reads that row. Its rules:

- Whoever is disabled, revoked, expired or signed in with an old password is nobody: 401.
- A bearer token is an upper bound, never a grant. One that does not name the repository, or lacks
  an action its account has by rows, is told which scope to fetch: 401. No client can loop on that,
  for the next token will hold it.
- A name that a package had before answers pulls as that package does, under its owner and roles; a
  write to it is 403 and names the new one to whoever may write there.
- A token with limits takes part in its account's roles only where they cover the package.
- Hidden and unknown answer alike: 401 to the anonymous, else 404 to a reader. A write without
  right is 403 whether the name exists or not.
"""

from dataclasses import dataclass

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.errors import InsufficientScope, NameMoved, NameUnknown, NotSignedIn
from auth.principals import (
    FORGIVEN_SECONDS,
    SITE_ID,
    Action,
    Principal,
    Role,
    Scope,
    Visibility,
)
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Value
from storage.errors import Denied
from storage.names import RepositoryName

OPEN = """
(p.visibility = 2 or (p.visibility = 1 and (u.kind = 'user' or u.owner_id = p.owner_id)))
"""
"""Whether the account u sees the package p without a role: internal is for every user, and for the
robots of its owner."""

PROJECT_OPEN = """
(r.visibility = 2 or (r.visibility = 1 and (u.kind = 'user' or u.owner_id = r.owner_id)))
"""
"""Whether the account u sees the project r without a role."""


IS_SITE = f"(u.is_admin = 1 or $1 = {SITE_ID})"
"""Whether who asks ($1, Principal.asking_id) administers the site, where u is his account."""

HELD = "m.user_id = $1 and g.grantee_id = m.group_id and g.role >= 1"
"""Whether the grant g is held by the account $1, itself or as the member m of a team."""


def on(kind: int, resource: str) -> str:
    """Return the condition that the grant g is one on a resource, which an expression names."""
    return f"(g.resource_kind = {kind} and g.resource_id = {resource})"


def covered(owner: str, project: str, package: str) -> str:
    """Return the condition that the limits of the token k cover a package, in each of their layers.

    A token without limits, and no token, cover everything.
    """
    return f"""
(coalesce(k.limit_layers, 0) = 0 or k.limit_layers = (
  select count(distinct t.layer) from token_limits t where t.token_id = k.id and (
    (t.resource_kind = {OWNER} and t.resource_id = {owner})
    or (t.resource_kind = {PROJECT} and t.resource_id = {project})
    or (t.resource_kind = {PACKAGE} and t.resource_id = {package}))))
"""


_PROJECT_ID = "case when p.id is null then b.id else p.project_id end"
"""The project of a package, or the one that its first push would link it to."""

ACCESS = f"""
access as (
  select o.id as owner_id, o.default_visibility, p.id as package_id,
    coalesce(p.visibility, 0) as visibility, p.deleted_at as package_deleted_at,
    p.published_at, p.revision, p.repository as package_repository,
    u.is_admin, u.disabled_at, u.password_version,
    k.id as live_token_id, k.scopes, k.expires_at, k.revoked_at, b.id as bound_project_id,
    case when {OPEN} then 1 else 0 end as is_open,
    case when {covered("o.id", _PROJECT_ID, "p.id")} then 1 else 0 end as is_covered,
    coalesce((
      select max(g.role) from members m cross join grants g where {HELD} and (
        {on(OWNER, "o.id")}
        or {on(PROJECT, _PROJECT_ID)}
        or {on(PACKAGE, "p.id")})
    ), 0) as role
  from (select 1 as one) nobody
    left join packages n on n.repository = $3
    left join aliases x on n.id is null and x.repository = $3
    left join packages p on p.id = coalesce(n.id, x.package_id)
    left join accounts o on o.id = coalesce(p.owner_id,
      (select h.id from accounts h where h.name = $4 and h.kind in ('user', 'organization')))
    left join accounts u on u.id = $1
    left join tokens k on k.id = $2
    left join projects b on b.id = k.project_id and b.owner_id = o.id
)
"""
"""$1 account id, $2 token id, $3 repository, $4 owner; the joined statement goes on at $5."""

FIND_ACCESS = f"with {ACCESS} select * from access"

FIND_LIVENESS = """
select u.id as account_id, u.is_admin, u.disabled_at, u.password_version,
  k.id as live_token_id, k.scopes, k.expires_at, k.revoked_at, k.limit_layers
from accounts u left join tokens k on k.id = $2 where u.id = $1
"""


@dataclass(frozen=True, slots=True)
class Access:
    """An allowed action: the rows it concerns, and the caller's role.

    `package_id` is None for a repository that does not exist yet and may be created;
    `project_id` is the project of the token that would create it, if it is bound to one;
    `published` whether it ever had a manifest under a tag; `revision` grows with every change of
    what it holds.
    """

    repository: RepositoryName
    owner_id: int
    package_id: int | None
    visibility: Visibility
    default_visibility: Visibility
    role: Role
    project_id: int | None = None
    published: bool = False
    revision: int = 0


def question(who: Principal, repository: RepositoryName) -> tuple[Value, ...]:
    """Return the parameters $1 to $4 of a statement that begins with ACCESS."""
    return (who.account_id, who.token_id, str(repository), repository.owner)


class Permissions:
    """Decides, and says no in words."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def require(self, who: Principal, action: Action, repository: RepositoryName) -> Access:
        """Return the caller's access, or raise what `judge` raises."""
        row = await self._database.fetch_one(FIND_ACCESS, *question(who, repository))
        return self.judge(row, who, action, repository)

    async def require_live(self, who: Principal, scope: Scope = Scope.NONE) -> bool:
        """Return whether the caller is a site administrator.

        Raises NotSignedIn for an account or token that is no longer good, Denied for a token
        without `scope`.
        """
        if who.anonymous or who.operator:
            return who.operator
        return bool((await self.live(who, scope))["is_admin"])

    async def live(self, who: Principal, scope: Scope = Scope.NONE) -> Row:
        """Return the row of FIND_LIVENESS of somebody signed in. Raises as `require_live` does."""
        row = await self._database.fetch_one(FIND_LIVENESS, who.account_id, who.token_id)
        if row is None:
            raise NotSignedIn("this account no longer exists")
        self.check_live(row, who)
        missing = scope & ~Scope(row["scopes"] or 0)
        if who.token_id and missing:
            raise Denied(f"this token lacks the scope '{(missing.name or '').lower()}'")
        return row

    async def actions(self, who: Principal, repository: RepositoryName) -> frozenset[str]:
        """Return the Docker token actions the caller has by rows; none for a hidden name.

        Raises NotSignedIn for an account or token that is no longer good.
        """
        row = await self._database.fetch_one(FIND_ACCESS, *question(who, repository))
        if row is None:
            return frozenset()
        if not who.anonymous:
            self.check_live(row, who)
        role = role_of(row, who)
        return frozenset(a.wire_name for a in Action if allowed(row, who, a, role))

    def judge(
        self, row: Row | None, who: Principal, action: Action, repository: RepositoryName
    ) -> Access:
        """Decide from the row of ACCESS.

        Raises NotSignedIn or InsufficientScope (401), NameUnknown (404), Denied (403).
        """
        if row is not None and not who.anonymous:
            self.check_live(row, who)
        role = role_of(row, who)
        may = row is not None and allowed(row, who, action, role)
        if who.access is not None:
            self._check_bearer(who, action, repository, allowed=may)
        elif who.anonymous and not may:
            raise NotSignedIn.to(action, repository)
        if row is None or not may:
            raise _refusal(who, action, repository)
        if action is not Action.PULL and row["package_repository"] not in (None, str(repository)):
            raise NameMoved.to(row["package_repository"], repository)
        gone = row["package_deleted_at"] is not None and action is not Action.PUSH
        if (row["package_id"] is None or gone) and role < Role.WRITE:
            raise NameUnknown.of(repository, anonymous=who.anonymous)
        return Access(
            repository=repository,
            owner_id=row["owner_id"],
            package_id=None if gone else row["package_id"],
            visibility=_VISIBILITIES[row["visibility"]],
            default_visibility=_VISIBILITIES[row["default_visibility"]],
            role=role,
            project_id=row["bound_project_id"],
            published=row["published_at"] is not None,
            revision=row["revision"] or 0,
        )

    def check_live(self, row: Row, who: Principal) -> None:
        """Refuse an account or a token that is no longer good. Raises NotSignedIn."""
        if row["disabled_at"] is not None:
            raise NotSignedIn("this account is disabled: ask an administrator")
        if who.token_id:
            if row["live_token_id"] is None or row["revoked_at"] is not None:
                raise NotSignedIn("this token was revoked: create a new one and sign in again")
            grace = FORGIVEN_SECONDS * SECOND if who.forgiven else 0
            if row["expires_at"] is not None and row["expires_at"] + grace <= self._clock():
                raise NotSignedIn("this token has expired: create a new one and sign in again")
        if who.password_version is not None and who.password_version != row["password_version"]:
            raise NotSignedIn("the password was changed: sign in again")

    @staticmethod
    def _check_bearer(
        who: Principal, action: Action, repository: RepositoryName, *, allowed: bool
    ) -> None:
        actions = (who.access or {}).get(f"repository:{repository}")
        if actions is None or (allowed and action.wire_name not in actions):
            raise InsufficientScope.to(action, repository)


def role_of(row: Row | None, who: Principal) -> Role:
    """Return the caller's role, from a row like that of ACCESS."""
    if who.operator:
        return Role.ADMIN
    if row is None or who.anonymous or not row["is_covered"]:
        return Role.NONE
    return Role.ADMIN if row["is_admin"] else _ROLES[row["role"]]


def allowed(row: Row, who: Principal, action: Action, role: Role) -> bool:
    """Whether the caller may, from a row like that of ACCESS."""
    if row["owner_id"] is None or (who.token_id and not action.scope_bit & (row["scopes"] or 0)):
        return False
    if role >= action.role:
        return True
    # Beyond its limits a token is nobody's: it reads what the anonymous read.
    is_open = row["is_open"] and (row["is_covered"] or row["visibility"] == Visibility.PUBLIC)
    return action is Action.PULL and bool(is_open)


def _refusal(who: Principal, action: Action, repository: RepositoryName) -> Exception:
    if action is Action.PULL:
        return NameUnknown.of(repository, anonymous=who.anonymous)
    if who.anonymous:
        return Denied(f"nobody is signed in: sign in to {action.wire_name} {repository}")
    return Denied(
        f"{who.name} may not {action.wire_name} {repository}: an administrator of "
        f"{repository.owner} gives the right with 'packhouse grant {repository.owner} {who.name} "
        f"write' (a new owner is made with 'packhouse org create {repository.owner}'), and the "
        f"token needs the scope '{_SCOPE_WORDS[action]}', and no limits but those that cover this"
    )


_ROLES, _VISIBILITIES = tuple(Role), tuple(Visibility)
"""By their numbers: calling an enumeration takes longer than all of `allowed`."""

_SCOPE_WORDS = {Action.PUSH: "write", Action.DELETE: "delete", Action.ADMINISTER: "admin"}
