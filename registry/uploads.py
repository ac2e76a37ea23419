"""Uploads: lists of segments, one object a request, joined when the upload is finished.

An upload belongs to the deployment, not to a process: any worker may take any request. A request
streams its body into an object of its own; when it ends, whole or cut, one transaction adds the
segment where the row's offset still equals its start. Whoever comes second is out of order (416).
Finishing an upload of one segment links that object: no copy, no second read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from auth.permissions import Access, Permissions
from auth.principals import Action, Principal
from registry.blobs import INSERT_TRASH, Blobs, NewObject, link
from registry.body import Body
from registry.errors import OutOfOrder, SizeInvalid, TransferCut, UploadInvalid
from registry.repositories import check_container_name
from registry.upload_ids import UploadId, UploadIds, unknown
from storage.blobs import BlobStore, HashedObject, concatenated, rehash, write_hashed
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction
from storage.digest import Digest
from storage.errors import DigestInvalid, TooManyRequests
from storage.names import RepositoryName

COUNT_OPEN = """
select count(*) as open from (
  select 1 as one from uploads where account_id = $1 and closed_at is null limit $2) u
"""
FIND_UPLOAD = "select offset_bytes, updated_at, closed_at from uploads where id = $1"
LIST_SEGMENTS = """
select start_byte, size, key, sha256, sha512 from upload_segments
where upload_id = $1 order by start_byte
"""
INSERT_UPLOAD = """
insert into uploads (id, repository, account_id, created_at, updated_at)
values ($1, $2, $3, $4, $4) on conflict (id) do nothing
"""
ADVANCE_UPLOAD = """
update uploads set offset_bytes = offset_bytes + $3, updated_at = $4
where id = $1 and offset_bytes = $2 and closed_at is null
"""
INSERT_SEGMENT = """
insert into upload_segments (upload_id, start_byte, size, key, sha256, sha512)
values ($1, $2, $3, $4, $5, $6)
"""
CLOSE_UPLOAD = """
update uploads set closed_at = $3, updated_at = $3
where id = $1 and offset_bytes = $2 and closed_at is null
"""
DELETE_SEGMENTS = "delete from upload_segments where upload_id = $1"


@dataclass(frozen=True, slots=True)
class Segment:
    """One object of an upload; `digests` maps an algorithm to what was computed while it came.

    One that a row names belongs to whoever closes the upload; else it is this request's own.
    """

    size: int
    key: str
    digests: dict[str, Digest]
    in_row: bool = False


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Seconds an upload lives after its last byte, its bytes (0: any), and how many may be open."""

    seconds: int
    blob_bytes: int
    per_account: int


