"""Names that are taken in a package: by versions that are there or were, and by tags."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from storage.database import Row, Transaction

# What FIND_NAMED finds, for several names at once.
LIST_NAMED = """
select v.id, v.name, v.tag, v.digest, v.manifest_id, m.deleted_at, m.deletion_id
from package_versions v left join manifests m on m.id = v.manifest_id
where v.package_id = $1 and v.name in (select value from json_each(cast($2 as text)))
union
select v.id, v.name, v.tag, v.digest, v.manifest_id, m.deleted_at, m.deletion_id
from package_versions v left join manifests m on m.id = v.manifest_id
where v.package_id = $1 and v.tag in (select value from json_each(cast($2 as text)))
"""
LIST_TAGS_NAMED = """
select name from tags
where repository_id = $1 and name in (select value from json_each(cast($2 as text)))
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken of the names that were asked about."""

    versions: Sequence[Row]
    tags: frozenset[str]

    def by(self, name: str, tag: str) -> Row | None:
        """Return the version that has or had this name, else this tag: the row of FIND_NAMED."""
        for column, word in (("name", name), ("tag", tag)):
            for row in self.versions:
                if row[column] == word:
                    return row
        return None


async def taken(tx: Transaction, package_id: int, names: Sequence[str]) -> Taken:
    """Ask about all names at once."""
    asked = json.dumps(names)
    versions = await tx.fetch(LIST_NAMED, package_id, asked)
    tags = await tx.fetch(LIST_TAGS_NAMED, package_id, asked)
    return Taken(versions, frozenset(row["name"] for row in tags))
