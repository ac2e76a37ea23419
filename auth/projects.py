"""Projects: the source repositories that packages belong to."""

from collections.abc import Sequence

from auth.accounts import INSERT_MEMBER, OWNER, PROJECT, UPSERT_GRANT, Accounts
from auth.audit import note
from auth.owner_names import require_name
from auth.permissions import HELD, PROJECT_OPEN, covered, on
from auth.principals import Principal, Role, Visibility
from auth.sources import parse_source
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, Invalid, NotFound
from storage.names import parse_owner, parse_project

INSERT_PROJECT = """
insert into projects (owner_id, name, folded_name, visibility, created_at)
values ($1, $2, $3, $4, $5) on conflict (owner_id, folded_name) do nothing returning id
"""
INSERT_ROBOT = """
insert into accounts (kind, name, owner_id, created_at) values ('robot', $1, $2, $3)
on conflict (name) do nothing returning id
"""
FIND_ROBOT = "select id from accounts where name = $1 and kind = 'robot'"
FIND_PROJECT = """
select r.id, r.name, r.visibility, r.owner_id from projects r join accounts o on o.id = r.owner_id
where o.name = $1 and r.folded_name = $2 and r.deleted_at is null
"""
LIST_VISIBLE_PROJECTS = f"""
select r.name, r.folded_name, r.visibility, r.created_at, o.name as owner
from accounts o join projects r on r.owner_id = o.id
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
where o.name = $3 and r.folded_name > $4 and r.deleted_at is null
  and (r.visibility = 2 or cast($6 as smallint) = 1 or ({covered("o.id", "r.id", "null")} and (
    u.is_admin = 1 or {PROJECT_OPEN} or exists (
      select 1 from members m cross join grants g
      where {HELD} and ({on(OWNER, "o.id")} or {on(PROJECT, "r.id")})))))
order by r.folded_name limit $5
"""
SHOW_PROJECT = """
select r.name, r.visibility, r.created_at, o.name as owner
from projects r join accounts o on o.id = r.owner_id where r.id = $1 and r.deleted_at is null
"""
HOLD_PROJECT = """
update projects set visibility = visibility where id = $1 and deleted_at is null
returning id, owner_id, name, visibility
"""
"""Takes the lock under which packages are linked to a project, and its visibility changes."""

SET_PROJECT_VISIBILITY = """
update projects set visibility = $2 where id = $1 and deleted_at is null returning owner_id
"""
REWRITE_VISIBILITY = """
update packages set revision = revision + 1,
  visibility = case when link_confirmed = 1 or own_visibility > $2 then cast($2 as smallint)
    else own_visibility end
where project_id = $1
  and visibility <> case when link_confirmed = 1 or own_visibility > $2 then cast($2 as smallint)
    else own_visibility end
"""
FOLLOW_VISIBILITY = """
update search_terms
set visibility = (select p.visibility from packages p where p.id = search_terms.package_id)
where package_id in (select p.id from packages p where p.project_id = $1)
"""
"""Lets the packages of a project be found by whoever sees them now."""
RENAME_PROJECT = """
update projects set name = $2, folded_name = $3
where id = $1 and not exists (select 1 from projects q
  where q.owner_id = projects.owner_id and q.folded_name = $3 and q.id <> $1)
returning owner_id
"""
RENAME_ROBOT = "update accounts set name = $2 where name = $1 and kind = 'robot'"
INSERT_SOURCE = """
insert into project_sources (owner_id, url, project_id)
select owner_id, cast($2 as text), id from projects where id = $1
on conflict (owner_id, url) do nothing returning owner_id
"""
FIND_SOURCE = """
select r.id, r.name from projects p
  join project_sources s on s.owner_id = p.owner_id and s.url = $2
  join projects r on r.id = s.project_id
where p.id = $1
"""
DELETE_SOURCE = """
delete from project_sources where project_id = $1 and url = $2 returning owner_id
"""
LIST_SOURCES = """
select url from project_sources where project_id = $1 and url > $2 order by url limit $3
"""


