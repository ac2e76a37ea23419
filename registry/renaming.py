"""Renaming packages and giving them to other owners: the old name stays with them as an alias.

An alias answers pulls (auth/permissions.py finds a package by either name) and keeps its name
from others until a site administrator releases it; it names a row, so chains need no care.
Whatever hangs on a package hangs on its id and moves with it.
"""

from collections.abc import Sequence

from auth.owner_names import require_name
from auth.principals import Principal
from registry.packages import record_change
from registry.packaging.formats import NONE, Formats
from registry.repositories import FIND_MOVED
from registry.search_terms import write_terms
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, Invalid, NotFound
from storage.names import RepositoryName, parse_owner, parse_repository

LOCK_BY_NAME = """
update packages set revision = revision + 1 where repository = $1
returning id, owner_id, name, repository, deleted_at
"""
FIND_OWNER = "select id from accounts where name = $1 and kind in ('user', 'organization')"
FIND_OCCUPANT = "select id from packages where repository = $1"
FIND_ALIAS = "select package_id from aliases where repository = $1"
RENAME_PACKAGE = """
update packages set repository = $2, name = $3, owner_id = $4 where id = $1
"""
LEAVE_PROJECT = """
update packages set own_visibility = visibility, project_id = null, link_confirmed = 1
where id = $1
"""
DELETE_GRANTS = "delete from grants where resource_kind = 3 and resource_id = $1"
INSERT_ALIAS = "insert into aliases (repository, package_id, created_at) values ($1, $2, $3)"
DELETE_ALIAS = "delete from aliases where repository = $1"
LIST_ALIASES = """
select repository from aliases where package_id = $1 and repository > $2 order by repository
limit $3
"""
FIND_ALIASED = """
select p.id, p.owner_id, p.repository from aliases x join packages p on p.id = x.package_id
where x.repository = $1
"""


class Renaming:
    """Moves packages to other names, for callers that were authorized."""

    def __init__(self, database: Database, clock: Clock, formats: Formats = NONE) -> None:
        self._database = database
        self._clock = clock
        self._formats = formats

    async def rename(self, who: Principal, repository: str, name: str) -> None:
        """Give a package another name below its owner.

        Raises NameInvalid, ReservedName, NotFound, Conflict for a name that is taken or kept, or
        not the one that the package's files say.
        """
        old, new = parse_repository(repository), parse_repository(name)
        if old.owner != new.owner:
            raise Invalid(
                f"{new} is another owner's: 'packhouse package transfer {old} {new.owner}' first"
            )
        await self._move(who, old, new)

    async def transfer(self, who: Principal, repository: str, owner: str) -> str:
        """Give a package to another owner, and return its new name.

        It leaves its project but keeps the visibility it has, and loses the grants on it, which
        were the old owner's. Raises NameInvalid, ReservedName, NotFound, Conflict as `rename` does.
        """
        old = parse_repository(repository)
        new = RepositoryName(parse_owner(owner), old.rest)
        if old.owner == new.owner:
            raise Conflict(f"{old} is {new.owner}'s already")
        await self._move(who, old, parse_repository(str(new)))
        return str(new)

    async def release(self, who: Principal, repository: str) -> str:
        """End an old name, which anybody who may push there can then take; return the new one.

        Raises NameInvalid, NotFound.
        """
        name, at = str(parse_repository(repository)), self._clock()

        async def work(tx: Transaction) -> str:
            package = await tx.fetch_one(FIND_ALIASED, name)
            if package is None:
                raise NotFound(f"{name} is not a name that a package had before")
            await tx.execute(DELETE_ALIAS, name)
            await record_change(tx, who, "package.release", package, name, at)
            now: str = package["repository"]
            return now

        return await self._database.write(work)

    async def aliases(self, package_id: int, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return names that a package had before, in ASCII order after `after`."""
        rows = await self._database.fetch(LIST_ALIASES, package_id, after, limit)
        return [row["repository"] for row in rows]

    async def _move(self, who: Principal, old: RepositoryName, new: RepositoryName) -> None:
        self._formats.of(new)
        at = self._clock()

        async def work(tx: Transaction) -> None:
            package = await lock_by_name(tx, str(old))
            self._formats.check_move(old, new, package["name"])
            await move(tx, who, package, new, at)

        await self._database.write(work)


async def move(tx: Transaction, who: Principal, package: Row, new: RepositoryName, at: int) -> None:
    """Give a package that is locked another name, here or at another owner.

    Raises NotFound for an owner that there is not, Conflict for a name that is taken or kept.
    Whether the package of a format may have it was asked before.
    """
    owner = await tx.fetch_one(FIND_OWNER, new.owner)
    if owner is None:
        raise NotFound(f"there is no user or organization named {new.owner!r}")
    await _require_free(tx, str(new), package["id"])
    same = owner["id"] == package["owner_id"]
    kind = "package.rename" if same else "package.transfer"
    await record_change(tx, who, kind, package, str(new), at)
    if not same:
        await tx.execute(LEAVE_PROJECT, package["id"])
        await tx.execute(DELETE_GRANTS, package["id"])
        await record_change(tx, who, kind, package, str(new), at, owner_id=owner["id"])
    await tx.execute(DELETE_ALIAS, str(new))
    name = package["name"] if new.is_format_path else "/".join(new.rest)
    await tx.execute(RENAME_PACKAGE, package["id"], str(new), name, owner["id"])
    await require_name(tx, owner["id"], new.owner)
    await tx.execute(INSERT_ALIAS, package["repository"], package["id"], at)
    await write_terms(tx, package["id"])


async def lock_by_name(tx: Transaction, name: str) -> Row:
    """Lock a package. Raises NotFound, Conflict for a deleted one."""
    package = await tx.fetch_one(LOCK_BY_NAME, name)
    if package is None:
        moved = await tx.fetch_one(FIND_MOVED, name)
        now = "" if moved is None else f": it is {moved['repository']} now"
        raise NotFound(f"there is no package {name}{now}")
    if package["deleted_at"] is not None:
        raise Conflict(f"{name} is deleted: 'packhouse package restore {name}' first")
    return package


async def _require_free(tx: Transaction, name: str, package_id: int) -> None:
    """Raises Conflict for a name that has a package, or is kept as an old name of another one."""
    if await tx.fetch_one(FIND_OCCUPANT, name) is not None:
        raise Conflict(f"{name} exists, or was deleted and can come back")
    alias = await tx.fetch_one(FIND_ALIAS, name)
    if alias is not None and alias["package_id"] != package_id:
        raise Conflict(
            f"{name} is kept for the package that had it before: "
            f"'packhouse package release {name}' ends that"
        )
