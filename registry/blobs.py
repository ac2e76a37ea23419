"""Blobs of a repository: found, linked, mounted from another one, deleted.

Access to a blob is always asked through a repository that holds it: knowing a digest grants
nothing. A repository shows a blob while a live manifest names it, or while it waits for its first
one (`uploaded_at`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auth.permissions import ACCESS, Access, Permissions, question
from auth.principals import Action, Principal, Role
from registry.errors import BlobUnknown
from registry.repositories import lock, touch
from storage.blobs import BlobStore
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction
from storage.digest import Digest
from storage.errors import BlobMissing, NotAllowed, PackhouseError
from storage.names import RepositoryName, parse_repository

TRASH_DELAY = 3600 * SECOND
"""How long an object that lost its row stays: whoever reads it may finish."""

RENEW_AFTER = 600 * SECOND
"""How long a yes to somebody who may push holds without a write: far less than gc's grace."""

LIVE_MEMBERSHIP = """
(rb.uploaded_at is not null or exists (
  select 1 from manifest_blobs mb join manifests m on m.id = mb.manifest_id
  where mb.repository_id = rb.repository_id and mb.blob_id = rb.blob_id and m.deleted_at is null))
"""
FIND_BLOB = f"""
with {ACCESS}
select access.*, b.id as blob_id, b.size, b.key, rb.orphaned_at
from access
  left join repository_blobs rb on rb.repository_id = access.package_id
    and rb.blob_id = (select id from blobs where digest = $5) and {LIVE_MEMBERSHIP}
  left join blobs b on b.id = rb.blob_id and b.damaged_at is null
"""
RENEW_ORPHAN = """
update repository_blobs set
  orphaned_at = case when orphaned_at is null then null else cast($3 as bigint) end
where repository_id = $1 and blob_id = $2
"""
FIND_OBJECT = "select id, size, key, damaged_at from blobs where digest = $1"
LIST_KNOWN = """
select digest from blobs where digest in (select value from json_each(cast($1 as text)))
"""
FIND_KEYS = """
select digest, key from blobs where digest in (select value from json_each(cast($1 as text)))
"""
LINK_BLOB = """
insert into blobs (digest, size, key, created_at, orphaned_at) values ($1, $2, $3, $4, $6)
on conflict (digest) do update set orphaned_at = excluded.orphaned_at, damaged_at = null,
  key = case when blobs.damaged_at is not null or blobs.key = $5
    then excluded.key else blobs.key end
returning id, key
"""
LINK_REPOSITORY_BLOB = """
insert into repository_blobs (repository_id, blob_id, uploaded_at, orphaned_at)
values ($1, $2, $3, $3)
on conflict (repository_id, blob_id)
do update set uploaded_at = excluded.uploaded_at, orphaned_at = excluded.orphaned_at
"""
HOLD_REPOSITORY_BLOBS = """
insert into repository_blobs (repository_id, blob_id)
select cast($1 as bigint), cast(value as bigint) from json_each(cast($2 as text)) where 1 = 1
on conflict (repository_id, blob_id) do update set uploaded_at = null, orphaned_at = null
"""
INSERT_TRASH = """
insert into trash (store, key, due_at) values (0, $1, $2) on conflict (store, key) do nothing
"""
LIST_HOLDERS = f"""
select p.repository from blobs b
  join repository_blobs rb on rb.blob_id = b.id
  join packages p on p.id = rb.repository_id
where b.digest = $1 and b.damaged_at is null and p.deleted_at is null and {LIVE_MEMBERSHIP}
order by p.visibility desc, p.id limit 50
"""
FIND_LIVE_MANIFEST = """
select c.digest from manifest_blobs mb
  join manifests m on m.id = mb.manifest_id
  join manifest_contents c on c.id = m.content_id
where mb.repository_id = $1 and mb.blob_id = $2 and m.deleted_at is null order by m.id limit 1
"""
HIDE_BLOB = """
update repository_blobs set uploaded_at = null, orphaned_at = $3
where repository_id = $1 and blob_id = $2
"""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that the caller may read: its digest, its size in bytes, and where its bytes lie."""

    id: int
    digest: Digest
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class NewObject:
    """Bytes just written: `digest` was computed while writing them."""

    digest: Digest
    size: int
    key: str


class Blobs:
    """Finds, mounts and deletes; `link` is what ends every upload."""

    def __init__(
        self, database: Database, store: BlobStore, permissions: Permissions, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._permissions = permissions
        self._clock = clock

    async def find(self, who: Principal, repository: RepositoryName, digest: Digest) -> Blob:
        """Return a blob of a repository, whose bytes were looked at.

        One whose bytes are missing or cut short is unknown too: so the next push heals it.
        Raises BlobUnknown, and what Permissions.judge raises.
        """
        blob = await self.locate(who, repository, digest)
        if not await self._whole(blob):
            raise unknown(repository, digest)
        return blob

    async def locate(self, who: Principal, repository: RepositoryName, digest: Digest) -> Blob:
        """Return a blob by its row, for who opens the bytes next. Raises what `find` raises."""
        blob = await self._find(who, repository, digest, renewing=True)
        if blob is None:
            raise unknown(repository, digest)
        return blob

    async def mount(
        self, who: Principal, access: Access, digest: Digest, source: str | None
    ) -> bool:
        """Link a blob that the caller may read elsewhere; False when there is none.

        Without a source at most 50 repositories are asked, public ones first. The account's own
        rights and its token's scopes decide, not the names in its bearer: a client cannot fetch a
        token for a name it does not say (docs/decisions/0005).
        """
        reader = replace(who, access=None)
        if source is not None:
            candidates = [source]
        else:
            rows = await self._database.fetch(LIST_HOLDERS, digest)
            candidates = [row["repository"] for row in rows]
        for candidate in candidates:
            blob = await self._find_quietly(reader, candidate, digest)
            if blob is not None and await self._whole(blob):
                return await self._link_existing(who, access, blob)
        return False

    async def replaceable_key(self, digest: Digest) -> str | None:
        """Return the key of a blob whose bytes are gone or cut short, for `link` to replace."""
        row = await self._database.fetch_one(FIND_OBJECT, digest)
        if row is None or await self._whole(Blob(row["id"], digest, row["size"], row["key"])):
            return None
        key: str = row["key"]
        return key

    async def replaceable_keys(self, digests: Sequence[Digest]) -> Mapping[str, str | None]:
        """Return what `replaceable_key` does, for those that are known: most are new."""
        known = await self._database.fetch_column(LIST_KNOWN, json.dumps(digests))
        return {digest: await self.replaceable_key(Digest(digest)) for digest in known}

    async def delete(self, who: Principal, repository: RepositoryName, digest: Digest) -> None:
        """Hide a blob that no live manifest needs.

        Raises BlobUnknown, NotAllowed naming a manifest that needs it, and what judge raises.
        """
        access = await self._permissions.require(who, Action.DELETE, repository)
        blob = await self._find(who, repository, digest)
        if blob is None or access.package_id is None:
            raise BlobUnknown(f"{repository} holds no blob {digest}")
        package_id, at = access.package_id, self._clock()

        async def work(tx: Transaction) -> Row | None:
            await lock(tx, package_id)
            needed_by = await tx.fetch_one(FIND_LIVE_MANIFEST, package_id, blob.id)
            if needed_by is None:
                await tx.execute(HIDE_BLOB, package_id, blob.id, at)
            return needed_by

        needed_by = await self._database.write(work)
        if needed_by is not None:
            raise NotAllowed(
                f"blob {digest} is part of manifest {needed_by['digest']}: delete that first",
                detail={"digest": str(digest), "manifest": needed_by["digest"]},
            )

    async def _find(
        self,
        who: Principal,
        repository: RepositoryName,
        digest: Digest,
        *,
        renewing: bool = False,
    ) -> Blob | None:
        row = await self._database.fetch_one(FIND_BLOB, *question(who, repository), digest)
        access = self._permissions.judge(row, who, Action.PULL, repository)
        if row is None or access.package_id is None or row["key"] is None:
            return None
        if renewing and access.role >= Role.WRITE and not await self._held(row):
            return None
        return Blob(row["blob_id"], digest, row["size"], row["key"])

    async def _held(self, row: Row) -> bool:
        """Make a yes hold for gc's grace; False when gc has just taken the blob away."""
        at = self._clock()
        if row["orphaned_at"] is None or row["orphaned_at"] >= at - RENEW_AFTER:
            return True
        return await self._database.execute(RENEW_ORPHAN, row["package_id"], row["blob_id"], at) > 0

    async def _find_quietly(self, who: Principal, source: str, digest: Digest) -> Blob | None:
        try:
            return await self._find(who, parse_repository(source), digest)
        except PackhouseError:
            return None  # not readable here: the client uploads instead

    async def _whole(self, blob: Blob) -> bool:
        try:
            return await self._store.size(blob.key) == blob.size
        except BlobMissing:
            return False

    async def _link_existing(self, who: Principal, access: Access, blob: Blob) -> bool:
        at = self._clock()

        async def work(tx: Transaction) -> bool:
            repository_id = await touch(tx, who, access, at)
            row = await tx.fetch_one(FIND_OBJECT, blob.digest)
            if row is None or row["damaged_at"] is not None:
                return False
            await tx.execute(LINK_REPOSITORY_BLOB, repository_id, row["id"], at)
            return True

        return await self._database.write(work)


