"""Organizations: who belongs to them, and which of these are their owners.

An owner is whoever has the role admin on the organization. A member without it has no rights by
that alone: he may be put into teams.
"""

from collections.abc import Sequence
from enum import IntEnum

from auth.accounts import (
    DELETE_GRANT,
    INSERT_MEMBER,
    LOCK_ACCOUNT,
    OWNER,
    UPSERT_GRANT,
    Accounts,
)
from auth.audit import note
from auth.owning import keep_an_owner
from auth.permissions import HELD, covered
from auth.principals import Principal, Role
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import NotFound

LIST_MEMBERS = """
select u.id, u.name, max(x.role) as role from (
  select m.user_id, 0 as role from members m where m.group_id = $1
  union all
  select g.grantee_id, 3 from grants g
  where g.resource_kind = 1 and g.resource_id = $1 and g.role = 3
) x join accounts u on u.id = x.user_id
where u.kind = 'user' and u.name > $2 group by u.id, u.name order by u.name limit $3
"""
LIST_ORGANIZATIONS = f"""
select o.name, o.default_visibility, o.created_at from (
  select b.group_id as id from members b where b.user_id = $1
  union
  select g.resource_id from members m cross join grants g
  where {HELD} and g.resource_kind = {OWNER}
) v join accounts o on o.id = v.id left join tokens k on k.id = $2
where o.kind = 'organization' and o.name > $3 and {covered("o.id", "null", "null")}
order by o.name limit $4
"""
LIST_ALL_ORGANIZATIONS = """
select o.name, o.default_visibility, o.created_at from accounts o
where o.kind = 'organization' and o.name > $1 order by o.name limit $2
"""
FIND_MEMBER = "select role from members where user_id = $1 and group_id = $2"
LEAVE_GROUPS = """
delete from members where user_id = $2 and group_id in (
  select $1 union all select t.id from accounts t where t.owner_id = $1 and t.kind = 'team')
"""
LOSE_GRANTS = """
delete from grants where grantee_id = $2 and (
  (resource_kind = 1 and resource_id = $1)
  or (resource_kind = 2 and resource_id in (select r.id from projects r where r.owner_id = $1))
  or (resource_kind = 3 and resource_id in (select p.id from packages p where p.owner_id = $1)))
"""


class GroupRole(IntEnum):
    """What somebody is in a team."""

    MEMBER = 1
    MAINTAINER = 2


class Organizations:
    """Who belongs to an organization: changed for callers that were authorized."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def visible(
        self, who: Principal, after: str = "", limit: int = 1000, *, site: bool = False
    ) -> Sequence[Row]:
        """Return organizations with names above `after`: the caller's, or with `site` all.

        The caller's are those he belongs to or has a role on, as far as his token reaches.
        """
        if site:
            return await self._database.fetch(LIST_ALL_ORGANIZATIONS, after, limit)
        asked = (who.account_id, who.token_id, after, limit)
        return await self._database.fetch(LIST_ORGANIZATIONS, *asked)

    async def members(self, organization: str, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return up to `limit` members with names above `after`; role 3 is an owner.

        Raises NotFound.
        """
        found = await self._accounts.get(organization, "organization")
        return await self._database.fetch(LIST_MEMBERS, found.id, after, limit)

    async def add(self, who: Principal, organization: str, user: str, *, owner: bool) -> None:
        """Make a user a member or an owner; an owner becomes a member again without `owner`.

        Raises NotFound, Conflict for the last owner.
        """
        group = await self._accounts.get(organization, "organization")
        member = await self._accounts.get(user, "user")
        at = self._clock()

        async def work(tx: Transaction) -> None:
            await tx.fetch_one(LOCK_ACCOUNT, group.id)
            was = await tx.fetch_one(FIND_MEMBER, member.id, group.id)
            await tx.execute(INSERT_MEMBER, member.id, group.id, GroupRole.MEMBER)
            if owner:
                await tx.execute(UPSERT_GRANT, member.id, OWNER, group.id, Role.ADMIN, at)
            elif await keep_an_owner(tx, group.id, member.id, organization):
                await tx.execute(DELETE_GRANT, OWNER, group.id, member.id)
            kind = "organization.add" if was is None else "organization.role"
            detail = f"{user} as {'owner' if owner else 'member'}"
            await note(tx, who, kind, group.id, organization, at, detail)

        await self._database.write(work)

    async def remove(self, who: Principal, organization: str, user: str) -> None:
        """End a membership, with the teams and every role of the user in the organization.

        Raises NotFound, Conflict for the last owner.
        """
        group = await self._accounts.get(organization, "organization")
        member = await self._accounts.get(user, "user")
        at = self._clock()

        async def work(tx: Transaction) -> int:
            # The organization's row orders those who remove each other.
            await tx.fetch_one(LOCK_ACCOUNT, group.id)
            await keep_an_owner(tx, group.id, member.id, organization)
            lost = await tx.execute(LOSE_GRANTS, group.id, member.id)
            lost += await tx.execute(LEAVE_GROUPS, group.id, member.id)
            if lost:
                await note(tx, who, "organization.remove", group.id, organization, at, user)
            return lost

        if not await self._database.write(work):
            raise NotFound(f"{user!r} is no member of {organization!r}")
