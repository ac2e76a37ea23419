"""The versions of a package: the manifests that a person would call one, newest first.

A tagged manifest is a version, and so is one that nothing refers to. The children of an index and
referrers are parts of theirs, and so is what hangs on a tag made from another's digest (cosign's
`sha256-….sig`, the referrers tag schema), while that other is there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from registry.our_tags import NO_STATE
from registry.retention import Retention, ids
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Value
from storage.digest import Digest

MOST_COUNTED = 10_000
"""Where counting a package's versions ends: it looks at each of them."""

MOST_TAGS = 1_000
"""How many tags of one version are named."""

_LAST = 2**62


def _beside(other: str) -> str:
    """Return the condition that another manifest is live, or went with the same deletion as m."""
    return f"({other}.deleted_at is null or {other}.deletion_id = m.deletion_id)"


_NAMED_AFTER = f"""
(substr(t.name, 1, 7) = 'sha256-' and substr(t.name, 72) in ('', '.sig', '.att', '.sbom')
  and exists (select 1 from manifest_contents d join manifests s on s.content_id = d.id
    where d.digest = 'sha256:' || substr(t.name, 8, 64) and s.repository_id = m.repository_id
      and {_beside("s")}))
"""
_ALONE = f"""
(m.subject is null or not exists (
  select 1 from manifest_contents d join manifests s on s.content_id = d.id
  where d.digest = m.subject and s.repository_id = m.repository_id and {_beside("s")}))
and not exists (
  select 1 from manifest_children e join manifests x on x.id = e.parent_id
  where e.child_id = m.id and {_beside("x")})
"""


def _is_version(tags: str) -> str:
    """Return the condition that the manifest m is a version, by the tags that it has or had.

    The limit keeps PostgreSQL from reading all tags to find out which manifests have none.
    """
    return f"""
(exists (select 1 from {tags} and not {_NAMED_AFTER})
  or ((select 1 from {tags} limit 1) is null and {_ALONE}))
"""


LIVE = f"m.deleted_at is null and {NO_STATE} and " + _is_version(
    "tags t where t.manifest_id = m.id"
)
"""Whether the manifest m is a live version."""

_HIDDEN = f"m.deleted_at is not null and m.deleted_at >= $2 and {NO_STATE} and " + _is_version(
    "deleted_tags t where t.manifest_id = m.id and t.deletion_id = m.deletion_id"
)
"""Whether it is one that was deleted, at $2 or after."""

_UPDATED = "(select max(t.updated_at) from tags t where t.manifest_id = m.id)"
_COLUMNS = """
m.id, coalesce(n.name, '') as name, c.digest, m.media_type, m.artifact_type, m.created_at,
  m.deleted_at, m.deletion_id, a.name as pushed_by
"""
_JOINS = """
  join manifest_contents c on c.id = m.content_id
  left join accounts a on a.id = m.pushed_by
  left join package_versions n on n.manifest_id = m.id
"""
LIST_VERSIONS = f"""
select {_COLUMNS}, {_UPDATED} as tagged_at
from (
  select m.id from manifests m where m.repository_id = $1 and {LIVE} and m.id < $2
  order by m.id desc limit $3 offset $4
) v join manifests m on m.id = v.id {_JOINS} order by m.id desc
"""
LIST_DELETED_VERSIONS = f"""
select {_COLUMNS}, m.created_at as tagged_at
from (
  select m.id from manifests m where m.repository_id = $1 and {_HIDDEN} and m.id < $3
  order by m.id desc limit $4 offset $5
) v join manifests m on m.id = v.id {_JOINS} order by m.id desc
"""
FIND_VERSION = f"""
select {_COLUMNS}, {_UPDATED} as tagged_at
from manifests m {_JOINS} where m.id = $2 and m.repository_id = $1 and {LIVE}
"""
FIND_VERSION_BY_DIGEST = f"""
select {_COLUMNS}, {_UPDATED} as tagged_at
from manifests m {_JOINS} where c.digest = $2 and m.repository_id = $1 and {LIVE}
"""
FIND_DELETED_VERSION = f"""
select {_COLUMNS}, m.created_at as tagged_at
from manifests m {_JOINS} where m.id = $3 and m.repository_id = $1 and {_HIDDEN}
"""
FIND_DELETED_VERSION_BY_DIGEST = f"""
select {_COLUMNS}, m.created_at as tagged_at
from manifests m {_JOINS} where c.digest = $3 and m.repository_id = $1 and {_HIDDEN}
"""
COUNT_VERSIONS = f"""
select cast(value as bigint) as package_id, (
  select count(*) from (
    select 1 from manifests m where m.repository_id = cast(value as bigint) and {LIVE} limit $2
  ) counted) as versions
from json_each(cast($1 as text))
"""
COUNT_DELETED_VERSIONS = f"""
select count(*) as versions from (
  select 1 from manifests m where m.repository_id = $1 and {_HIDDEN} limit $3) counted
"""
LIST_TAGS_OF_VERSIONS = """
select manifest_id, name from (
  select t.manifest_id, t.name,
    row_number() over (partition by t.manifest_id order by t.name) as nth
  from tags t
  where t.manifest_id in (select cast(value as bigint) from json_each(cast($1 as text)))
) n where n.nth <= $2 order by n.manifest_id, n.name
"""
LIST_TAGS_OF_DELETED_VERSIONS = """
select manifest_id, name from (
  select t.manifest_id, t.name,
    row_number() over (partition by t.manifest_id order by t.name) as nth
  from manifests m join deleted_tags t on t.manifest_id = m.id and t.deletion_id = m.deletion_id
  where m.id in (select cast(value as bigint) from json_each(cast($1 as text)))
) n where n.nth <= $2 order by n.manifest_id, n.name
"""
LIST_SIZES = """
with recursive parts (version_id, id) as (
  select cast(value as bigint), cast(value as bigint) from json_each(cast($1 as text))
  union
  select p.version_id, e.child_id from parts p join manifest_children e on e.parent_id = p.id
)
select version_id, cast(sum(size) as bigint) as size from (
  select p.version_id, 1 as kind, c.id, c.size from parts p
    join manifests m on m.id = p.id join manifest_contents c on c.id = m.content_id
  union
  select p.version_id, 2 as kind, b.id, b.size from parts p
    join manifest_blobs e on e.manifest_id = p.id join blobs b on b.id = e.blob_id
) named group by version_id
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version; times are µs UTC.

    `name` is what the packages of a format call it, "" for a container's.
    `size` is the bytes of all it is made of, each part counted once; `updated_at` when it was made
    or last got a tag. A deleted one has the tags that come back with it, the deletion that hid it,
    and the time until when that can be undone.
    """

    id: int
    digest: str
    media_type: str
    artifact_type: str
    size: int
    tags: Sequence[str]
    pushed_by: str | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    deletion_id: int | None
    restorable_until: int | None
    name: str = ""


