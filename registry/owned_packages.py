"""An owner and its packages, as one caller sees them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from auth.errors import NotSignedIn
from auth.places import Places
from auth.principals import Action, Principal, Role, Visibility
from registry.package_lists import PROJECT_SEEN, Filters, PackageLists
from storage.database import Database, Row
from storage.errors import NotFound
from storage.names import parse_owner

_OWNER = """
o.id as owner_id, o.name as owner, o.kind as owner_kind, o.is_admin as owner_is_admin,
  o.created_at as owner_created_at
"""
_PUBLIC_PROJECTS = """
(select count(*) from projects r
  where r.owner_id = o.id and r.visibility = 2 and r.deleted_at is null) as public_projects
"""
FIND_OWNER = f"""
select {_OWNER}, {_PUBLIC_PROJECTS} from accounts o
where o.name = $1 and o.kind in ('user', 'organization', 'robot')
"""
LIST_FACTS = f"""
select p.id, p.name, p.repository, p.format, p.visibility, p.created_at, p.deleted_at,
  p.deletion_id, r.id as project_id, r.name as project, r.visibility as project_visibility,
  {_OWNER}, cast(0 as bigint) as public_projects,
  (select n.created_at from manifests n where n.repository_id = p.id and n.deleted_at is null
    order by n.id desc limit 1) as pushed_at
from packages p join accounts o on o.id = p.owner_id
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
  left join projects r on r.id = p.project_id and r.deleted_at is null and {PROJECT_SEEN}
where p.id in (select cast(value as bigint) from json_each(cast($3 as text)))
order by p.repository
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """A user, an organization or a robot; `created_at` is µs UTC."""

    id: int
    name: str
    kind: str
    is_admin: bool
    created_at: int
    public_projects: int = 0
    role: Role = Role.NONE
    """What the caller may do with all that is the owner's."""


@dataclass(frozen=True, slots=True)
class Project:
    """The project of a package, which the caller may see."""

    id: int
    name: str
    public: bool


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """A package; `updated_at` is when its newest manifest came, and times are µs UTC."""

    id: int
    owner: Owner
    name: str
    repository: str
    format: str
    visibility: Visibility
    project: Project | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    deletion_id: int | None


class OwnedPackages:
    """Finds owners and packages for a caller; it changes nothing."""

    def __init__(self, database: Database, places: Places, lists: PackageLists) -> None:
        self._database = database
        self._places = places
        self._lists = lists

    async def owner(self, who: Principal, name: str, *kinds: str) -> Owner:
        """Return an owner that the caller may see, or some package of.

        Raises NameInvalid, NotSignedIn (401), NotFound (404) for what is hidden, unknown, or of
        none of `kinds`.
        """
        name = parse_owner(name)
        role = Role.NONE
        try:
            role = (await self._places.require(who, Action.PULL, name)).role
        except (NotFound, NotSignedIn):
            found, _ = await self._lists.numbered(who, Filters(owner=name), 0, 1)
            if not found:
                raise
        row = await self._database.fetch_one(FIND_OWNER, name)
        if row is None or row["owner_kind"] not in kinds:
            raise NotFound(f"{name} is not known, or you may not see it")
        return _owner(row, role)

    async def caller(self, who: Principal) -> Owner:
        """Return the caller's own account. Raises NotSignedIn."""
        row = await self._database.fetch_one(FIND_OWNER, who.name)
        if row is None:
            raise NotSignedIn("this account no longer exists")
        return _owner(row, Role.ADMIN)

    async def page(
        self, who: Principal, owner: Owner, filters: Filters, skip: int, size: int
    ) -> tuple[Sequence[PackageFacts], int]:
        """Return a part of the list of an owner's packages, and how long the list is."""
        filters, most = replace(filters, owner=owner.name), owner.role > Role.NONE
        ids, total = await self._lists.numbered(who, filters, skip, size, most=most)
        return await self._facts(who, ids), total

    async def package(self, who: Principal, package_id: int) -> PackageFacts:
        """Return one package, deleted or not, for a caller who may see it. Raises NotFound."""
        for found in await self._facts(who, [package_id]):
            return found
        raise NotFound("this package has gone")

    async def _facts(self, who: Principal, ids: Sequence[int]) -> Sequence[PackageFacts]:
        if not ids:
            return []
        asked = (who.account_id, who.token_id, json.dumps(list(ids)))
        return [_package(row) for row in await self._database.fetch(LIST_FACTS, *asked)]


def _owner(row: Row, role: Role = Role.NONE) -> Owner:
    return Owner(
        id=row["owner_id"],
        name=row["owner"],
        kind=row["owner_kind"],
        is_admin=bool(row["owner_is_admin"]),
        created_at=row["owner_created_at"],
        public_projects=row["public_projects"],
        role=role,
    )


def _package(row: Row) -> PackageFacts:
    project = None
    if row["project_id"] is not None:
        public = row["project_visibility"] == Visibility.PUBLIC
        project = Project(row["project_id"], row["project"], public)
    return PackageFacts(
        id=row["id"],
        owner=_owner(row),
        name=row["name"],
        repository=row["repository"],
        format=row["format"],
        visibility=Visibility(row["visibility"]),
        project=project,
        created_at=row["created_at"],
        updated_at=max(row["created_at"], row["pushed_at"] or 0),
        deleted_at=row["deleted_at"],
        deletion_id=row["deletion_id"],
    )