class Projects:
    """Makes, finds and changes projects, for callers that were authorized."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def create(self, who: Principal, path: str, visibility: Visibility) -> int:
        """Make the project `owner/name`. Raises NameInvalid, NotFound, Conflict."""
        owner_name, name = split_path(path)
        owner = await self._accounts.get(owner_name, "user", "organization")
        values, at = (owner.id, name, name.lower(), int(visibility)), self._clock()

        async def work(tx: Transaction) -> int:
            row = await tx.fetch_one(INSERT_PROJECT, *values, at)
            if row is None:
                raise Conflict(f"the project {path!r} exists")
            said = visibility.name.lower()
            await note(tx, who, "project.create", owner.id, f"{owner_name}/{name}", at, said)
            made: int = row["id"]
            return made

        return await self._database.write(work)

    async def get(self, path: str) -> int:
        """Return the id of the project `owner/name`. Raises NameInvalid, NotFound."""
        return (await self._find(path))[0]

    async def _find(self, path: str) -> tuple[int, str]:
        """Return a project's id, and its path as it was made."""
        owner_name, name = split_path(path)
        row = await self._database.fetch_one(FIND_PROJECT, owner_name, name.lower())
        if row is None:
            raise NotFound(f"there is no project {path!r}")
        return row["id"], f"{owner_name}/{row['name']}"

    async def visible(
        self, who: Principal, owner: str, after: str = "", limit: int = 1000
    ) -> Sequence[Row]:
        """Return the projects of an owner that the caller may see, by folded name after `after`.

        Raises NameInvalid for what nobody is named.
        """
        owner = parse_owner(owner)
        asked = (who.account_id, who.token_id, owner, after, limit, int(who.operator))
        return await self._database.fetch(LIST_VISIBLE_PROJECTS, *asked)

    async def show(self, project_id: int) -> Row:
        """Return a project as `list` does. Raises NotFound."""
        row = await self._database.fetch_one(SHOW_PROJECT, project_id)
        if row is None:
            raise NotFound("this project was deleted a moment ago")
        return row

    async def set_visibility(self, who: Principal, path: str, visibility: Visibility) -> int:
        """Open or close a project and all packages linked to it; return how many those were.

        Raises NameInvalid, NotFound.
        """
        return await self.change(who, path, None, visibility)

    async def rename(self, who: Principal, path: str, name: str) -> None:
        """Give a project another name; what is linked to it stays so.

        Raises NameInvalid, NotFound, Conflict.
        """
        await self.change(who, path, name, None)

    async def change(
        self, who: Principal, path: str, name: str | None, visibility: Visibility | None
    ) -> int:
        """Give a project another name or visibility, or both; None leaves what is.

        Returns how many packages have another visibility now.
        Raises NameInvalid, NotFound, Conflict.
        """
        name = None if name is None else parse_project(name)
        (project_id, path), at = await self._find(path), self._clock()

        async def work(tx: Transaction) -> int:
            changed = 0
            if visibility is not None:
                changed = await _open(tx, who, (project_id, path), visibility, at)
            if name is not None:
                await _rename(tx, who, (project_id, path), name, at)
            return changed

        return await self._database.write(work)

    async def sources(self, path: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return a project's source URLs as `host/path` after `after`.

        Raises NameInvalid, NotFound.
        """
        rows = await self._database.fetch(LIST_SOURCES, await self.get(path), after, limit)
        return [row["url"] for row in rows]

    async def add_source(self, who: Principal, path: str, url: str) -> str:
        """Let packages that name this URL be linked to a project; return it as it is kept.

        Raises Invalid, NotFound, Conflict for the URL of another project of this owner.
        """
        url, at = parse_source(url), self._clock()
        project_id, path = await self._find(path)

        async def work(tx: Transaction) -> None:
            added = await tx.fetch_one(INSERT_SOURCE, project_id, url)
            if added is not None:
                await note(tx, who, "project.source.add", added["owner_id"], path, at, url)
                return
            row = await tx.fetch_one(FIND_SOURCE, project_id, url)
            if row is not None and row["id"] != project_id:
                raise Conflict(f"{url} is the source of the project {row['name']!r} already")

        await self._database.write(work)
        return url

    async def remove_source(self, who: Principal, path: str, url: str) -> None:
        """Forget a source URL; what it has linked stays linked. Raises Invalid, NotFound."""
        url, at = parse_source(url), self._clock()
        project_id, path = await self._find(path)

        async def work(tx: Transaction) -> None:
            removed = await tx.fetch_one(DELETE_SOURCE, project_id, url)
            if removed is None:
                raise NotFound(f"{url} is no source of {path}")
            await note(tx, who, "project.source.remove", removed["owner_id"], path, at, url)

        await self._database.write(work)

    async def robot(self, who: Principal, path: str) -> tuple[int, int]:
        """Return the account that jobs of a project act as, made on first use, and the project.

        It may write to what is linked to the project, and create what is then linked to it.
        Raises NameInvalid, NotFound.
        """
        project_id, path = await self._find(path)
        owner_name, _ = split_path(path)
        owner = await self._accounts.get(owner_name)
        at = self._clock()

        async def work(tx: Transaction) -> int:
            project = await _hold(tx, project_id, path)  # its name stays until the robot has it
            robot = f"{owner_name}+{project['name'].lower()}"
            made = await tx.fetch_one(INSERT_ROBOT, robot, owner.id, at)
            row = await tx.fetch_one(FIND_ROBOT, robot)
            if row is None:
                raise RuntimeError(f"the robot {robot} was neither found nor made")
            robot_id: int = row["id"]
            if made is not None:
                await tx.execute(INSERT_MEMBER, robot_id, robot_id, Role.ADMIN)
                await note(tx, who, "robot.create", owner.id, robot, at, path)
            await tx.execute(UPSERT_GRANT, robot_id, PROJECT, project_id, Role.WRITE, at)
            await require_name(tx, owner.id, owner_name)
            return robot_id

        return await self._database.write(work), project_id


async def _open(
    tx: Transaction, who: Principal, project: tuple[int, str], visibility: Visibility, at: int
) -> int:
    """One statement rewrites the packages, whatever their number: who may read changes at once."""
    project_id, path = project
    row = await tx.fetch_one(SET_PROJECT_VISIBILITY, project_id, visibility)
    if row is None:
        raise NotFound(f"there is no project {path!r}")
    kind, said = "project.visibility", visibility.name.lower()
    await note(tx, who, kind, row["owner_id"], path, at, said)
    changed = await tx.execute(REWRITE_VISIBILITY, project_id, visibility)
    if changed:
        await tx.execute(FOLLOW_VISIBILITY, project_id)
    return changed


async def _hold(tx: Transaction, project_id: int, path: str) -> Row:
    """Return a project, whose name and visibility stay until this transaction ends."""
    row = await tx.fetch_one(HOLD_PROJECT, project_id)
    if row is None:
        raise NotFound(f"there is no project {path!r}")
    return row


async def _rename(
    tx: Transaction, who: Principal, project: tuple[int, str], name: str, at: int
) -> None:
    project_id, path = project
    owner, _ = split_path(path)
    # Somebody may have renamed it since: the robot has the name that the project has now.
    old = (await _hold(tx, project_id, path))["name"]
    row = await tx.fetch_one(RENAME_PROJECT, project_id, name, name.lower())
    if row is None:
        raise Conflict(f"the project {owner}/{name} exists")
    await note(tx, who, "project.rename", row["owner_id"], path, at, name)
    robots = f"{owner}+{old.lower()}", f"{owner}+{name.lower()}"
    if robots[0] != robots[1]:  # or the next project of the old name would get its rights
        await tx.execute(RENAME_ROBOT, *robots)
        await require_name(tx, row["owner_id"], owner)


def split_path(path: str) -> tuple[str, str]:
    """Split `owner/name`. Raises NameInvalid, Invalid."""
    owner, separator, name = path.partition("/")
    if not separator:
        raise Invalid(f"{path!r} is not a project: write OWNER/NAME")
    return parse_owner(owner), parse_project(name)
