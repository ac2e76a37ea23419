"""Packages as their owners manage them: listed, shown, opened or closed to readers."""

from collections.abc import Sequence

from auth.audit import note
from auth.principals import Principal, Visibility
from auth.projects import HOLD_PROJECT
from registry.our_tags import SHOWN_TAG
from registry.package_deletion import PackageDeletion, delete_package
from registry.repositories import FIND_MOVED, INSERT_EVENT
from registry.search_terms import follow_visibility
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, Invalid, NotFound
from storage.names import parse_repository

PACKAGE_COLUMNS = """
p.id, p.name, p.repository, p.format, p.visibility, p.own_visibility, p.created_at, p.deleted_at,
  p.owner_id, r.name as project, case when p.link_confirmed = 0 and r.visibility > p.visibility
    then r.visibility else null end as pending_visibility
"""
FIND_PACKAGE = f"""
select {PACKAGE_COLUMNS}, p.deletion_id
from packages p left join projects r on r.id = p.project_id
where p.repository = $1
"""
FIND_PACKAGE_BY_ID = f"""
select {PACKAGE_COLUMNS}, p.deletion_id
from packages p left join projects r on r.id = p.project_id
where p.id = $1
"""
LIST_TAGGED = """
select t.name, t.updated_at, c.digest, c.size from tags t
  join manifests m on m.id = t.manifest_id join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and t.name > $2 order by t.name limit $3
"""
LIST_SHOWN_TAGGED = f"""
select t.name, t.updated_at, c.digest, c.size from tags t
  join manifests m on m.id = t.manifest_id join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and t.name > $2 and {SHOWN_TAG} order by t.name limit $3
"""
FIND_TAGGED = """
select t.name, t.updated_at, c.digest, c.size from tags t
  join manifests m on m.id = t.manifest_id join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and t.name = $2
"""
LIST_HISTORY = """
select h.id, h.name, h.changed_at, c.digest, a.name as account from tag_history h
  left join manifest_contents c on c.id = h.content_id
  left join accounts a on a.id = h.changed_by
where h.repository_id = $1 and h.name = $2 and h.id < $3 order by h.id desc limit $4
"""
LIST_HISTORIES = """
select h.id, h.name, h.changed_at, c.digest, a.name as account from tag_history h
  left join manifest_contents c on c.id = h.content_id
  left join accounts a on a.id = h.changed_by
where h.repository_id = $1 and h.name >= $2 and (h.name > $2 or h.id < $3)
order by h.name, h.id desc limit $4
"""
SET_VISIBILITY = """
update packages set own_visibility = $2, visibility = $2, revision = revision + 1
where id = $1 and project_id is null
"""
LINK_PACKAGE = """
update packages set project_id = $2, visibility = $3, link_confirmed = 1, revision = revision + 1
where id = $1 and owner_id = $4
"""
UNLINK_PACKAGE = """
update packages set project_id = null, visibility = own_visibility, link_confirmed = 1,
  revision = revision + 1
where id = $1
"""


