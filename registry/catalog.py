"""Lists: tags of a repository, referrers of a manifest, repositories a caller may see.

Every list is a keyset page in the order of its key: it costs its own rows, whatever the total.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.permissions import HELD, OPEN, Permissions, covered, on
from auth.principals import Action, Principal, Visibility
from registry.errors import ManifestInvalid
from registry.manifest_bytes import decode
from registry.manifests import annotations
from registry.our_tags import SHOWN_TAG, shows_all_tags
from registry.package_lists import END, read_owned
from storage.database import Database, Row
from storage.digest import Digest
from storage.names import RepositoryName

MAX_PAGE = 10_000
SHORT_PAGE = 1_000
REFERRERS_PAGE = 500
REFERRERS_BYTES = 3 * 1024 * 1024
"""An index of referrers stays below the 4 MiB that clients read; the rest is on further pages."""

LIST_TAGS = """
select name from tags where repository_id = $1 and name > $2 order by name limit $3
"""
LIST_SHOWN_TAGS = f"""
select t.name from tags t where t.repository_id = $1 and t.name > $2 and {SHOWN_TAG}
order by t.name limit $3
"""
LIST_REFERRERS = """
select r.id, r.media_type, r.artifact_type, c.digest, c.size from (
  select m.id, m.media_type, m.artifact_type, m.content_id from manifests m
  where m.repository_id = $1 and m.subject = $2 and m.deleted_at is null and m.id > $3
  union
  select m.id, m.media_type, m.artifact_type, m.content_id from tags t
    join manifest_children e on e.parent_id = t.manifest_id
    join manifests m on m.id = e.child_id
  where t.repository_id = $1 and t.name = $4 and m.deleted_at is null and m.id > $3
) r join manifest_contents c on c.id = r.content_id
where cast($5 as text) = '' or r.artifact_type = $5
order by r.id limit $6
"""
FIND_BYTES = """
select c.encoding, c.bytes from manifests m join manifest_contents c on c.id = m.content_id
where m.id = $1
"""
_FILLED = """
p.deleted_at is null
  and exists (select 1 from manifests x where x.repository_id = p.id and x.deleted_at is null)
"""


def _open_page(visibility: Visibility) -> str:
    """Return a page of what is open to $1, in the order of the index of one visibility."""
    return f"""
select repository from (
  select p.repository from packages p left join accounts u on u.id = $1
  where p.visibility = {visibility:d} and {OPEN} and p.repository > $2 and {_FILLED}
  order by p.repository limit $3
) of_visibility_{visibility:d}
"""


def _granted(kind: int, resource: str) -> str:
    """Return what $1 holds grants on; the cross joins and `|| ''` lead from the grants there."""
    return f"""
  select p.repository from members m cross join grants g cross join packages p
  where {HELD} and {on(kind, resource)} and p.repository || '' > $2 and {_FILLED}
"""


LIST_REPOSITORIES = f"""
select v.repository from (
  {_open_page(Visibility.PUBLIC)} union {_open_page(Visibility.INTERNAL)}
  union {_granted(PROJECT, "p.project_id")}
  union {_granted(PACKAGE, "p.id")}
) v order by v.repository limit $3
"""
"""What is open to $1, or shown by roles on packages and projects."""

LIST_OWNED_REPOSITORIES = f"""
select p.repository from packages p
where p.owner_id + 0 = $5 and p.repository > $2 and p.repository < $4 and {_FILLED}
  and exists (select 1 from members m cross join grants g where {HELD} and {on(OWNER, "$5")})
order by p.repository limit $3
"""
"""What a role on the owner $5 shows, in the order of names; `+ 0` leads away from another index."""


def _covered(kind: int, resource: str) -> str:
    """Return what $1 may pull in what a limit of the token $4 names, from the limits there."""
    return f"""
  select p.repository from token_limits c cross join tokens k cross join packages p
    left join accounts u on u.id = $1
  where c.token_id = $4 and c.layer = 1 and k.id = c.token_id
    and c.resource_kind = {kind} and {resource} = c.resource_id
    and p.repository || '' > $2 and {_FILLED}
    and {covered("p.owner_id", "p.project_id", "p.id")}
    and (u.is_admin = 1 or {OPEN} or exists (
      select 1 from members m cross join grants g where {HELD} and (
        {on(OWNER, "p.owner_id")} or {on(PROJECT, "p.project_id")} or {on(PACKAGE, "p.id")})))
