"""Uploads: lists of segments, one object a request, joined when the upload is finished.

An upload belongs to the deployment, not to a process: any worker may take any request. A request
streams its body into an object of its own; when it ends, whole or cut, one transaction adds the
segment where the row's offset still equals its start. Whoever comes second is out of order (416).
Finishing an upload of one segment links that object: no copy, no second read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from auth.errors import NameMoved
from auth.permissions import Access, Permissions
from auth.principals import Action, Principal
from registry.blobs import Blobs, NewObject, link
from registry.body import Body
from registry.errors import OutOfOrder, SizeInvalid, TransferCut, UploadInvalid
from registry.packaging.formats import Formats
from registry.upload_ids import UploadId, UploadIds, unknown
from registry.upload_rows import Segment, Upload, UploadRows, close, made_here, throw_away
from storage.blobs import BlobStore, concatenated, rehash, write_hashed
from storage.clock import SECOND, Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import DigestInvalid, TooManyRequests
from storage.names import RepositoryName

ContentRange = tuple[int, int] | None
"""First and last byte of a chunk, both inclusive; None where the client did not say."""


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
        formats: Formats,
        clock: Clock,
        limits: UploadLimits,
    ) -> None:
        self._database = database
        self._rows = UploadRows(database, clock)
        self._store = store
        self._blobs = blobs
        self._ids = ids
        self._permissions = permissions
        self._formats = formats
        self._clock = clock
        self._limits = limits

    async def require(self, who: Principal, repository: RepositoryName) -> Access:
        """Return the caller's right to push. Raises what judge raises, and ReservedName."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        self._formats.check_push(repository)
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
        return (await self._open(who, repository, upload)).offset

    async def append(
        self,
        who: Principal,
        repository: RepositoryName,
        upload: str,
        body: Body,
        content_range: ContentRange,
    ) -> int:
        """Add a body to an upload and return how many bytes it holds now.

        A body that was cut short adds what came. Raises UploadUnknown, OutOfOrder, SizeInvalid,
        UploadInvalid, TransferCut, TooLarge, TooManyRequests, NoSpace.
        """
        await self.require(who, repository)
        opened = await self._open(who, repository, upload)
        _check_range(content_range, opened.offset, body)
        if opened.offset == 0:
            await self._require_room(who)
        self._limit(body, opened.offset)
        segment = await self._receive(body, ("sha256", opened.identity.algorithm), content_range)
        if segment.size == 0:
            await self._store.delete([segment.key])
            return opened.offset
        await self._add(opened, segment)
        if not body.complete:
            raise _cut()
        return opened.offset + segment.size

    async def finish(
        self,
        who: Principal,
        repository: RepositoryName,
        upload: str,
        digest: Digest,
        body: Body,
        content_range: ContentRange,
    ) -> None:
        """Close an upload, with or without a last body, and make its bytes a blob.

        Raises what `append` raises, and DigestInvalid (the upload is then over).
        """
        access = await self.require(who, repository)
        opened = await self._open(who, repository, upload)
        _check_range(content_range, opened.offset, body)
        self._limit(body, opened.offset)
        segments = await self._segments(opened)
        if body.length != 0 or not segments:
            last = await self._receive(body, ("sha256", digest.algorithm), content_range)
            segments = await self._joined(opened, segments, last, body)
        await self._close(who, access, opened, segments, digest)

    async def put(
        self, who: Principal, repository: RepositoryName, digest: Digest, body: Body
    ) -> None:
        """Make a whole body a blob, in one request.

        Raises DigestInvalid, TransferCut, TooLarge, NoSpace.
        """
        access = await self.require(who, repository)
        self._limit(body, 0)
        segment = await self._receive(body, ("sha256", digest.algorithm))
        if not body.complete:
            await self._store.delete([segment.key])
            raise TransferCut("the body was cut short: push the blob again")
        new = await self._verified([segment], digest)
        if new is None:
            await self._store.delete([segment.key])
            raise _mismatch(digest, [segment])
        replaced, at = await self._blobs.replaceable_key(digest), self._clock()
        try:
            await self._database.write(lambda tx: link(tx, who, access, new, replaced, at))
        except NameMoved:  # while the bytes came
            await self._store.delete([segment.key])
            raise

    async def cancel(self, who: Principal, repository: RepositoryName, upload: str) -> None:
        """End an upload and forget its bytes. Raises UploadUnknown."""
        await self.require(who, repository)
        opened = await self._open(who, repository, upload)
        await self._rows.abandon(opened, await self._segments(opened))

    async def _open(self, who: Principal, repository: RepositoryName, upload: str) -> Upload:
        identity = await self._ids.verify(who, repository, upload)
        lifetime = self._limits.seconds * SECOND
        found = await self._rows.find(identity, str(repository), who.account_id, lifetime)
        if found is None:
            raise unknown()
        return found

    async def _segments(self, upload: Upload) -> list[Segment]:
        """Return what the upload held when it was opened. Raises OutOfOrder if it has moved."""
        segments = await self._rows.segments(upload)
        if sum(segment.size for segment in segments) != upload.offset:
            raise _moved()
        return segments

    async def _require_room(self, who: Principal) -> None:
        most = self._limits.per_account
        if await self._rows.has_open(who.account_id, most):
            raise TooManyRequests(
                f"{who.name} has {most} unfinished uploads: finish or cancel some",
                headers={"Retry-After": "60"},
            )

    def _limit(self, body: Body, offset: int) -> None:
        if self._limits.blob_bytes:
            body.require_at_most(max(self._limits.blob_bytes - offset, 0))

    async def _receive(
        self, body: Body, algorithms: Sequence[str], content_range: ContentRange = None
    ) -> Segment:
        """Write a body as an object of its own. Raises UploadInvalid if it is not its range."""
        written = await write_hashed(self._store, body.chunks(), sorted(set(algorithms)))
        segment = Segment(written.size, written.key, dict(written.digests))
        try:
            _check_length(content_range, segment, body)
        except UploadInvalid:
            await self._store.delete([segment.key])
            raise
        return segment

    async def _joined(
        self, upload: Upload, segments: list[Segment], last: Segment, body: Body
    ) -> list[Segment]:
        """Return the segments with the body of the closing request, if it came whole."""
        if body.complete and (last.size or not segments):
            return [*segments, last]
        if last.size:
            await self._add(upload, last)
        else:
            await self._store.delete([last.key])
        if not body.complete:
            raise _cut()
        return segments

    async def _add(self, upload: Upload, segment: Segment) -> None:
        if not await self._rows.add(upload, segment):
            raise _moved()

    async def _close(
        self,
        who: Principal,
        access: Access,
        upload: Upload,
        segments: list[Segment],
        digest: Digest,
    ) -> None:
        new = await self._verified(segments, digest)
        if new is None:
            await self._rows.abandon(upload, segments)
            raise _mismatch(digest, segments)
        unused = [segment.key for segment in segments if segment.key != new.key]
        replaced, at = await self._blobs.replaceable_key(digest), self._clock()

        async def work(tx: Transaction) -> bool:
            if not await close(tx, upload, at):
                await throw_away(tx, made_here(segments, new.key), at)
                return False
            await link(tx, who, access, new, replaced, at)
            await throw_away(tx, unused, at)
            return True

        try:
            ended = await self._database.write(work)
        except NameMoved:  # while the bytes came: they are nobody's now
            await self._rows.abandon(upload, [*segments, Segment(new.size, new.key, {})])
            raise
        if not ended:
            raise _moved()

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