class Packages:
    """Finds and changes package rows, for callers that were authorized."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, repository: str) -> Row:
        """Return one package. Raises NameInvalid, NotFound."""
        parse_repository(repository)
        row = await self._database.fetch_one(FIND_PACKAGE, repository)
        if row is None:
            moved = await self._database.fetch_one(FIND_MOVED, repository)
            now = "" if moved is None else f": it is {moved['repository']} now"
            raise NotFound(f"there is no package {repository}{now}")
        return row

    async def deletion_of(self, repository: str) -> int:
        """Return the deletion that hid a whole package. Raises NotFound, Conflict for none."""
        deletion_id: int | None = (await self.get(repository))["deletion_id"]
        if deletion_id is None:
            raise Conflict(f"{repository} is not deleted as a whole: choose one of its deletions")
        return deletion_id

    async def tags(
        self, package_id: int, after: str = "", limit: int = 1000, *, ours: bool = True
    ) -> Sequence[Row]:
        """Return tags in ASCII order after `after`, with the manifests they name; ours or not."""
        sql = LIST_TAGGED if ours else LIST_SHOWN_TAGGED
        return await self._database.fetch(sql, package_id, after, limit)

    async def tag(self, package_id: int, name: str) -> Row | None:
        """Return a tag with the manifest it names."""
        return await self._database.fetch_one(FIND_TAGGED, package_id, name)

    async def history(
        self, package_id: int, tag: str, before: int = 2**62, limit: int = 1000
    ) -> Sequence[Row]:
        """Return who moved a tag when, newest first, before row id `before`.

        A digest of None means that the tag was deleted. What gc has removed is no longer told.
        """
        return await self._database.fetch(LIST_HISTORY, package_id, tag, before, limit)

    async def histories(
        self, package_id: int, tag: str = "", before: int = 2**62, limit: int = 1000
    ) -> Sequence[Row]:
        """Return the same of every tag: in ASCII order, after row `before` of `tag`."""
        return await self._database.fetch(LIST_HISTORIES, package_id, tag, before, limit)

    async def set_visibility(self, who: Principal, repository: str, visibility: Visibility) -> None:
        """Open or close an unlinked package. Raises NotFound, Conflict for a linked one."""
        row, at = await self.get(repository), self._clock()
        await self._database.write(lambda tx: show_to(tx, who, row, visibility, at))

    async def link(self, who: Principal, repository: str, project_id: int) -> None:
        """Link a package to a project of its owner, whose visibility it takes from now on.

        This also confirms a link that metadata made. Raises NotFound, Invalid for a project of
        another owner.
        """
        row, at = await self.get(repository), self._clock()

        async def work(tx: Transaction) -> None:
            await link(tx, who, row, await hold_project(tx, project_id), at)

        await self._database.write(work)

    async def unlink(self, who: Principal, repository: str) -> None:
        """Give a package its own visibility again, and take its project's roles from it."""
        row, at = await self.get(repository), self._clock()
        await self._database.write(lambda tx: unlink(tx, who, row, at))

    async def delete(self, who: Principal, repository: str) -> PackageDeletion:
        """Hide a package and all it holds as one deletion, which `Restoration` can undo.

        Raises NotFound, for one that is deleted already as well.
        """
        row = await self.get(repository)
        if row["deleted_at"] is not None:
            raise NotFound(f"{repository} is deleted already")
        return await delete_package(self._database.write, who, row["id"], self._clock())


async def show_to(
    tx: Transaction, who: Principal, package: Row, visibility: Visibility, at: int
) -> None:
    """Open or close an unlinked package. Raises Conflict for a linked one."""
    if not await tx.execute(SET_VISIBILITY, package["id"], int(visibility)):
        raise Conflict(
            f"{package['repository']} has the visibility of its project: change that, or unlink "
            "the package"
        )
    await follow_visibility(tx, package["id"])
    await record_change(tx, who, "package.visibility", package, visibility.name.lower(), at)


async def hold_project(tx: Transaction, project_id: int) -> Row:
    """Take the lock of a project, which comes before that of a package. Raises NotFound."""
    project = await tx.fetch_one(HOLD_PROJECT, project_id)
    if project is None:
        raise NotFound("there is no such project")
    return project


async def link(tx: Transaction, who: Principal, package: Row, project: Row, at: int) -> None:
    """Link a package to a project that is held. Raises Invalid for one of another owner."""
    of_project = (project["id"], project["visibility"], project["owner_id"])
    if not await tx.execute(LINK_PACKAGE, package["id"], *of_project):
        raise Invalid("a package links to a project of its own owner only")
    await follow_visibility(tx, package["id"])
    await record_change(tx, who, "package.link", package, project["name"], at)


async def unlink(tx: Transaction, who: Principal, package: Row, at: int) -> None:
    """End a package's link: its own visibility and grants count again."""
    await tx.execute(UNLINK_PACKAGE, package["id"])
    await follow_visibility(tx, package["id"])
    await record_change(tx, who, "package.unlink", package, package["project"] or "", at)


async def record_change(
    tx: Transaction,
    who: Principal,
    kind: str,
    package: Row,
    detail: str,
    at: int,
    owner_id: int | None = None,
) -> None:
    """Add an event about a package's row, for its owner or another one."""
    concerned = package["owner_id"] if owner_id is None else owner_id
    subject, package_id = package["repository"], package["id"]
    by = (who.account_id or None, who.token_id or None)
    await tx.execute(INSERT_EVENT, kind, *by, concerned, package_id, subject, detail, at)
    await note(tx, who, kind, concerned, subject, at, detail)
