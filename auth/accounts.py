"""Accounts: users and organizations, and the grants that give them roles."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from auth.audit import note
from auth.owner_names import FIND_KEPT, insert_account
from auth.owning import keep_an_owner
from auth.passwords import hash_password
from auth.principals import Principal, Role, Visibility
from storage.clock import Clock
from storage.database import Database, Question, Row, Transaction
from storage.errors import Conflict, Invalid, NotFound
from storage.names import parse_owner

OWNER, PROJECT, PACKAGE = 1, 2, 3
"""Kinds of resource a grant may name."""

INSERT_MEMBER = """
insert into members (user_id, group_id, role) values ($1, $2, $3)
on conflict (user_id, group_id) do update set role = excluded.role, identity_id = null
"""
UPSERT_GRANT = """
insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
values ($1, $2, $3, $4, $5)
on conflict (resource_kind, resource_id, grantee_id) do update set role = excluded.role
"""
DELETE_GRANT = """
delete from grants where resource_kind = $1 and resource_id = $2 and grantee_id = $3 returning role
"""
TURN_REVISION = """
update packages set revision = revision + 1 where id = $2 and cast($1 as smallint) = 3
"""
"""For documents about a package name those who administer it."""

LOCK_ACCOUNT = "update accounts set name = name where id = $1 returning id"
FIND_ACCOUNT = """
select id, kind, name, is_admin, password_hash, password_version, default_visibility, created_at,
  disabled_at
from accounts where name = $1
"""
SET_PASSWORD = """
update accounts set password_hash = $2, password_version = password_version + 1
where name = $1 and kind = 'user' returning id
"""
DISABLE_ACCOUNT = "update accounts set disabled_at = $2 where id = $1 and disabled_at is null"
ENABLE_ACCOUNT = "update accounts set disabled_at = null where id = $1"
SET_DEFAULT_VISIBILITY = """
update accounts set default_visibility = $2 where id = $1 and kind in ('user', 'organization')
"""
LIST_GRANTEES = """
select a.name, a.kind, g.role from grants g join accounts a on a.id = g.grantee_id
where g.resource_kind = $1 and g.resource_id = $2 and a.name > $3 order by a.name limit $4
"""
END_SESSIONS = "delete from sessions where account_id = $1"
FIND_RESOURCE = """
select coalesce(o.id, r.owner_id, p.owner_id) as owner_id,
  coalesce(o.name, q.name || '/' || r.name, p.repository) as name
from (select cast($1 as smallint) as kind) asked
  left join accounts o on asked.kind = 1 and o.id = $2
  left join projects r on asked.kind = 2 and r.id = $2
  left join accounts q on q.id = r.owner_id
  left join packages p on asked.kind = 3 and p.id = $2
