"""Teams of an organization: accounts that are given roles, which their members then have."""

from collections.abc import Sequence

from auth.accounts import INSERT_MEMBER, LOCK_ACCOUNT, Account, Accounts
from auth.audit import note
from auth.organizations import FIND_MEMBER, GroupRole
from auth.owner_names import require_name
from auth.permissions import covered
from auth.principals import Principal
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, NotFound
from storage.names import parse_team

INSERT_TEAM = """
insert into accounts (kind, name, owner_id, created_at) values ('team', $1, $2, $3)
on conflict (name) do nothing returning id
"""
LIST_TEAMS = """
select t.id, t.name, t.created_at,
  (select count(*) from members m where m.group_id = t.id) as members
from accounts t where t.owner_id = $1 and t.kind = 'team' and t.name > $2
order by t.name limit $3
"""
FIND_TEAM = """
select t.id, t.name, t.created_at,
  (select count(*) from members m where m.group_id = t.id) as members
from accounts t where t.name = $1 and t.kind = 'team'
"""
LIST_TEAM_MEMBERS = """
select u.id, u.name, m.role from members m join accounts u on u.id = m.user_id
where m.group_id = $1 and u.name > $2 order by u.name limit $3
"""
LIST_GRANTS = f"""
select g.role, g.resource_kind, g.resource_kind || '.' || g.resource_id as key,
  coalesce(o.name, p.repository, w.name || '/' || r.name, '') as resource
from grants g
  left join accounts o on g.resource_kind = 1 and o.id = g.resource_id
  left join projects r on g.resource_kind = 2 and r.id = g.resource_id
  left join accounts w on w.id = r.owner_id
  left join packages p on g.resource_kind = 3 and p.id = g.resource_id
  left join tokens k on k.id = $2
where g.grantee_id = $1
  and (g.resource_kind > $3 or (g.resource_kind = $3 and g.resource_id > $4))
  and {covered("coalesce(o.id, r.owner_id, p.owner_id)", "coalesce(r.id, p.project_id)", "p.id")}
order by g.resource_kind, g.resource_id limit $5
"""
LOCK_TEAM = "update accounts set name = name where id = $1 returning owner_id, name"
DELETE_MEMBER = "delete from members where user_id = $1 and group_id = $2"
DELETE_MEMBERS = "delete from members where group_id = $1"
DELETE_GRANTS = "delete from grants where grantee_id = $1"
DELETE_TEAM = "delete from accounts where id = $1 and kind = 'team'"


class Teams:
    """Makes teams and puts members of their organization into them, for authorized callers."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def create(self, who: Principal, path: str) -> int:
        """Make the team `organization/name`. Raises NameInvalid, NotFound, Conflict."""
        owner_name, name = parse_team(path)
        owner = await self._accounts.get(owner_name)
        if owner.kind != "organization":
            raise Conflict(f"{owner_name!r} is a {owner.kind}: only an organization has teams")
        team, at = f"{owner_name}/{name}", self._clock()

        async def work(tx: Transaction) -> int:
            row = await tx.fetch_one(INSERT_TEAM, team, owner.id, at)
            if row is None:
                raise Conflict(f"the team {team} exists")
            await require_name(tx, owner.id, owner_name)
            await note(tx, who, "team.create", owner.id, team, at)
            made: int = row["id"]
            return made

        return await self._database.write(work)

    async def delete(self, who: Principal, path: str) -> None:
        """End a team, and with it every role it gave. Raises NameInvalid, NotFound."""
        team, at = await self.get(path), self._clock()

        async def work(tx: Transaction) -> None:
            row = await tx.fetch_one(LOCK_TEAM, team.id)
            if row is None:
                raise NotFound(f"there is no team named {path!r}")
            await tx.execute(DELETE_GRANTS, team.id)
            await tx.execute(DELETE_MEMBERS, team.id)
            await tx.execute(DELETE_TEAM, team.id)
            await note(tx, who, "team.delete", row["owner_id"], row["name"], at)

        await self._database.write(work)

    async def get(self, path: str) -> Account:
        """Return the team `organization/name`. Raises NameInvalid, NotFound."""
        return await self._accounts.get("/".join(parse_team(path)), "team")

    async def show(self, path: str) -> Row:
        """Return a team as `list` does. Raises NameInvalid, NotFound."""
        row = await self._database.fetch_one(FIND_TEAM, "/".join(parse_team(path)))
        if row is None:
            raise NotFound(f"there is no team named {path!r}")
        return row

    async def list(self, organization: str, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return up to `limit` teams of an organization with names above `after`.

        Raises NotFound.
        """
        owner = await self._accounts.get(organization, "organization")
        return await self._database.fetch(LIST_TEAMS, owner.id, after, limit)

    async def members(self, path: str, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return up to `limit` members with names above `after`. Raises NameInvalid, NotFound."""
        team = await self.get(path)
        return await self._database.fetch(LIST_TEAM_MEMBERS, team.id, after, limit)

    async def grants(
        self, who: Principal, path: str, after: tuple[int, int] = (0, 0), limit: int = 10_000
    ) -> Sequence[Row]:
        """Return the roles a team gives, by kind and id of what they are on, after those.

        Only what the caller's token is not limited away from. Raises NameInvalid, NotFound.
        """
        team = await self.get(path)
        return await self._database.fetch(LIST_GRANTS, team.id, who.token_id, *after, limit)

    async def add(self, who: Principal, path: str, user: str, role: GroupRole) -> None:
        """Put a member of the organization into a team, or change his role there.

        Raises NameInvalid, NotFound, Conflict for somebody from outside.
        """
        owner_name, _ = parse_team(path)
        owner = await self._accounts.get(owner_name, "organization")
        team, member = await self.get(path), await self._accounts.get(user, "user")
        at = self._clock()

        async def work(tx: Transaction) -> None:
            # Both rows stay while the member is added: who leaves the organization, or deletes the
            # team, comes before or after this.
            await tx.fetch_one(LOCK_ACCOUNT, owner.id)
            if await tx.fetch_one(LOCK_ACCOUNT, team.id) is None:
                raise NotFound(f"there is no team named {path!r}")
            if await tx.fetch_one(FIND_MEMBER, member.id, owner.id) is None:
                raise Conflict(
                    f"{user!r} is no member of {owner_name!r}: add him with 'packhouse org add "
                    f"{owner_name} {user}'"
                )
            was = await tx.fetch_one(FIND_MEMBER, member.id, team.id)
            await tx.execute(INSERT_MEMBER, member.id, team.id, role)
            kind, detail = "team.add" if was is None else "team.role", role.name.lower()
            await note(tx, who, kind, owner.id, team.name, at, f"{member.name} as {detail}")

        await self._database.write(work)

    async def remove(self, who: Principal, path: str, user: str) -> None:
        """Take somebody out of a team. Raises NameInvalid, NotFound."""
        team, member = await self.get(path), await self._accounts.get(user)
        owner, at = await self._accounts.get(parse_team(path)[0], "organization"), self._clock()

        async def work(tx: Transaction) -> None:
            if not await tx.execute(DELETE_MEMBER, member.id, team.id):
                raise NotFound(f"{user!r} is no member of the team {path!r}")
            await note(tx, who, "team.remove", owner.id, team.name, at, member.name)

        await self._database.write(work)