def unknown(repository: RepositoryName, digest: Digest) -> BlobUnknown:
    """Return the answer for a blob that is not there, or not whole."""
    return BlobUnknown(f"{repository} holds no blob {digest}", detail={"digest": str(digest)})


async def link(
    tx: Transaction,
    who: Principal,
    access: Access,
    new: NewObject,
    replaced_key: str | None,
    at: int,
) -> None:
    """Make `new` a blob of the repository; its object becomes trash if the blob has one already."""
    await keep(tx, await touch(tx, who, access, at), new, replaced_key, at)


async def keep(
    tx: Transaction, repository_id: int, new: NewObject, replaced_key: str | None, at: int
) -> None:
    """Do what `link` does in a repository that is locked."""
    before = await tx.fetch_one(FIND_OBJECT, new.digest)
    key = None if before is None else before["key"]
    blob_id = await _link(tx, new, replaced_key, key, at, orphaned_at=at)
    await tx.execute(LINK_REPOSITORY_BLOB, repository_id, blob_id, at)


async def hold(
    tx: Transaction,
    repository_id: int,
    objects: Sequence[tuple[NewObject, str | None]],
    at: int,
) -> Mapping[str, int]:
    """Do what `keep` does for what a manifest of this transaction names; return ids by digest.

    Each has the key that it may replace beside it.
    """
    digests = json.dumps([new.digest for new, _ in objects])
    before = {row["digest"]: row["key"] for row in await tx.fetch(FIND_KEYS, digests)}
    held = {}
    for new, replaced_key in objects:
        key = before.get(new.digest)
        held[str(new.digest)] = await _link(tx, new, replaced_key, key, at, orphaned_at=None)
    await tx.execute(HOLD_REPOSITORY_BLOBS, repository_id, json.dumps(sorted(set(held.values()))))
    return held


async def _link(
    tx: Transaction,
    new: NewObject,
    replaced_key: str | None,
    before: str | None,
    at: int,
    *,
    orphaned_at: int | None,
) -> int:
    """Make an object a blob and return its id; the one that is not needed becomes trash."""
    row = await tx.fetch_one(
        LINK_BLOB, new.digest, new.size, new.key, at, replaced_key, orphaned_at
    )
    if row is None:
        raise RuntimeError("an upsert returned no row")
    if row["key"] != new.key:
        await tx.execute(INSERT_TRASH, new.key, at)
    elif before is not None and before != new.key:
        await tx.execute(INSERT_TRASH, before, at + TRASH_DELAY)
    blob_id: int = row["id"]
    return blob_id