def _check_range(content_range: ContentRange, offset: int, body: Body) -> None:
    if content_range is None:
        return
    first, last = content_range
    if first != offset:
        raise OutOfOrder(
            f"this upload holds {offset} bytes: the next chunk begins there",
            headers={"Range": f"0-{max(offset - 1, 0)}"},
        )
    if body.length is not None and body.length != last - first + 1:
        raise SizeInvalid(
            f"Content-Range says {last - first + 1} bytes and Content-Length {body.length}"
        )


def _check_length(content_range: ContentRange, segment: Segment, body: Body) -> None:
    if content_range is None or not body.complete:
        return
    expected = content_range[1] - content_range[0] + 1
    if segment.size != expected:
        raise UploadInvalid(f"Content-Range says {expected} bytes, {segment.size} came")


def _cut() -> TransferCut:
    return TransferCut("the body was cut short: what came is kept, resume where the upload stands")


def _moved() -> OutOfOrder:
    return OutOfOrder("another request wrote to this upload: ask where it stands")


def _mismatch(digest: Digest, segments: list[Segment]) -> DigestInvalid:
    found = segments[0].digests.get(digest.algorithm) if len(segments) == 1 else None
    suffix = "" if found is None else f": they are {found}"
    return DigestInvalid(f"the bytes that came are not {digest}{suffix}")
