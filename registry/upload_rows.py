"""The rows of uploads: where one stands, its segments, and how it ends.

The row is the truth: a segment joins only where it starts at the row's offset, and only one request
closes an upload. Whoever comes second loses the object it wrote, and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from registry.blobs import INSERT_TRASH
from registry.upload_ids import UploadId
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.digest import Digest

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
class Upload:
    """An upload as this request found it: `offset` bytes are there."""

    identity: UploadId
    repository: str
    account_id: int
    offset: int


class UploadRows:
    """Reads and writes the rows; who may is decided before."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(
        self, identity: UploadId, repository: str, account_id: int, lifetime: int
    ) -> Upload | None:
        """Return an upload; None if it has ended, or is older than `lifetime` µs."""
        row = await self._database.fetch_one(FIND_UPLOAD, identity.text)
        touched = identity.created_at if row is None else row["updated_at"]
        if touched + lifetime <= self._clock() or (row is not None and row["closed_at"]):
            return None
        offset = 0 if row is None else row["offset_bytes"]
        return Upload(identity, repository, account_id, offset)

    async def has_open(self, account_id: int, most: int) -> bool:
        """Whether an account has `most` uploads that have not ended."""
        row = await self._database.fetch_one(COUNT_OPEN, account_id, most)
        return row is not None and row["open"] >= most

    async def segments(self, upload: Upload) -> list[Segment]:
        """Return the segments of an upload in order."""
        if upload.offset == 0:
            return []
        rows = await self._database.fetch(LIST_SEGMENTS, upload.identity.text)
        return [_segment(row) for row in rows]

    async def add(self, upload: Upload, segment: Segment) -> bool:
        """Add a segment where the upload stood; False (and the object is trash) if it has moved."""
        at = self._clock()

        async def work(tx: Transaction) -> bool:
            await _ensure(tx, upload)
            text = upload.identity.text
            if not await tx.execute(ADVANCE_UPLOAD, text, upload.offset, segment.size, at):
                await throw_away(tx, [segment.key], at)
                return False
            await tx.execute(
                INSERT_SEGMENT,
                text,
                upload.offset,
                segment.size,
                segment.key,
                segment.digests["sha256"],
                segment.digests.get("sha512"),
            )
            return True

        return await self._database.write(work)

    async def abandon(self, upload: Upload, segments: list[Segment]) -> None:
        """End an upload and forget its bytes."""
        at = self._clock()

        async def work(tx: Transaction) -> None:
            ended = await close(tx, upload, at)
            keys = [segment.key for segment in segments] if ended else made_here(segments)
            await throw_away(tx, keys, at)

        await self._database.write(work)


async def close(tx: Transaction, upload: Upload, at: int) -> bool:
    """End an upload where it stood; False if another request moved or ended it."""
    await _ensure(tx, upload)
    if not await tx.execute(CLOSE_UPLOAD, upload.identity.text, upload.offset, at):
        return False
    await tx.execute(DELETE_SEGMENTS, upload.identity.text)
    return True


def made_here(segments: list[Segment], *others: str) -> list[str]:
    """Return the keys that no row names: whoever closed the upload first has the rest."""
    in_rows = {segment.key for segment in segments if segment.in_row}
    return sorted({*others, *(segment.key for segment in segments)} - in_rows)


async def throw_away(tx: Transaction, keys: Iterable[str], at: int) -> None:
    """Give objects that no row names to gc."""
    for key in keys:
        await tx.execute(INSERT_TRASH, key, at)


async def _ensure(tx: Transaction, upload: Upload) -> None:
    identity = upload.identity
    await tx.execute(
        INSERT_UPLOAD, identity.text, upload.repository, upload.account_id, identity.created_at
    )


def _segment(row: Row) -> Segment:
    digests = {"sha256": Digest(row["sha256"])}
    if row["sha512"] is not None:
        digests["sha512"] = Digest(row["sha512"])
    return Segment(row["size"], row["key"], digests, in_row=True)