class Versions:
    """Reads versions by a package's id, for callers that were authorized.

    `deleted` asks for those that can be restored instead of the live ones.
    """

    def __init__(self, database: Database, retention: Retention, clock: Clock) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    async def list(
        self,
        package_id: int,
        before: int = _LAST,
        limit: int = 100,
        skip: int = 0,
        *,
        deleted: bool = False,
    ) -> Sequence[Version]:
        """Return versions with ids below `before`, newest first; `skip` passes over some."""
        if deleted:
            question = (package_id, self._since(), before, limit, skip)
            rows = await self._database.fetch(LIST_DELETED_VERSIONS, *question)
        else:
            rows = await self._database.fetch(LIST_VERSIONS, package_id, before, limit, skip)
        return await self._shown(rows, deleted=deleted)

    async def find(
        self, package_id: int, version: int | Digest, *, deleted: bool = False
    ) -> Version | None:
        """Return one version by its id or its digest."""
        by_id, since = isinstance(version, int), self._since()
        if deleted:
            sql = FIND_DELETED_VERSION if by_id else FIND_DELETED_VERSION_BY_DIGEST
            rows = await self._database.fetch(sql, package_id, since, version)
        else:
            sql = FIND_VERSION if by_id else FIND_VERSION_BY_DIGEST
            rows = await self._database.fetch(sql, package_id, version)
        return next(iter(await self._shown(rows, deleted=deleted)), None)

    async def count(self, package_ids: Sequence[int]) -> dict[int, int]:
        """Return how many live versions packages have, each up to MOST_COUNTED."""
        rows = await self._database.fetch(COUNT_VERSIONS, json.dumps(package_ids), MOST_COUNTED)
        return {row["package_id"]: row["versions"] for row in rows}

    async def count_deleted(self, package_id: int) -> int:
        """Return how many deleted versions could be restored, up to MOST_COUNTED."""
        question: tuple[Value, ...] = (package_id, self._since(), MOST_COUNTED)
        row = await self._database.fetch_one(COUNT_DELETED_VERSIONS, *question)
        return 0 if row is None else int(row["versions"])

    def _since(self) -> int:
        return self._retention.deleted_before(self._clock())

    async def _shown(self, rows: Sequence[Row], *, deleted: bool) -> Sequence[Version]:
        if not rows:
            return []
        chosen = ids(rows)
        sql = LIST_TAGS_OF_DELETED_VERSIONS if deleted else LIST_TAGS_OF_VERSIONS
        tags: dict[int, list[str]] = {}
        for row in await self._database.fetch(sql, chosen, MOST_TAGS):
            tags.setdefault(row["manifest_id"], []).append(row["name"])
        found = await self._database.fetch(LIST_SIZES, chosen)
        sizes = {row["version_id"]: row["size"] for row in found}
        window = self._retention.restore * SECOND
        return [
            _version(row, tags.get(row["id"], []), sizes[row["id"]], window)
            for row in rows
            if row["id"] in sizes  # gc may have removed one since
        ]


def _version(row: Row, tags: Sequence[str], size: int, window: int) -> Version:
    deleted_at = row["deleted_at"]
    return Version(
        id=row["id"],
        name=row["name"],
        digest=row["digest"],
        media_type=row["media_type"],
        artifact_type=row["artifact_type"],
        size=size,
        tags=tags,
        pushed_by=row["pushed_by"],
        created_at=row["created_at"],
        updated_at=max(row["created_at"], row["tagged_at"] or 0),
        deleted_at=deleted_at,
        deletion_id=row["deletion_id"],
        restorable_until=None if deleted_at is None else deleted_at + window,
    )
