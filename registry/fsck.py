"""fsck: compare rows and bytes while the server runs, and mark what is not as the rows say.

A blob whose bytes are gone, cut short or different is marked `damaged_at`: HEAD then answers 404
and the next push heals it. Keys are never used again, so a row that still has the key we looked at
is the row we looked at; one that a push or gc changed meanwhile is no finding.

Four kinds of work in this order, each in keyset pages: blobs, contents of manifests, objects that
no row names. Where it stands is kept in `<data>/fsck.json`, and an interrupted run goes on there.
"""

import asyncio
import errno
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from registry.manifest_bytes import decode
from registry.progress import Pace, Progress
from registry.quarantine import Quarantine
from storage.blobs import BlobStore, Stored, closing
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction
from storage.digest import Digest
from storage.errors import BlobMissing

ORPHAN_AGE = 24 * 3600 * SECOND
"""An object this old (microseconds) without a row is garbage; a younger one may get its row yet."""

GOES_ON_FOR = 7 * 24 * 3600 * SECOND
"""An interrupted run older than this starts anew."""

PAGE = 100

LISTED = 10_000
"""Findings that are kept and shown; the rest is counted."""

LIST_BLOBS = """
select id, digest, size, key, damaged_at from blobs where id > $1 order by id limit $2
"""
# scan: the whole table is about to be read anyway
SUM_BLOBS = """
select count(*) as blobs, cast(coalesce(sum(size), 0) as bigint) as bytes from blobs where id > $1
"""
FIND_MARK = "select damaged_at from blobs where id = $1 and key = $2"
MARK_DAMAGED = """
update blobs set damaged_at = $3 where id = $1 and key = $2 and damaged_at is null
"""
CLEAR_MARK = "update blobs set damaged_at = null where id = $1 and key = $2 and damaged_at = $3"
LIST_OF_BLOB = """
select p.repository from repository_blobs rb join packages p on p.id = rb.repository_id
where rb.blob_id = $1 order by p.repository limit 5
"""
LIST_CONTENTS = """
select id, digest, size, encoding, bytes from manifest_contents where id > $1 order by id limit $2
"""
LIST_OF_CONTENT = """
select p.repository from manifests m join packages p on p.id = m.repository_id
where m.content_id = $1 order by p.repository limit 5
"""
LIST_SEGMENT_KEYS = """
select upload_id, start_byte, key from upload_segments
where (upload_id, start_byte) > ($1, $2) order by upload_id, start_byte limit 1000
"""
LIST_KNOWN_KEYS = """
select b.key from blobs b where b.key in (select value from json_each(cast($1 as text)))
union
select t.key from trash t
where t.store = 0 and t.key in (select value from json_each(cast($1 as text)))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the rows say.

    `kind` is missing, truncated, damaged (another content), recovered (marked, but whole again),
    manifest (the database's own bytes) or orphaned (an object no row names). `cleared` says that
    nothing is left to do about it.
    """

    kind: str
    digest: str
    key: str
    size: int
    detail: str
    repositories: Sequence[str] = ()
    cleared: bool = False