class Uploads:
    """Begins, continues, finishes and cancels; every method authorizes its caller."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        blobs: Blobs,
        ids: UploadIds,
        permissions: Permissions,
        clock: Clock,
        limits: UploadLimits,
    ) -> None:
        self._database = database
        self._store = store
        self._blobs = blobs
        self._ids = ids
        self._permissions = permissions
        self._clock = clock
        self._limits = limits

    async def require(self, who: Principal, repository: RepositoryName) -> Access:
        """Return the caller's right to push. Raises what judge raises, and ReservedName."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        check_container_name(repository)
        return access

    async def begin(self, who: Principal, repository: RepositoryName, algorithm: str) -> UploadId:
        """Return an id to upload to; the caller was authorized by `require`."""
        return await self._ids.sign(who, repository, algorithm)

    async def mount(
        self, who: Principal, repository: RepositoryName, digest: Digest, source: str | None
    ) -> bool:
        """Link a blob of another repository, if the caller may read it there."""
        access = await self.require(who, repository)
        return await self._blobs.mount(who, access, digest, source)

    async def status(self, who: Principal, repository: RepositoryName, upload: str) -> int:
        """Return how many bytes an upload holds. Raises UploadUnknown."""
        await self.require(who, repository)
        return (await self._open(who, repository, upload))[1]

    async def append(
        self,
        who: Principal,
        repository: RepositoryName,
        upload: str,
        body: Body,
        content_range: tuple[int, int] | None,
    ) -> int:
        """Add a body to an upload and return how many bytes it holds now.

        A body that was cut short adds what came. Raises UploadUnknown, OutOfOrder, SizeInvalid,
        NoSpace.
        """
        await self.require(who, repository)
        identity, offset = await self._open(who, repository, upload)
        _check_range(content_range, offset, body)
        if offset == 0:
            await self._require_room(who)
        self._limit(body, offset)
        segment = await self._receive(body, ("sha256", identity.algorithm), content_range)
        if segment.size == 0:
            await self._store.delete([segment.key])
            return offset
        await self._add(who, repository, identity, offset, segment)
        if not body.complete:
            raise _cut()
        return offset + segment.size

    async def finish(
        self,
        who: Principal,
        repository: RepositoryName,
        upload: str,
        digest: Digest,
        body: Body,
        content_range: tuple[int, int] | None,
    ) -> None:
        """Close an upload, with or without a last body, and make its bytes a blob.

        Raises UploadUnknown, OutOfOrder, SizeInvalid, DigestInvalid (the upload is then over),
        NoSpace.
        """
        access = await self.require(who, repository)
        identity, offset = await self._open(who, repository, upload)
        _check_range(content_range, offset, body)
        self._limit(body, offset)
        segments = await self._segments(upload) if offset else []
        if body.length != 0 or not segments:
            last = await self._receive(body, ("sha256", digest.algorithm), content_range)
            segments = await self._joined(who, access, identity, offset, segments, last, body)
        await self._close(who, access, identity, offset, segments, digest)

    async def put(
        self, who: Principal, repository: RepositoryName, digest: Digest, body: Body
    ) -> None:
        """Make a whole body a blob, in one request. Raises DigestInvalid, SizeInvalid, NoSpace."""
        access = await self.require(who, repository)
        self._limit(body, 0)
        segment = await self._receive(body, ("sha256", digest.algorithm))
        if not body.complete:
            await self._store.delete([segment.key])
            raise TransferCut("the body was cut short: push the blob again")
        new = await self._verified([segment], digest)
        if new is None:
            await self._store.delete([segment.key])
            raise _mismatch(digest, segment)
        replaced, at = await self._blobs.replaceable_key(digest), self._clock()
        await self._database.write(lambda tx: link(tx, who, access, new, replaced, at))

    async def cancel(self, who: Principal, repository: RepositoryName, upload: str) -> None:
        """End an upload and forget its bytes. Raises UploadUnknown."""
        await self.require(who, repository)
        identity, offset = await self._open(who, repository, upload)
        segments = await self._segments(upload) if offset else []
        await self._abandon(who, repository, identity, offset, segments)

    async def _joined(
        self,
        who: Principal,
        access: Access,
        identity: UploadId,
        offset: int,
        segments: list[Segment],
        last: Segment,
        body: Body,
    ) -> list[Segment]:
        """Return the segments with the body of the closing request, if it came whole."""
        if not body.complete:
            if last.size:
                await self._add(who, access.repository, identity, offset, last)
            else:
                await self._store.delete([last.key])
            raise _cut()
        if last.size or not segments:
            return [*segments, last]
        await self._store.delete([last.key])
        return segments

    async def _open(
        self, who: Principal, repository: RepositoryName, upload: str
    ) -> tuple[UploadId, int]:
        identity = await self._ids.verify(who, repository, upload)
        row = await self._database.fetch_one(FIND_UPLOAD, upload)
        touched = identity.created_at if row is None else row["updated_at"]
        if touched + self._limits.seconds * SECOND <= self._clock():
            raise unknown()
        if row is not None and row["closed_at"] is not None:
            raise unknown()
        return identity, 0 if row is None else row["offset_bytes"]

    async def _require_room(self, who: Principal) -> None:
        most = self._limits.per_account
        row = await self._database.fetch_one(COUNT_OPEN, who.account_id, most)
        if row is not None and row["open"] >= most:
            raise TooManyRequests(
                f"{who.name} has {most} unfinished uploads: finish or cancel some",
                headers={"Retry-After": "60"},
            )

    def _limit(self, body: Body, offset: int) -> None:
        if self._limits.blob_bytes:
            body.require_at_most(max(self._limits.blob_bytes - offset, 0))

    async def _segments(self, upload: str) -> list[Segment]:
        rows = await self._database.fetch(LIST_SEGMENTS, upload)
        return [_segment(row) for row in rows]

    async def _receive(
        self,
        body: Body,
        algorithms: Sequence[str],
        content_range: tuple[int, int] | None = None,
    ) -> Segment:
        written = await write_hashed(self._store, body.chunks(), sorted(set(algorithms)))
        segment = _written(written)
        try:
            _check_length(content_range, segment, body)
        except UploadInvalid:
            await self._store.delete([segment.key])
            raise
        return segment

    async def _add(
        self,
        who: Principal,
        repository: RepositoryName,
        identity: UploadId,
        offset: int,
        segment: Segment,
    ) -> None:
        at = self._clock()

        async def work(tx: Transaction) -> bool:
            await tx.execute(
                INSERT_UPLOAD, identity.text, str(repository), who.account_id, identity.created_at
            )
            if not await tx.execute(ADVANCE_UPLOAD, identity.text, offset, segment.size, at):
                await tx.execute(INSERT_TRASH, segment.key, at)
                return False
            await tx.execute(
                INSERT_SEGMENT,
                identity.text,
                offset,
                segment.size,
                segment.key,
                segment.digests["sha256"],
                segment.digests.get("sha512"),
            )
            return True

        if not await self._database.write(work):
            raise _moved()

    async def _close(
        self,
        who: Principal,
        access: Access,
        identity: UploadId,
        offset: int,
        segments: list[Segment],
        digest: Digest,
    ) -> None:
        new = await self._verified(segments, digest)
        if new is None:
            await self._abandon(who, access.repository, identity, offset, segments)
            raise _mismatch(digest, segments[0] if len(segments) == 1 else None)
        unused = [segment.key for segment in segments if segment.key != new.key]
        replaced, at = await self._blobs.replaceable_key(digest), self._clock()

        async def work(tx: Transaction) -> bool:
            if not await _close_row(tx, who, access.repository, identity, offset, at):
                await _trash(tx, _made_here(segments, new.key), at)
                return False
            await link(tx, who, access, new, replaced, at)
            await _trash(tx, unused, at)
            return True

        if not await self._database.write(work):
            raise _moved()

    async def _abandon(
        self,
        who: Principal,
        repository: RepositoryName,
        identity: UploadId,
        offset: int,
        segments: list[Segment],
    ) -> None:
        at = self._clock()

        async def work(tx: Transaction) -> None:
            if await _close_row(tx, who, repository, identity, offset, at):
                await _trash(tx, [segment.key for segment in segments], at)
            else:
                await _trash(tx, _made_here(segments), at)

        await self._database.write(work)

    async def _verified(self, segments: list[Segment], digest: Digest) -> NewObject | None:
        """Return the segments as one object with this digest, or None if it is not theirs."""
        if len(segments) == 1:
            (only,) = segments
            found = only.digests.get(digest.algorithm)
            if found is None:
                found = await rehash(self._store, only.key, digest.algorithm)
            return NewObject(digest, only.size, only.key) if found == digest else None
        joined = await write_hashed(
            self._store,
            concatenated(self._store, [segment.key for segment in segments]),
            [digest.algorithm],
        )
        if joined.digests[digest.algorithm] == digest:
            return NewObject(digest, joined.size, joined.key)
        await self._store.delete([joined.key])
        return None


