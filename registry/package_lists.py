"""Lists of packages that the caller may see, or may bring back, in ASCII order of their names.

What is open to the caller is read in the order of an index, what its roles show from its grants:
a page costs what is on it and what the caller has, whatever the total (registry/catalog.py).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.permissions import HELD, IS_SITE, OPEN, Permissions, covered, on
from auth.principals import Principal, Scope, Visibility
from auth.projects import split_path
from registry.packages import PACKAGE_COLUMNS
from storage.database import Database, Row
from storage.names import parse_owner

_COVERED = covered("p.owner_id", "p.project_id", "p.id")
_CHOSEN = """
p.repository < $4 and (cast($5 as text) = '' or p.format = $5)
  and (cast($6 as smallint) < 0 or p.visibility = $6)
"""
"""$3 the name to go on after, $4 the end of the list, $5 format, $6 visibility, $7 the size."""

_ON_ANY = f"""
({on(OWNER, "p.owner_id")} or {on(PROJECT, "p.project_id")} or {on(PACKAGE, "p.id")})
"""


PROJECT_SEEN = f"""
(r.visibility = 2 or ({covered("r.owner_id", "r.id", "null")} and (
  {IS_SITE}
  or (r.visibility = 1 and (u.kind = 'user' or u.owner_id = r.owner_id))
  or exists (select 1 from members m cross join grants g where {HELD} and (
    {on(OWNER, "r.owner_id")} or {on(PROJECT, "r.id")})))))
"""
"""Whether $1 sees the project r itself: who was given one package of it need not know its name."""


def _shown(ids: str) -> str:
    return f"""
select {PACKAGE_COLUMNS} from ({ids}) v join packages p on p.id = v.id
  left join accounts u on u.id = $1 left join tokens k on k.id = $2
  left join projects r on r.id = p.project_id and {PROJECT_SEEN}
order by v.repository limit $7
"""


def _open_page(visibility: Visibility, seen: str) -> str:
    return f"""
select id, repository from (
  select p.id, p.repository from packages p
    left join accounts u on u.id = $1 left join tokens k on k.id = $2
  where p.visibility = {visibility:d} and {seen} and p.repository > $3 and {_CHOSEN}
    and p.deleted_at is null
  order by p.repository limit $7
) of_visibility_{visibility:d}
"""


def _granted(kind: int, resource: str) -> str:
    """Return what $1 holds grants on; the cross joins and `|| ''` lead from the grants there."""
    return f"""
  select p.id, p.repository from members m cross join grants g cross join packages p
    left join tokens k on k.id = $2
  where {HELD} and {on(kind, resource)} and {_COVERED} and p.repository || '' > $3 and {_CHOSEN}
    and p.deleted_at is null
"""


_ARMS = (
    _open_page(Visibility.PUBLIC, OPEN),
    # Nothing internal is open to the anonymous, who would read all of it for that.
    _open_page(Visibility.INTERNAL, f"$1 <> 0 and {OPEN} and {_COVERED}"),
    _granted(PROJECT, "p.project_id"),
    _granted(PACKAGE, "p.id"),
)
_BY_ROLE = f"""
{_COVERED} and ({IS_SITE} or exists (
  select 1 from members m cross join grants g where {HELD} and g.role >= $8 and {_ON_ANY}))
"""
_FROM = """
packages p left join accounts u on u.id = $1 left join tokens k on k.id = $2
"""
_SEEN = " union ".join((*_ARMS, _granted(OWNER, "p.owner_id")))
_ALL = f"""
select p.id, p.repository from {_FROM}
where p.repository > $3 and {_CHOSEN} and p.deleted_at is null
  and (p.visibility = 2 or ({IS_SITE} and {_COVERED}))
order by p.repository limit $7
"""


def _numbered(ids: str) -> str:
    """Return some of the first $7, and how many those are."""
    return f"""