@dataclass(slots=True)
class Position:
    """Where a run stands: what it has looked at, and what it found."""

    started_at: int
    quick: bool
    phase: str = "blobs"
    after: int = 0
    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    uncleared: int = 0

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while there are few."""
        self.found += 1
        self.uncleared += not finding.cleared
        if len(self.findings) < LISTED:
            self.findings.append(finding)

    def count(self, what: str, amount: int = 1) -> None:
        """Count something that was looked at."""
        self.checked[what] = self.checked.get(what, 0) + amount

    @property
    def wrong(self) -> bool:
        """Whether something is left to do."""
        return self.uncleared > 0


class Fsck:
    """One run, or the rest of one, over a database and its store."""

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        clock: Clock,
        directory: Path,
        *,
        repair: bool,
        quick: bool,
        pace: Pace,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._file = directory / "fsck.json"
        self._quarantine = Quarantine(directory / "quarantine")
        self._repair = repair
        self._quick = quick
        self._pace = pace
        self._progress: Progress | None = None
        self.position = self._resume()

    async def remaining(self) -> int:
        """Return how many bytes of blobs are still to be looked at."""
        if self.position.phase != "blobs":
            return 0
        row = await self._database.fetch_one(SUM_BLOBS, self.position.after)
        return 0 if row is None else int(row["bytes"])

    async def run(self, progress: Progress) -> Position:
        """Look at everything from where the position stands; return what was found."""
        self._progress = progress
        try:
            if self.position.phase == "blobs":
                await self._blobs()
                self._enter("contents")
            if self.position.phase == "contents":
                await self._contents()
                self._enter("objects")
            await self._objects()
        except BaseException:
            await asyncio.to_thread(self._save)
            raise
        self._file.unlink(missing_ok=True)
        return self.position

    def _resume(self) -> Position:
        fresh = Position(self._clock(), self._quick)
        try:
            kept = json.loads(self._file.read_text())
            findings = [Finding(**finding) for finding in kept.pop("findings")]
            found = Position(**kept, findings=findings)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return fresh
        late = found.started_at + GOES_ON_FOR < fresh.started_at
        return fresh if late or found.quick != self._quick else found

    def _enter(self, phase: str) -> None:
        self.position.phase, self.position.after = phase, 0

    def _save(self) -> None:
        draft = self._file.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self.position)))
        draft.replace(self._file)

    # Blobs

    async def _blobs(self) -> None:
        while rows := await self._database.fetch(LIST_BLOBS, self.position.after, PAGE):
            for row in rows:
                await self._blob(row)
                self.position.after = row["id"]
                self.position.count("blobs")
            await asyncio.to_thread(self._save)

    async def _blob(self, row: Row) -> None:
        kind, detail = await self._look(row)
        if kind:
            if await self._mark(row):
                finding = await self._finding(kind, row, detail)
                if self._repair and kind != "missing":
                    await self._quarantine.take(self._store, row["key"], asdict(finding))
        elif row["damaged_at"] is not None and not self._quick:
            cleared = self._repair and await self._clear(row)
            await self._finding("recovered", row, "marked, and whole", cleared=cleared)

    async def _look(self, row: Row) -> tuple[str, str]:
        """Return the kind of damage and its details, or empty ones."""
        try:
            size = await self._store.size(row["key"])
            if size != row["size"]:
                return "truncated", f"{size} bytes instead of {row['size']}"
            if self._quick:
                return "", ""
            found = await self._digest(row["key"], Digest(row["digest"]).algorithm)
        except BlobMissing:
            return "missing", "no bytes are stored"
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return "damaged", "its bytes cannot be read"
        return ("", "") if found == row["digest"] else ("damaged", f"its bytes are {found}")

    async def _digest(self, key: str, algorithm: str) -> Digest:
        running = hashlib.new(algorithm)
        async with closing(self._store.read(key)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(running.update, piece)
                if self._progress is not None:
                    self._progress.advance(len(piece))
                self.position.count("bytes", len(piece))
                await self._pace.spend(len(piece))
        return Digest(f"{algorithm}:{running.hexdigest()}")

    async def _mark(self, row: Row) -> bool:
        """Mark the row damaged, unless it has changed since it was read."""
        at = self._clock()

        async def work(tx: Transaction) -> bool:
            if await tx.fetch_one(FIND_MARK, row["id"], row["key"]) is None:
                return False
            await tx.execute(MARK_DAMAGED, row["id"], row["key"], at)
            return True

        return await self._database.write(work)

    async def _clear(self, row: Row) -> bool:
        values = row["id"], row["key"], row["damaged_at"]
        return bool(await self._database.execute(CLEAR_MARK, *values))

    async def _finding(self, kind: str, row: Row, detail: str, *, cleared: bool = False) -> Finding:
        sql = LIST_OF_CONTENT if kind == "manifest" else LIST_OF_BLOB
        holders = [found["repository"] for found in await self._database.fetch(sql, row["id"])]
        key = "" if kind == "manifest" else row["key"]
        finding = Finding(kind, row["digest"], key, row["size"], detail, holders, cleared)
        self.position.add(finding)
        return finding

    # Contents of manifests

    async def _contents(self) -> None:
        while rows := await self._database.fetch(LIST_CONTENTS, self.position.after, PAGE // 5):
            for row in rows:
                if not await asyncio.to_thread(_is_itself, row):
                    await self._finding("manifest", row, "its row holds other bytes")
                self.position.after = row["id"]
                self.position.count("manifests")
            await asyncio.to_thread(self._save)

    # Objects that no row names

    async def _objects(self) -> None:
        segments = await self._segment_keys()
        before = self._clock() - ORPHAN_AGE
        page: list[Stored] = []
        async for stored in self._store.list():
            self.position.count("objects")
            if stored.modified_at < before and stored.key not in segments:
                page.append(stored)
            if len(page) >= PAGE:
                await self._orphans(page)
                page = []
        await self._orphans(page)

    async def _segment_keys(self) -> set[str]:
        """Return the keys that uploads hold now; one that comes later is a young object's."""
        keys: set[str] = set()
        last: tuple[str, int] = ("", -1)
        while rows := await self._database.fetch(LIST_SEGMENT_KEYS, *last):
            keys.update(row["key"] for row in rows)
            last = rows[-1]["upload_id"], rows[-1]["start_byte"]
        return keys

    async def _orphans(self, page: Sequence[Stored]) -> None:
        if not page:
            return
        keys = json.dumps([stored.key for stored in page])
        known = {row["key"] for row in await self._database.fetch(LIST_KNOWN_KEYS, keys)}
        for stored in page:
            if stored.key in known or not await self._exists(stored.key):
                continue
            detail = "no row names these bytes"
            finding = Finding("orphaned", "", stored.key, stored.size, detail, (), self._repair)
            if self._repair:
                await self._quarantine.take(self._store, stored.key, asdict(finding))
            self.position.add(finding)

    async def _exists(self, key: str) -> bool:
        """Say whether gc, which forgets the row last, has not removed the object meanwhile."""
        try:
            await self._store.size(key)
        except BlobMissing:
            return False
        return True


def _is_itself(row: Row) -> bool:
    try:
        data = decode(row)
    except zlib.error:
        return False
    digest = Digest(row["digest"])
    return Digest.of(data, digest.algorithm) == digest
