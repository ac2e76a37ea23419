"""Large documents as files of a cache directory, which may vanish at any time.

A file holds a line about itself, the document, and the same compressed. It is written aside and
renamed, without syncing: so it is checked whole before a worker first sends from it, and what is
not what it says is as good as not there. A newer revision takes the place of an older one.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry.open_files import OpenFile, OpenFiles
from registry.packaging.document import Document, DocumentKey, Made, Span, etag_of
from storage.blobs import PIECE

log = logging.getLogger("packhouse.documents")

HEAD_BYTES = 4096
"""The line about itself, padded."""
USED_SECONDS = 60
"""How often a file that is read is marked as used."""
STALE_SECONDS = 3600
"""How old a draft is that nobody writes any more."""
DRAFT = "draft-"
_REMEMBERED = 10_000


class _Head(msgspec.Struct, frozen=True):
    """What a file says about itself; `sha256` is that of all that follows."""

    key: DocumentKey
    digest: str
    plain: int
    zipped: int
    sha256: str

    @property
    def size(self) -> int:
        return HEAD_BYTES + self.plain + self.zipped


@dataclass(slots=True)
class _Entry:
    """A file that was found good, and when it was last marked as used."""

    key: DocumentKey
    etag: str
    plain: Span
    zipped: Span | None
    size: int
    sha256: str
    used: float = 0.0

    def document(self, file: OpenFile) -> Document:
        return Document(self.etag, self.plain, self.zipped, file)


class DocumentFiles:
    """Keeps up to `limit` bytes on the disk, over all workers: what was least used goes.

    `room` tells how many may be written at all: the reserve of a disk is not for documents.
    """

    def __init__(
        self, directory: Path, limit: int, files: OpenFiles, room: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._files = files
        self._room = room
        self._entries: OrderedDict[tuple[object, ...], _Entry] = OrderedDict()
        self._unswept = limit
        """Bytes written since the directory was looked at: the first file makes us look."""

    def find(self, key: DocumentKey) -> Document | None:
        """Return a document whose file this worker has open."""
        entry = self._entries.get(key.place)
        if entry is None or entry.key != key:
            return None
        file = self._files.find(_handle(key), entry.size)
        if file is None:
            return None
        self._entries.move_to_end(key.place)
        self._mark_used(entry)
        return entry.document(file)

    async def open(self, key: DocumentKey) -> bool:
        """Open a file that some worker has kept, if it is there and good; `find` finds it then."""
        path, before = self._path(key), self._entries.pop(key.place, None)
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            file = await self._files.open(_handle(key), path, size)
        except OSError:
            return False
        if file is None:
            return False
        with file:
            known = before.sha256 if before is not None else ""
            entry = await asyncio.to_thread(_check, file, key, size, known)
        if entry is None:
            return False
        self._entries[key.place] = entry
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)
        return True

    async def keep(self, key: DocumentKey, made: Made) -> None:
        """Write a document; where that is not possible it is rendered again when it is wanted."""
        if made.size + HEAD_BYTES > self._limit:
            return
        try:
            written = await asyncio.to_thread(self._write, key, made)
        except OSError as error:
            log.warning("a document was not kept: %s", error.strerror)
            return
        self._unswept += written
        if self._unswept > self._limit // 16:
            self._unswept = 0
            await asyncio.to_thread(sweep, self._directory, self._limit, time.time())

    def _write(self, key: DocumentKey, made: Made) -> int:
        """Return the bytes written, 0 where there is no room."""
        return _write(self._path(key), key, made) if self._room() > made.size else 0

    def _mark_used(self, entry: _Entry) -> None:
        now = time.time()
        if now - entry.used > USED_SECONDS:
            entry.used = now
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, _touch, self._path(entry.key))

    def _path(self, key: DocumentKey) -> Path:
        return self._directory / hashlib.sha256(repr(key.place).encode()).hexdigest()


def sweep(directory: Path, limit: int, now: float) -> None:
    """Remove the files used least, down to nine tenths of the limit, and what was left half-made.

    Several may do so at once. `now` is seconds since 1970.
    """
    found: list[tuple[float, int, str]] = []
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if not entry.name.startswith(DRAFT):
                    found.append((status.st_mtime, status.st_size, entry.path))
                elif status.st_mtime < now - STALE_SECONDS:
                    os.unlink(entry.path)
    excess = sum(size for _, size, _ in found) - limit
    if excess <= 0:
        return
    excess += limit // 10
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        with suppress(OSError):
            os.unlink(path)
        excess -= size


def _handle(key: DocumentKey) -> str:
    """Return what the open file is known by: no blob's key holds a space."""
    return f"document {key.place} {key.revision}"


def _write(path: Path, key: DocumentKey, made: Made) -> int:
    """Write a file aside and rename it; return its bytes."""
    parts = (made.plain, made.zipped or b"")
    checksum = hashlib.sha256(parts[0])
    checksum.update(parts[1])
    head = _Head(key, made.digest, len(parts[0]), len(parts[1]), checksum.hexdigest())
    line = msgspec.json.encode(head) + b"\n"
    if len(line) > HEAD_BYTES:
        return 0
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{DRAFT}{secrets.token_hex(16)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(line.ljust(HEAD_BYTES))
            file.writelines(parts)
        draft.rename(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    return head.size


def _check(file: OpenFile, key: DocumentKey, size: int, known: str) -> _Entry | None:
    """Return what a file holds, None if it is not what it should be.

    What this worker has found good before (`known` is its checksum) is not read again.
    """
    descriptor = file.fileno()
    try:
        line = os.pread(descriptor, HEAD_BYTES, 0).partition(b"\n")[0]
        head = msgspec.json.decode(line, type=_Head)
    except (OSError, msgspec.DecodeError):
        return None
    if head.key != key or head.size != size:
        return None
    if head.sha256 != known and head.sha256 != _sha256(descriptor, size):
        return None
    end = HEAD_BYTES + head.plain
    zipped = (end, head.size) if head.zipped else None
    return _Entry(key, etag_of(key, head.digest), (HEAD_BYTES, end), zipped, size, head.sha256)


def _sha256(descriptor: int, size: int) -> str:
    hasher = hashlib.sha256()
    for start in range(HEAD_BYTES, size, PIECE):
        hasher.update(os.pread(descriptor, PIECE, start))
    return hasher.hexdigest()


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)