select v.id, count(*) over () as total from ({ids}) v order by v.repository limit $8 offset $9
"""


LIST_SEEN = _shown(" union ".join(_ARMS))
"""What is open to $1, or shown by roles on packages and projects."""
LIST_GIVEN = _shown(" union ".join((_granted(PROJECT, "p.project_id"), _granted(PACKAGE, "p.id"))))
"""What roles on packages and projects show $1."""
LIST_OWNED = _shown(f"""
select p.id, p.repository from {_FROM}
where p.owner_id + 0 = $8 and {_COVERED} and p.repository > $3 and {_CHOSEN}
  and p.deleted_at is null
  and exists (select 1 from members m cross join grants g where {HELD} and {on(OWNER, "$8")})
order by p.repository limit $7
""")
"""What a role on the owner $8 shows, in the order of names; `+ 0` leads away from another index."""
LIST_OWNERS = f"""
select distinct o.id, o.name from members m cross join grants g join accounts o
  on o.id = g.resource_id
where {HELD} and g.resource_kind = {OWNER}
"""
LIST_ALL = _shown(_ALL)
NUMBER_SEEN = _numbered(_SEEN)
NUMBER_IN_ORDER = _numbered(f"""
select p.id, p.repository from {_FROM}
where p.repository > $3 and {_CHOSEN} and p.deleted_at is null and (
  ({OPEN} and (p.visibility = 2 or {_COVERED}))
  or ({_COVERED} and ({IS_SITE} or exists (
    select 1 from members m cross join grants g where {HELD} and {_ON_ANY}))))
order by p.repository limit $7
""")
"""The same for who sees most of an owner's: each is judged, in the order of the index."""
LIST_OF_PROJECT = _shown(f"""
select p.id, p.repository from {_FROM}
where p.project_id = $9 and p.repository || '' > $3 and {_CHOSEN} and p.deleted_at is null
  and (({OPEN} and (p.visibility = 2 or {_COVERED})) or ({_BY_ROLE}))
""")
LIST_DELETED = _shown(f"""
select p.id, p.repository from {_FROM}
where p.deleted_at is not null and p.repository > $3 and {_CHOSEN} and {_BY_ROLE}
  and (cast($9 as bigint) = 0 or p.project_id = $9)
order by p.repository limit $7
""")
FIND_SHOWN = f"""
select {PACKAGE_COLUMNS} from {_FROM}
  left join projects r on r.id = p.project_id and {PROJECT_SEEN}
where p.id = $3
"""
FIND_PROJECT_ID = f"""
select r.id from accounts o join projects r on r.owner_id = o.id
  left join accounts u on u.id = $1 left join tokens k on k.id = 0
where o.name = $2 and r.folded_name = $3 and r.deleted_at is null
  and (cast($4 as smallint) = 1 or {PROJECT_SEEN})
"""
"""By the account alone: what a token's limits leave out are packages."""
END = "\U0010ffff"
MOST_NUMBERED = 10_000
_Asked = tuple[int, int, str, str, str, int, int]
"""$1 to $7."""
ReadOwned = Callable[[int, str, str], Awaitable[Sequence[Row]]]
NO_PROJECT = -1
"""A project that nothing is linked to."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which packages are listed; "" and None let all through. `project` is `owner/name`.

    With `held` those on which a role was given to the caller, and not what is open to him.
    """

    owner: str = ""
    project: str = ""
    format: str = ""
    visibility: Visibility | None = None
    deleted: bool = False
    held: bool = False