async def _close_row(
    tx: Transaction,
    who: Principal,
    repository: RepositoryName,
    identity: UploadId,
    offset: int,
    at: int,
) -> bool:
    await tx.execute(
        INSERT_UPLOAD, identity.text, str(repository), who.account_id, identity.created_at
    )
    if not await tx.execute(CLOSE_UPLOAD, identity.text, offset, at):
        return False
    await tx.execute(DELETE_SEGMENTS, identity.text)
    return True


def _made_here(segments: list[Segment], *others: str) -> list[str]:
    """Return the keys that no row names: whoever closed the upload first has the rest."""
    in_rows = {segment.key for segment in segments if segment.in_row}
    return sorted({*others, *(segment.key for segment in segments)} - in_rows)


async def _trash(tx: Transaction, keys: list[str], at: int) -> None:
    for key in keys:
        await tx.execute(INSERT_TRASH, key, at)


def _segment(row: Row) -> Segment:
    digests = {"sha256": Digest(row["sha256"])}
    if row["sha512"] is not None:
        digests["sha512"] = Digest(row["sha512"])
    return Segment(row["size"], row["key"], digests, in_row=True)


def _written(written: HashedObject) -> Segment:
    return Segment(written.size, written.key, dict(written.digests))


def _check_range(content_range: tuple[int, int] | None, offset: int, body: Body) -> None:
    if content_range is None:
        return
    first, last = content_range
    if first != offset:
        raise _out_of_order(offset)
    if body.length is not None and body.length != last - first + 1:
        raise SizeInvalid(
            f"Content-Range says {last - first + 1} bytes and Content-Length {body.length}"
        )


def _check_length(content_range: tuple[int, int] | None, segment: Segment, body: Body) -> None:
    if content_range is None or not body.complete:
        return
    expected = content_range[1] - content_range[0] + 1
    if segment.size != expected:
        raise UploadInvalid(f"Content-Range says {expected} bytes, {segment.size} came")


def _out_of_order(offset: int) -> OutOfOrder:
    return OutOfOrder(
        f"this upload holds {offset} bytes: the next chunk begins there",
        headers={"Range": f"0-{max(offset - 1, 0)}"},
    )


def _cut() -> TransferCut:
    return TransferCut("the body was cut short: what came is kept, resume where the upload stands")


def _moved() -> OutOfOrder:
    return OutOfOrder("another request wrote to this upload: ask where it stands")


def _mismatch(digest: Digest, segment: Segment | None) -> DigestInvalid:
    found = segment.digests.get(digest.algorithm) if segment is not None else None
    suffix = "" if found is None else f": they are {found}"
    return DigestInvalid(f"the bytes that came are not {digest}{suffix}")