"""


LIST_COVERED_REPOSITORIES = f"""
select v.repository from (
  {_open_page(Visibility.PUBLIC)}
  union {_covered(OWNER, "p.owner_id")}
  union {_covered(PROJECT, "p.project_id")}
  union {_covered(PACKAGE, "p.id")}
) v order by v.repository limit $3
"""
FIND_LIMITS = "select limit_layers from tokens where id = $1"
LIST_ALL_REPOSITORIES = f"""
select p.repository from packages p where p.repository > $1 and {_FILLED}
order by p.repository limit $2
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list; `last` is the key to go on after, None at the end."""

    items: Sequence[Any]
    last: str | None


class Catalog:
    """Lists what the caller may see."""

    def __init__(self, database: Database, permissions: Permissions) -> None:
        self._database = database
        self._permissions = permissions

    async def tags(
        self, who: Principal, repository: RepositoryName, limit: int | None, last: str
    ) -> Page:
        """Return tags in ASCII order after `last`. Raises what judge raises."""
        access = await self._permissions.require(who, Action.PULL, repository)
        if access.package_id is None or limit == 0:
            return Page([], None)
        size = MAX_PAGE if limit is None else min(limit, MAX_PAGE)
        sql = LIST_TAGS if shows_all_tags(access) else LIST_SHOWN_TAGS
        question = (sql, access.package_id, last, size + 1)
        if size <= SHORT_PAGE:
            return _page(await self._database.fetch_column(*question), size)
        return _page([row["name"] for row in await self._database.fetch(*question)], size)

    async def repositories(
        self, who: Principal, limit: int | None, last: str, *, admin: bool
    ) -> Page:
        """Return repositories the caller may pull from, in ASCII order after `last`."""
        if limit == 0:
            return Page([], None)
        size = MAX_PAGE if limit is None else min(limit, MAX_PAGE)
        rows = await self._visible(who, last, size + 1, admin=admin)
        return _page([row["repository"] for row in rows], size)

    async def _visible(self, who: Principal, last: str, size: int, *, admin: bool) -> Sequence[Row]:
        read, account = self._database.fetch, who.account_id
        token = await self._database.fetch_one(FIND_LIMITS, who.token_id) if who.token_id else None
        if token is not None and token["limit_layers"]:
            return await read(LIST_COVERED_REPOSITORIES, account, last, size, who.token_id)
        if admin:
            return await read(LIST_ALL_REPOSITORIES, last, size)
        found = {
            row["repository"]: row for row in await read(LIST_REPOSITORIES, account, last, size)
        }

        async def owned(owner_id: int, low: str, high: str) -> Sequence[Row]:
            return await read(LIST_OWNED_REPOSITORIES, account, low, size, high, owner_id)

        rows = await read_owned(self._database, account, (last, END), size, owned)
        found |= {row["repository"]: row for row in rows}
        return [found[name] for name in sorted(found)[:size]]

    async def referrers(
        self,
        who: Principal,
        repository: RepositoryName,
        subject: Digest,
        artifact_type: str,
        after: int,
    ) -> Page:
        """Return descriptors of the manifests that refer to `subject`, after row id `after`.

        Those listed by a fallback tag's index count too (OCI distribution-spec, "Enabling the
        Referrers API"). Raises what judge raises.
        """
        access = await self._permissions.require(who, Action.PULL, repository)
        if access.package_id is None:
            return Page([], None)
        rows = await self._database.fetch(
            LIST_REFERRERS,
            access.package_id,
            subject,
            after,
            subject.fallback_tag,
            artifact_type,
            REFERRERS_PAGE + 1,
        )
        chosen = _within(rows)
        found = [await self._bytes(row) for row in chosen]
        items = await asyncio.to_thread(_descriptors, chosen, found)
        more = len(chosen) < len(rows)
        return Page(items, str(chosen[-1]["id"]) if more and chosen else None)

    async def _bytes(self, row: Row) -> Row:
        found = await self._database.fetch_one(FIND_BYTES, row["id"])
        if found is None:
            raise ManifestInvalid("a manifest ended while it was listed: ask again")
        return found


def _descriptors(rows: Sequence[Row], found: Sequence[Row]) -> list[dict[str, Any]]:
    """Describe manifests, whose annotations are in their bytes: up to REFERRERS_BYTES to parse."""
    items = []
    for row, kept in zip(rows, found, strict=True):
        descriptor: dict[str, Any] = {
            "mediaType": row["media_type"],
            "digest": row["digest"],
            "size": row["size"],
        }
        if row["artifact_type"]:
            descriptor["artifactType"] = row["artifact_type"]
        notes = annotations(decode(kept))
        if notes:
            descriptor["annotations"] = notes
        items.append(descriptor)
    return items


def _page(items: Sequence[str], size: int) -> Page:
    if len(items) <= size:
        return Page(items, None)
    return Page(items[:size], items[size - 1])


def _within(rows: Sequence[Row]) -> list[Row]:
    """Take rows while their manifests, whose annotations we copy, fit a page: at least one."""
    chosen: list[Row] = []
    total = 0
    for row in rows[:REFERRERS_PAGE]:
        total += row["size"]
        if chosen and total > REFERRERS_BYTES:
            break
        chosen.append(row)
    return chosen