class PackageLists:
    """Lists packages; every caller sees what is open to it, and what its roles show it."""

    def __init__(self, database: Database, permissions: Permissions) -> None:
        self._database = database
        self._permissions = permissions

    async def list(self, who: Principal, filters: Filters, after: str, limit: int) -> Sequence[Row]:
        """Return packages after a name. Deleted ones: those that the caller may restore.

        Raises NameInvalid, Invalid; Denied for deleted ones with a token that may not delete.
        """
        scope = Scope.READ | Scope.DELETE if filters.deleted else Scope.READ
        admin = await self._permissions.require_live(who, scope)
        first, end = after, END
        if filters.owner:
            owner = parse_owner(filters.owner)
            first, end = max(after, f"{owner}/"), f"{owner}0"  # what follows '/'
        project_id = await self._project(who, filters.project)
        seen = -1 if filters.visibility is None else int(filters.visibility)
        page = (who.asking_id, who.token_id, first, end, filters.format, seen, limit)
        fetch = self._database.fetch
        if filters.deleted:
            return await fetch(LIST_DELETED, *page, 2, project_id)
        if project_id:
            return await fetch(LIST_OF_PROJECT, *page, 1, project_id)
        if admin and not filters.held:
            return await fetch(LIST_ALL, *page)
        seen_or_given = LIST_GIVEN if filters.held else LIST_SEEN
        found = {row["repository"]: row for row in await fetch(seen_or_given, *page)}
        found |= {row["repository"]: row for row in await self._owned(page)}
        return [found[name] for name in sorted(found)[:limit]]

    async def _owned(self, page: _Asked) -> Sequence[Row]:
        account, token, first, end, chosen, seen, limit = page

        async def read(owner_id: int, low: str, high: str) -> Sequence[Row]:
            of_owner = (account, token, low, high, chosen, seen, limit, owner_id)
            return await self._database.fetch(LIST_OWNED, *of_owner)

        return await read_owned(self._database, account, (first, end), limit, read)

    async def numbered(
        self, who: Principal, filters: Filters, skip: int, size: int, *, most: bool = False
    ) -> tuple[Sequence[int], int]:
        """Return the ids of some live packages of an owner, after `skip`, and how many there are.

        For lists whose pages have numbers: it counts, and looks at, no more than MOST_NUMBERED.
        `most` says that the caller has a role on the owner, and changes nothing but the cost.
        Raises NameInvalid, and Denied for a token that may not read.
        """
        admin = await self._permissions.require_live(who, Scope.READ)
        owner = parse_owner(filters.owner)
        seen = -1 if filters.visibility is None else int(filters.visibility)
        rows = await self._database.fetch(
            NUMBER_IN_ORDER if admin or most else NUMBER_SEEN,
            who.account_id,
            who.token_id,
            f"{owner}/",
            f"{owner}0",
            filters.format,
            seen,
            MOST_NUMBERED,
            size,
            skip,
        )
        return [row["id"] for row in rows], rows[0]["total"] if rows else 0

    async def find(self, who: Principal, package_id: int) -> Row:
        """Return a package that the caller was found to see, as a list shows it."""
        asked = (who.asking_id, who.token_id, package_id)
        row = await self._database.fetch_one(FIND_SHOWN, *asked)
        if row is None:
            raise RuntimeError(f"package {package_id} has no row, which nothing removes")
        return row

    async def _project(self, who: Principal, path: str) -> int:
        """Return a project's id, 0 for any; one that the caller does not know of lists nothing."""
        if not path:
            return 0
        owner, name = split_path(path)
        asked = (who.account_id, owner, name.lower(), int(who.operator))
        row = await self._database.fetch_one(FIND_PROJECT_ID, *asked)
        return NO_PROJECT if row is None else row["id"]


async def read_owned(
    database: Database, account_id: int, between: tuple[str, str], limit: int, read: ReadOwned
) -> list[Row]:
    """Return what roles on owners show, owner by owner: the names of packages begin with theirs.

    `between` are the name to go on after and the end; `read` returns a page of one owner's.
    """
    found: list[Row] = []
    owners = await database.fetch(LIST_OWNERS, account_id)
    for owner in sorted(owners, key=lambda row: f"{row['name']}/"):  # '-' is less than '/'
        low, high = max(between[0], f"{owner['name']}/"), min(between[1], f"{owner['name']}0")
        if low < high and len(found) < limit:
            found += await read(owner["id"], low, high)
    return found
