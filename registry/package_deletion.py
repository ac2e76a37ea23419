"""Deleting a whole package as one deletion: hidden first, then its contents in chunks.

The package is gone for every reader with the first transaction; what follows makes its contents
part of the same deletion, so that they can be restored together and expire together. A push brings
the package back and ends the work where it stands; after a crash gc's sweep goes on with it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from auth.audit import note
from auth.principals import Principal
from registry.deletion import INSERT_DELETION
from registry.repositories import INSERT_EVENT
from registry.retention import CHUNK, HOLD_PACKAGE, ids
from registry.search_terms import write_terms
from storage.database import Transaction, Work

FIND_STATE = """
select p.owner_id, p.repository, p.deleted_at,
  (select d.id from deletions d where d.id = p.deletion_id) as deletion_id
from packages p where p.id = $1
"""
HIDE_PACKAGE = """
update packages set revision = revision + 1, deleted_at = coalesce(deleted_at, $2),
  deletion_id = $3
where id = $1
"""
IS_HIDDEN = """
select id from packages where id = $1 and deletion_id = $2 and deleted_at is not null
"""
LIST_TAGS_TO_HIDE = """
select name from tags where repository_id = $1 order by name limit $2
"""
KEEP_DELETED_TAGS = """
insert into deleted_tags (deletion_id, repository_id, name, manifest_id)
select cast($1 as bigint), repository_id, name, manifest_id from tags
where repository_id = $2 and name in (select value from json_each(cast($3 as text)))
on conflict (deletion_id, name) do nothing
"""
RECORD_DELETED_TAGS = """
insert into tag_history (repository_id, name, content_id, changed_by, changed_at)
select t.repository_id, t.name, null, d.deleted_by, cast($4 as bigint)
from tags t join deletions d on d.id = $1
where t.repository_id = $2 and t.name in (select value from json_each(cast($3 as text)))
"""
DELETE_HIDDEN_TAGS = """
delete from tags
where repository_id = $1 and name in (select value from json_each(cast($2 as text)))
"""
LIST_MANIFESTS_TO_HIDE = """
select id, content_id from manifests
where repository_id = $1 and content_id > $2 and deleted_at is null order by content_id limit $3
"""
HIDE_MANIFESTS = """
update manifests set deleted_at = $2, deletion_id = $3
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
LIST_BLOBS_TO_HIDE = """
select blob_id from repository_blobs
where repository_id = $1 and blob_id > $2 and uploaded_at is not null order by blob_id limit $3
"""
HIDE_BLOBS = """
update repository_blobs set uploaded_at = null, orphaned_at = $3
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
"""

Write = Callable[[Work[Any]], Awaitable[Any]]
"""Runs one transaction: Database.write, or a Term's."""


@dataclass(frozen=True, slots=True)
class PackageDeletion:
    """What a deletion of a package hid; `complete` is False where a push came in between."""

    id: int
    manifests: int
    tags: int
    complete: bool


async def delete_package(write: Write, who: Principal, package_id: int, at: int) -> PackageDeletion:
    """Hide a package and everything in it, or go on where a crash ended that."""
    hiding = _Hiding(package_id, await write(lambda tx: _begin(tx, who, package_id, at)), at)
    hidden: Counter[str] = Counter()
    for step in (hiding.tags, hiding.manifests, hiding.blobs):
        after: int | None = 0
        while after is not None:
            done: _Chunk | None = await write(_bound(step, after))
            if done is None:
                return hiding.result(hidden, complete=False)
            hidden[step.__name__] += done.count
            after = done.after
    return hiding.result(hidden, complete=True)


async def _begin(tx: Transaction, who: Principal, package_id: int, at: int) -> int:
    """Hide the package and return the id of its deletion."""
    await tx.execute(HOLD_PACKAGE, package_id)
    state = await tx.fetch_one(FIND_STATE, package_id)
    if state is None:
        raise RuntimeError("a package's row has gone, which nothing removes")
    deletion_id: int | None = state["deletion_id"]
    if state["deleted_at"] is None or deletion_id is None:
        by = who.account_id or None
        row = await tx.fetch_one(INSERT_DELETION, package_id, "package", by, at)
        if row is None:
            raise RuntimeError("an insert returned no row")
        deletion_id = int(row["id"])
        await tx.execute(HIDE_PACKAGE, package_id, at, deletion_id)
        await write_terms(tx, package_id)
    if state["deleted_at"] is None:
        await record_event(tx, who, "package.delete", package_id, state, at)
    return deletion_id


async def record_event(
    tx: Transaction, who: Principal, kind: str, package_id: int, state: Any, at: int
) -> None:
    """Add an event about a whole package: `state` has its owner_id and repository."""
    owner_id, subject = state["owner_id"], state["repository"]
    by = (who.account_id or None, who.token_id or None)
    await tx.execute(INSERT_EVENT, kind, *by, owner_id, package_id, subject, "", at)
    await note(tx, who, kind, owner_id, subject, at)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """How many rows a chunk hid, and the key to go on after; None at the end."""

    count: int
    after: int | None


@dataclass(frozen=True, slots=True)
class _Hiding:
    """The chunks of one package's deletion; each returns None when the package is back."""

    package_id: int
    deletion_id: int
    at: int

    async def tags(self, tx: Transaction, _: int) -> _Chunk | None:
        if not await self._still_hidden(tx):
            return None
        found = await tx.fetch(LIST_TAGS_TO_HIDE, self.package_id, CHUNK)
        names = ids(found, "name")
        await tx.execute(KEEP_DELETED_TAGS, self.deletion_id, self.package_id, names)
        await tx.execute(RECORD_DELETED_TAGS, self.deletion_id, self.package_id, names, self.at)
        await tx.execute(DELETE_HIDDEN_TAGS, self.package_id, names)
        return _Chunk(len(found), 0 if len(found) == CHUNK else None)

    async def manifests(self, tx: Transaction, after: int) -> _Chunk | None:
        if not await self._still_hidden(tx):
            return None
        found = await tx.fetch(LIST_MANIFESTS_TO_HIDE, self.package_id, after, CHUNK)
        await tx.execute(HIDE_MANIFESTS, ids(found), self.at, self.deletion_id)
        return _Chunk(len(found), found[-1]["content_id"] if len(found) == CHUNK else None)

    async def blobs(self, tx: Transaction, after: int) -> _Chunk | None:
        if not await self._still_hidden(tx):
            return None
        found = await tx.fetch(LIST_BLOBS_TO_HIDE, self.package_id, after, CHUNK)
        await tx.execute(HIDE_BLOBS, self.package_id, ids(found, "blob_id"), self.at)
        return _Chunk(len(found), found[-1]["blob_id"] if len(found) == CHUNK else None)

    async def _still_hidden(self, tx: Transaction) -> bool:
        await tx.execute(HOLD_PACKAGE, self.package_id)
        row = await tx.fetch_one(IS_HIDDEN, self.package_id, self.deletion_id)
        return row is not None

    def result(self, hidden: Counter[str], *, complete: bool) -> PackageDeletion:
        return PackageDeletion(self.deletion_id, hidden["manifests"], hidden["tags"], complete)


def _bound(
    step: Callable[[Transaction, int], Awaitable[_Chunk | None]], after: int
) -> Work[_Chunk | None]:
    async def work(tx: Transaction) -> _Chunk | None:
        return await step(tx, after)

    return work
