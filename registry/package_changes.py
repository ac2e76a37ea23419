"""Changes of a package by those who administer it: all that one request asks for, or nothing.

A name at an owner takes the right to make packages there, a link the right to write to the project:
whoever administers a package alone gives away nothing that is another's.
"""

from dataclasses import dataclass

from auth.permissions import Access
from auth.places import Places
from auth.principals import Action, Principal, Visibility
from auth.projects import split_path
from registry.packages import FIND_PACKAGE_BY_ID, hold_project, link, show_to, unlink
from registry.packaging.formats import NONE, Formats
from registry.renaming import lock_by_name, move
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Invalid
from storage.names import RepositoryName, parse_owner, parse_repository


@dataclass(frozen=True, slots=True)
class Change:
    """What is to change; None leaves it as it is. `project` is `owner/name`, "" ends the link."""

    owner: str | None = None
    name: str | None = None
    project: str | None = None
    visibility: Visibility | None = None


class PackageChanges:
    """Renames, transfers, links, opens and closes."""

    def __init__(
        self, database: Database, places: Places, clock: Clock, formats: Formats = NONE
    ) -> None:
        self._database = database
        self._places = places
        self._clock = clock
        self._formats = formats

    async def change(self, who: Principal, access: Access, change: Change) -> RepositoryName:
        """Change a package that the caller administers, in one transaction; return its name.

        Raises NameInvalid, ReservedName, Invalid, Denied, NotFound, and Conflict for a name that
        is taken or kept, or the visibility of a package that has its project's.
        """
        old = access.repository
        new = _new_name(old, change)
        if new != old:
            self._formats.of(new)
            await self._places.require(who, Action.PUSH, new.owner)
        project_id = await self._project(who, new.owner, change.project)
        at = self._clock()

        async def work(tx: Transaction) -> None:
            project = None if project_id is None else await hold_project(tx, project_id)
            package = await lock_by_name(tx, str(old))
            if new != old:
                self._formats.check_move(old, new, package["name"])
                await move(tx, who, package, new, at)
            if project is not None:
                await link(tx, who, await _find(tx, package["id"]), project, at)
            elif change.project == "":
                await unlink(tx, who, await _find(tx, package["id"]), at)
            if change.visibility is not None:
                await show_to(tx, who, await _find(tx, package["id"]), change.visibility, at)

        await self._database.write(work)
        return new

    async def _project(self, who: Principal, owner: str, path: str | None) -> int | None:
        if not path:
            return None
        of_owner, name = split_path(path)
        if of_owner != owner:
            raise Invalid("a package links to a project of its own owner only")
        return (await self._places.require(who, Action.PUSH, of_owner, name)).project_id


def _new_name(old: RepositoryName, change: Change) -> RepositoryName:
    owner = old.owner if change.owner is None else parse_owner(change.owner)
    name = "/".join(old.rest) if change.name is None else change.name
    return parse_repository(f"{owner}/{name}")


async def _find(tx: Transaction, package_id: int) -> Row:
    row = await tx.fetch_one(FIND_PACKAGE_BY_ID, package_id)
    if row is None:
        raise RuntimeError("a package that is locked has no row")
    return row
