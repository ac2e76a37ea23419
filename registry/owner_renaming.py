"""Renaming users and organizations: with them go the names of all packages, teams and robots.

Every package leaves its old name behind as an alias, like one that was renamed alone; the owner's
old name is kept for him. One transaction, a statement for all packages. They are locked first, in
the order of pushes (package, then account); those that a first push made meanwhile follow once the
account's row is held, which a first push waits for.
"""

from collections.abc import Sequence

from auth.accounts import FIND_ACCOUNT
from auth.audit import note
from auth.owner_names import FIND_KEPT
from auth.principals import Principal
from registry.owner_words import FIRST, follow_words
from registry.packaging.formats import NONE, Formats
from registry.repositories import INSERT_EVENT
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, NotFound
from storage.names import MAX_REPOSITORY_LENGTH, RepositoryName, parse_owner, parse_repository

OWNERS = ("user", "organization")

RENAME_ACCOUNT = "update accounts set name = $3 where id = $1 and name = $2"
RENAME_GROUPS = """
update accounts set name = cast($3 as text) || substr(name, length(cast($2 as text)) + 1)
where owner_id = $1
"""
RENAME_PACKAGES = """
update packages set revision = revision + 1,
  repository = cast($3 as text) || substr(repository, length(cast($2 as text)) + 1)
where owner_id = $1
  and repository > cast($2 as text) || '/' and repository < cast($2 as text) || '0'
"""
LIST_ONE_OF_EACH_FORMAT = """
select p.name, p.repository from packages p
where p.id in (
  select min(o.id) from packages o where o.owner_id = $1 and o.format <> 'container'
    and exists (select 1 from package_versions v
      where v.package_id = o.id and v.manifest_id is not null)
  group by o.format)
"""
FIND_TOO_LONG = """
select repository from packages
where owner_id = $1
  and length(repository) - length(cast($2 as text)) + length(cast($3 as text)) > cast($4 as bigint)
order by name limit 1
"""
FIND_CLASH = """
select x.repository from aliases x join packages p on p.repository = x.repository
where x.repository > cast($1 as text) || '/' and x.repository < cast($1 as text) || '0'
  and p.id <> x.package_id
order by x.repository limit 1
"""
DELETE_TAKEN_BACK = """
delete from aliases
where repository > cast($1 as text) || '/' and repository < cast($1 as text) || '0'
  and exists (select 1 from packages p where p.repository = aliases.repository)
"""
INSERT_ALIASES = """
insert into aliases (repository, package_id, created_at)
select cast($2 as text) || substr(repository, length(cast($3 as text)) + 1), id, cast($4 as bigint)
from packages where owner_id = $1
"""
DELETE_ALIASES = """
delete from aliases
where repository > cast($1 as text) || '/' and repository < cast($1 as text) || '0'
"""
INSERT_KEPT = """
insert into owner_aliases (name, account_id, created_at, words_after) values ($1, $2, $3, $4)
"""
DELETE_KEPT = "delete from owner_aliases where name = $1"
FIND_KEEPER = """
select o.id, o.name from owner_aliases y join accounts o on o.id = y.account_id where y.name = $1
"""
LIST_KEPT = """
select name, created_at from owner_aliases where account_id = $1 and name > $2
order by name limit $3
"""