"""
FIND_HOLDER = """
select a.id from accounts a join grants g on g.grantee_id = a.id
where g.resource_kind = $1 and g.resource_id = $2 and a.name = $3
"""
# scan: the first row ends it
ANY_ACCOUNT = "select id from accounts order by id limit 1"


@dataclass(frozen=True, slots=True)
class Account:
    """A user or an organization."""

    id: int
    kind: str
    name: str
    is_admin: bool
    password_hash: str | None
    password_version: int
    default_visibility: Visibility
    disabled: bool
    created_at: int


async def insert_user(
    tx: Transaction, name: str, password_hash: str | None, at: int, *, admin: bool
) -> int | None:
    """Insert a user that owns its namespace; None if the name is taken."""
    user_id = await insert_account(tx, "user", name, password_hash, at, admin=admin)
    if user_id is None:
        return None
    await tx.execute(INSERT_MEMBER, user_id, user_id, Role.ADMIN)
    await tx.execute(UPSERT_GRANT, user_id, OWNER, user_id, Role.ADMIN, at)
    return user_id


async def switch(
    tx: Transaction, who: Principal, user_id: int, name: str, at: int, *, enabled: bool
) -> None:
    """Switch a user on, or off together with his sessions, which no enabling brings back."""
    if enabled:
        await tx.execute(ENABLE_ACCOUNT, user_id)
    else:
        await tx.execute(DISABLE_ACCOUNT, user_id, at)
        await tx.execute(END_SESSIONS, user_id)
    await note(tx, who, "user.enable" if enabled else "user.disable", user_id, name, at)


def asked_grants(kind: int, resource_id: int, after: str = "", limit: int = 1000) -> Question:
    """Ask for the roles on a resource: name, kind and role of those who have them, by name."""
    return LIST_GRANTEES, kind, resource_id, after, limit


class Accounts:
    """Makes accounts, gives them roles, switches them off, for callers that were authorized."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, name: str) -> Account | None:
        """Return an account by name."""
        row = await self._database.fetch_one(FIND_ACCOUNT, name)
        if row is None:
            return None
        return Account(
            id=row["id"],
            kind=row["kind"],
            name=row["name"],
            is_admin=bool(row["is_admin"]),
            password_hash=row["password_hash"],
            password_version=row["password_version"],
            default_visibility=Visibility(row["default_visibility"]),
            disabled=row["disabled_at"] is not None,
            created_at=row["created_at"],
        )

    async def get(self, name: str, *kinds: str) -> Account:
        """Return an account by name, of one of `kinds` if any are given. Raises NotFound."""
        account = await self.find(name)
        if account is None or (kinds and account.kind not in kinds):
            raise NotFound(f"there is no {' or '.join(kinds) or 'account'} named {name!r}")
        return account

    async def create_user(
        self, who: Principal, name: str, password: str | None, *, admin: bool = False
    ) -> int:
        """Make a user that owns the namespace of its name. Raises NameInvalid, Conflict."""
        name = parse_owner(name)
        hashed = None if password is None else await asyncio.to_thread(hash_password, password)
        at = self._clock()

        async def work(tx: Transaction) -> int | None:
            user_id = await insert_user(tx, name, hashed, at, admin=admin)
            if user_id is not None:
                detail = "site administrator" if admin else ""
                await note(tx, who, "user.create", user_id, name, at, detail)
            return user_id

        made = await self._database.write(work)
        if made is None:
            raise await self._taken(name)
        return made

    async def create_organization(
        self, who: Principal, name: str, creator: str | None = None
    ) -> int:
        """Make an organization, with `creator` as its owner. Raises NameInvalid, Conflict."""
        name = parse_owner(name)
        owner = None if creator is None else await self.get(creator, "user")
        at = self._clock()

        async def work(tx: Transaction) -> int | None:
            made = await insert_account(tx, "organization", name, None, at, admin=False)
            if made is None:
                return None
            if owner is not None:
                await tx.execute(INSERT_MEMBER, owner.id, made, 1)
                await tx.execute(UPSERT_GRANT, owner.id, OWNER, made, Role.ADMIN, at)
            await note(tx, who, "organization.create", made, name, at, creator or "")
            return made

        made = await self._database.write(work)
        if made is None:
            raise await self._taken(name)
        return made

    async def _taken(self, name: str) -> Conflict:
        if await self._database.fetch_one(FIND_KEPT, name) is None:
            return Conflict(f"the name {name!r} is taken")
        return Conflict(
            f"the name {name!r} is kept for who had it before: an administrator of the site ends "
            f"that with 'packhouse owner release {name}'"
        )

    async def grant(
        self, who: Principal, kind: int, resource_id: int, grantee: str, role: Role
    ) -> bool:
        """Give an account a role on a resource (NONE takes it away); whether it had to be done.

        Raises NotFound, Invalid, and Conflict for the last who administers an owner.
        """
        holds = role is Role.NONE and await self._holds(kind, resource_id, grantee)
        if role is Role.NONE and not holds:
            return False  # who has no role is as unknown as who is not there
        account, at = await self.get(grantee), self._clock()
        if account.kind == "organization":
            raise Invalid("a role is given to a user or a team, not to an organization")

        async def work(tx: Transaction) -> bool:
            if kind == OWNER:
                await tx.fetch_one(LOCK_ACCOUNT, resource_id)
            if await tx.fetch_one(LOCK_ACCOUNT, account.id) is None:
                raise NotFound(f"there is no account named {grantee!r}")  # a team deleted just now
            resource = await tx.fetch_one(FIND_RESOURCE, kind, resource_id)
            if resource is None or resource["owner_id"] is None:
                raise NotFound("there is no such owner, project or package")
            if kind == OWNER and role is not Role.ADMIN:
                await keep_an_owner(tx, resource_id, account.id, resource["name"])
            did, said = "grant", f"{role.name.lower()} to {account.name}"
            if role is Role.NONE:
                taken = await tx.fetch_one(DELETE_GRANT, kind, resource_id, account.id)
                if taken is None:
                    return False
                did, said = "grant.remove", f"{Role(taken['role']).name.lower()} of {account.name}"
            else:
                await tx.execute(UPSERT_GRANT, account.id, kind, resource_id, int(role), at)
            await tx.execute(TURN_REVISION, kind, resource_id)
            await note(tx, who, did, resource["owner_id"], resource["name"], at, said)
            return True

        return await self._database.write(work)

    async def _holds(self, kind: int, resource_id: int, grantee: str) -> bool:
        found = await self._database.fetch_one(FIND_HOLDER, kind, resource_id, grantee)
        return found is not None

    async def grants(
        self, kind: int, resource_id: int, after: str = "", limit: int = 1000
    ) -> Sequence[Row]:
        """Return the roles on a resource, by the names of those who have them, after `after`."""
        return await self._database.fetch(*asked_grants(kind, resource_id, after, limit))

    async def set_password(self, who: Principal, name: str, password: str) -> None:
        """Replace a user's password; bearers made with the old one end. Raises NotFound."""
        hashed, at = await asyncio.to_thread(hash_password, password), self._clock()

        async def work(tx: Transaction) -> None:
            row = await tx.fetch_one(SET_PASSWORD, name, hashed)
            if row is None:
                raise NotFound(f"there is no user named {name!r}")
            await note(tx, who, "user.password", row["id"], name, at)

        await self._database.write(work)

    async def set_enabled(self, who: Principal, name: str, *, enabled: bool) -> None:
        """Switch an account off or on; every request of it ends at once. Raises NotFound."""
        account, at = await self.get(name, "user"), self._clock()

        async def work(tx: Transaction) -> None:
            await switch(tx, who, account.id, name, at, enabled=enabled)

        await self._database.write(work)

    async def set_default_visibility(
        self, who: Principal, name: str, visibility: Visibility
    ) -> None:
        """Say who sees the packages that will be made below an owner. Raises NotFound."""
        account, at = await self.get(name, "user", "organization"), self._clock()

        async def work(tx: Transaction) -> None:
            if not await tx.execute(SET_DEFAULT_VISIBILITY, account.id, int(visibility)):
                raise NotFound(f"there is no user or organization named {name!r}")
            said = visibility.name.lower()
            await note(tx, who, "owner.default-visibility", account.id, name, at, said)

        await self._database.write(work)
