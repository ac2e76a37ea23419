"""What lists say of packages: the version that one alias names, and its part of a document."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from storage.database import Database, Row

LIST_SUMMARIES = """
select p.id, p.repository, p.name, v.name as version, v.published_at, a.name as publisher, f.bytes
from packages p
  join tags t on t.repository_id = p.id and t.name = $2
  join package_versions v on v.manifest_id = t.manifest_id
  join manifests m on m.id = v.manifest_id and m.deleted_at is null
  left join version_fragments f on f.version_id = v.id and f.kind = $3
    and length(f.bytes) <= cast($4 as bigint)
  left join accounts a on a.id = v.published_by
where p.id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and p.deleted_at is null
"""

MAX_FRAGMENT = 32 * 1024
"""Bytes of a part that is read: a list reads hundreds, whatever their publishers wrote."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A package and one of its versions; `fragment` is that version's part of a document.

    It is {} for a larger one than MAX_FRAGMENT.
    """

    package_id: int
    repository: str
    name: str
    version: str
    published_at: int
    publisher: str | None
    fragment: bytes


class Summaries:
    """Reads packages that the caller was found to see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, package_ids: Sequence[int], alias: str, kind: str) -> Sequence[Summary]:
        """Return packages in the order of their ids as given, without those that have no version.

        `alias` is the tag whose version is shown, `kind` that of the fragment.
        """
        asked = (json.dumps(package_ids), alias, kind, MAX_FRAGMENT)
        rows = await self._database.fetch(LIST_SUMMARIES, *asked)
        found = {row["id"]: _summary(row) for row in rows}
        return [found[each] for each in package_ids if each in found]


def _summary(row: Row) -> Summary:
    return Summary(
        package_id=row["id"],
        repository=row["repository"],
        name=row["name"],
        version=row["version"],
        published_at=row["published_at"],
        publisher=row["publisher"],
        fragment=row["bytes"] or b"{}",
    )