class OwnerRenaming:
    """Gives owners other names, for callers that were authorized."""

    def __init__(self, database: Database, clock: Clock, formats: Formats = NONE) -> None:
        self._database = database
        self._clock = clock
        self._formats = formats

    async def rename(self, who: Principal, owner: str, name: str) -> int:
        """Give a user or an organization another name; return how many packages went with it.

        Raises NameInvalid, NotFound, Conflict for a name that is taken or kept, or too long for
        one of the packages, or where the files of one say the old one.
        """
        old, new, at = owner, parse_owner(name), self._clock()

        async def work(tx: Transaction) -> int:
            account = await _find(tx, old)
            await _require_free(tx, account["id"], old, new)
            moving = _Moving(account["id"], old, new, at)
            count = await moving.packages(tx)
            await moving.account(tx)
            count += await moving.packages(tx)  # what was pushed first until the account was held
            await moving.aliases(tx)
            await self._check_files(tx, account["id"], old, new)
            by = (who.account_id or None, who.token_id or None)
            await tx.execute(INSERT_EVENT, "owner.rename", *by, account["id"], None, old, new, at)
            await note(tx, who, "owner.rename", account["id"], old, at, new)
            return count

        count = await self._database.write(work)
        await follow_words(self._database.write, old)
        return count

    async def _check_files(self, tx: Transaction, owner_id: int, old: str, new: str) -> None:
        """Ask one package of each format whether its files allow the new name. Raises Conflict."""
        for row in await tx.fetch(LIST_ONE_OF_EACH_FORMAT, owner_id):
            rest = parse_repository(row["repository"]).rest
            names = (RepositoryName(old, rest), RepositoryName(new, rest))
            self._formats.check_move(*names, row["name"])

    async def release(self, who: Principal, name: str) -> str:
        """End an owner's old name, and every name of packages below it; return who had it.

        Pulls of them end, and anybody may take them. Raises NameInvalid, NotFound.
        """
        name, at = parse_owner(name), self._clock()
        await follow_words(self._database.write, name)  # the row says how far they are

        async def work(tx: Transaction) -> str:
            keeper = await tx.fetch_one(FIND_KEEPER, name)
            if keeper is None or not await tx.execute(DELETE_KEPT, name):
                raise NotFound(f"{name} is not a name that an owner had before")
            await tx.execute(DELETE_ALIASES, name)
            await note(tx, who, "owner.release", keeper["id"], keeper["name"], at, name)
            now: str = keeper["name"]
            return now

        return await self._database.write(work)

    async def names(self, owner: str, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return names that an owner had before, in order, after `after`. Raises NotFound."""
        row = await self._database.fetch_one(FIND_ACCOUNT, owner)
        if row is None or row["kind"] not in OWNERS:
            raise NotFound(f"there is no user or organization named {owner!r}")
        return await self._database.fetch(LIST_KEPT, row["id"], after, limit)


class _Moving:
    """The steps of one renaming inside its transaction."""

    def __init__(self, owner_id: int, old: str, new: str, at: int) -> None:
        self._id = owner_id
        self._old = old
        self._new = new
        self._at = at

    async def packages(self, tx: Transaction) -> int:
        """Rename every package that has a name below the old one. Raises Conflict."""
        ids = (self._id, self._old, self._new)
        long = await tx.fetch_one(FIND_TOO_LONG, *ids, MAX_REPOSITORY_LENGTH)
        if long is not None:
            raise Conflict(
                f"{long['repository']} would have more than {MAX_REPOSITORY_LENGTH} characters "
                f"below {self._new}: choose a shorter name, or rename it first"
            )
        return await tx.execute(RENAME_PACKAGES, *ids)

    async def account(self, tx: Transaction) -> None:
        """Rename the owner, its teams and robots; who refers to the owner comes before or after."""
        ids = (self._id, self._old, self._new)
        if not await tx.execute(RENAME_ACCOUNT, *ids):
            raise NotFound(f"{self._old} was renamed a moment ago")
        await tx.execute(RENAME_GROUPS, *ids)
        await tx.execute(DELETE_KEPT, self._new)
        await tx.execute(INSERT_KEPT, self._old, self._id, self._at, FIRST)

    async def aliases(self, tx: Transaction) -> None:
        """Leave the old names to the packages. Raises Conflict for a new one that is kept."""
        clash = await tx.fetch_one(FIND_CLASH, self._new)
        if clash is not None:
            raise Conflict(
                f"{clash['repository']} is kept for the package that had it before: "
                f"'packhouse package release {clash['repository']}' ends that"
            )
        await tx.execute(DELETE_TAKEN_BACK, self._new)
        await tx.execute(INSERT_ALIASES, self._id, self._old, self._new, self._at)


async def _find(tx: Transaction, name: str) -> Row:
    """Raises NotFound, and says what an old name is now."""
    row = await tx.fetch_one(FIND_ACCOUNT, name)
    if row is not None and row["kind"] in OWNERS:
        return row
    keeper = await tx.fetch_one(FIND_KEEPER, name)
    now = "" if keeper is None else f": it is {keeper['name']} now"
    raise NotFound(f"there is no user or organization named {name!r}{now}")


async def _require_free(tx: Transaction, owner_id: int, old: str, new: str) -> None:
    """Raises Conflict for a name that somebody has, or that is kept for somebody else."""
    if old == new:
        raise Conflict(f"{old} has that name already")
    if await tx.fetch_one(FIND_ACCOUNT, new) is not None:
        raise Conflict(f"the name {new!r} is taken")
    kept = await tx.fetch_one(FIND_KEPT, new)
    if kept is not None and kept["account_id"] != owner_id:
        raise Conflict(
            f"the name {new!r} is kept for who had it before: 'packhouse owner release {new}' "
            "ends that"
        )
