"""How long what nobody needs is kept, and the two steps that every clean-up shares."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from storage.clock import SECOND
from storage.database import Row, Transaction

CHUNK = 500
"""Rows of one transaction, at most."""

PURGED = 0
"""The time of what was purged, in every column that gc goes by: past each window and grace."""

HOLD_PACKAGE = "update packages set revision = revision where id = $1"
"""Takes a package's lock without telling caches that something changed."""

INSERT_TRASHED = """
insert into trash (store, key, due_at)
select cast($1 as smallint), value, cast($3 as bigint) from json_each(cast($2 as text))
where 1 = 1
on conflict (store, key) do nothing
"""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things stay, in seconds.

    `upload`: an upload after its last byte. `restore`: what was deleted, so that it can come back.
    `grace`: what no manifest names, for a push under way may be about to. `audit`: lines of it.
    """

    upload: int = 86400
    restore: int = 30 * 86400
    grace: int = 86400
    audit: int = 400 * 86400

    def uploads_until(self, at: int) -> int:
        """The last bytes of uploads that are over at `at` came then or before (µs UTC)."""
        return at - self.upload * SECOND

    def deleted_before(self, at: int) -> int:
        """What was deleted before this cannot be restored at `at`."""
        return at - self.restore * SECOND

    def audited_before(self, at: int) -> int:
        """What the audit said before this is forgotten at `at`."""
        return at - self.audit * SECOND

    def orphaned_before(self, at: int) -> int:
        """What was orphaned before this has had its grace at `at`."""
        return at - self.grace * SECOND

    def trashed_until(self, at: int) -> int:
        """Objects whose time in the trash ends then or before go at `at`."""
        return at


@dataclass(frozen=True, slots=True)
class PurgedAlone(Retention):
    """Everything stays but what was purged: that goes at once, without any grace."""

    def deleted_before(self, _: int) -> int:
        """What was purged cannot be restored."""
        return PURGED + 1

    def orphaned_before(self, _: int) -> int:
        """What was orphaned by a purge has no grace."""
        return PURGED + 1

    def trashed_until(self, _: int) -> int:
        """What a purge threw away does not lie in the trash."""
        return PURGED


async def throw_away(tx: Transaction, objects: Iterable[Row], due_at: int) -> None:
    """Put objects (rows with store and key) into the trash, to be removed from `due_at` on."""
    chosen = sorted((row["store"], row["key"]) for row in objects)
    for store, group in groupby(chosen, key=lambda pair: pair[0]):
        keys = json.dumps([key for _, key in group])
        await tx.execute(INSERT_TRASHED, store, keys, due_at)


def ids(rows: Iterable[Row], column: str = "id") -> str:
    """Render one column of rows as the JSON list that statements take, each value once."""
    return json.dumps(sorted({row[column] for row in rows if row[column] is not None}))
