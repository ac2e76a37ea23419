"""Blobs as files of one directory: `blobs/ab/cd/<key>`, large ones written in `incoming/` first.

Durability, in this order: the file's bytes (fsync), the directories it needs (fsync of each one's
parent), the rename, the directory it went into (fsync). A small object is written where it stays,
without a rename: a journal that has to be committed twice takes twice as long. What a crash leaves
is a file in `incoming/`, or an object that no row names, whole or not: gc removes both.

Reading list: fsync(2); rename(2); Pillai and others, "All File Systems Are Not Created Equal".
"""

import asyncio
import errno
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from storage.blobs import PIECE, Stored, resumed
from storage.errors import BlobMissing, NoSpace

T = TypeVar("T")

CHECKPOINT = 32 * 1024 * 1024
"""Bytes between two fdatasyncs and space checks. One runs at a time, beside the writing of the next
bytes: so the last fsync is short, and at most twice as many bytes wait for the disk."""

WHOLE = 512 * 1024
"""Bytes of an object that is written in one step and in its place, if no more come."""

WRITERS = 32
READERS = 16
"""Threads; both kinds mostly wait for the disk."""

_KEY = re.compile(r"[0-9a-f]{32,128}")
_FULL = (
    "the disk is full, but for what clean-up needs: delete packages or add space, then try again"
)
_PAGE = 1000
_LEAST_RESERVE = 1024**3


def room(directory: Path, reserve: int | None) -> int:
    """Return how many bytes may be written before only the reserve is free, which None computes."""
    disk = os.statvfs(directory)
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    return free - (max(_LEAST_RESERVE, total // 50) if reserve is None else reserve)


class FilesystemStore:
    """A BlobStore in one directory, which any number of processes may share.

    `reserve` is the free space in bytes below which nothing is written, so that there is always
    room to run gc: by default 1 GiB or 2 % of the file system, whichever is more.
    """

    def __init__(self, directory: Path, *, reserve: int | None = None) -> None:
        self._directory = directory
        self._blobs = directory / "blobs"
        self._incoming = directory / "incoming"
        self._reserve = reserve
        self._durable: set[str] = set()
        self._durable_leaves = bytearray(16**4)  # their names would take ten megabytes
        # Reads do not queue behind fsyncs, nor either of them behind asyncio's few threads.
        self._writers = ThreadPoolExecutor(WRITERS, "blobs-write")
        self._readers = ThreadPoolExecutor(READERS, "blobs-read")

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Keep `chunks` under a new key; durable when it returns. Raises NoSpace."""
        key = _new_key()
        try:
            begun = [await anext(chunks, b"")]
            if len(begun[0]) < WHOLE:  # the end, or slow
                begun.append(await anext(chunks, b""))
                if not begun[1]:
                    return await self._run(self._keep_whole, key, begun[0])
            draft, final = self._incoming / key, self._file(key)
            await self._run(self._prepare)
            async with self._opened(draft, "xb", self._writers) as file:
                await self._fill(file, resumed(begun, chunks))
                await self._run(os.fsync, file.fileno())
            return await self._run(self._keep, draft, final)
        except BaseException:
            await self._run(_unlink, (self._incoming / key, self._file(key)))
            raise

    async def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes [start, stop); deleting the object meanwhile does no harm.

        Raises BlobMissing.
        """
        path = self._file(key)
        with _missing(key):
            async with self._opened(path, "rb", self._readers) as file:
                await _settled(file.seek(start))
                while stop is None or start < stop:
                    wanted = PIECE if stop is None else min(PIECE, stop - start)
                    piece = await _settled(file.read(wanted))
                    if not piece:
                        return
                    start += len(piece)
                    yield piece

    async def size(self, key: str) -> int:
        """Return the object's size in bytes. Raises BlobMissing."""
        with _missing(key):
            status = await self._run(os.stat, self._file(key), reading=True)
        return status.st_size

    def path(self, key: str) -> Path:
        """Return where the object's file is, if it is. Raises BlobMissing for what is no key."""
        return self._file(key)

    async def url(self, key: str, expires: int, headers: Mapping[str, str]) -> None:
        """Return None: no other server has these files."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget these objects; a missing one is fine.

        Not synced: an object that a crash brings back is named by no row, and gc removes it.
        """
        await self._run(_unlink, [self._file(key) for key in keys if _KEY.fullmatch(key)])

    async def list(self) -> AsyncIterator[Stored]:
        """Yield every object in the order of keys, a thousand to a page; skip what is not ours."""
        walk = self._walk()
        while page := await self._run(_page, walk, reading=True):
            for stored in page:
                yield stored

    async def discard_drafts(self, before: int) -> int:
        """Remove what crashes left in `incoming/`, last written before `before` (µs UTC).

        Returns how many files went. A day is safe: a request is ended long before.
        """
        return await self._run(self._discard_drafts, before)

    async def close(self) -> None:
        """Finish what runs, then end the threads. Closing twice is fine."""
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._readers.shutdown)

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise BlobMissing(f"{key[:100]!a} is not a key of this store")
        return self._blobs / key[:2] / key[2:4] / key

    async def _fill(self, file: AsyncFileIO, chunks: AsyncIterator[bytes]) -> None:
        """Write all chunks, and have the disk take what is written while more comes."""
        unsynced, syncing = 0, None
        try:
            async for chunk in chunks:
                with _no_space():
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[await _settled(file.write(rest)) :]
                unsynced += len(chunk)
                del chunk, rest  # not kept while the next one comes
                if unsynced >= CHECKPOINT:
                    if syncing is not None:
                        await syncing
                    syncing = asyncio.create_task(self._run(self._checkpoint, file.fileno()))
                    unsynced = 0
            if syncing is not None:
                await syncing
        finally:
            if syncing is not None:
                with suppress(Exception):  # raised above, or another one is on its way
                    await _settled(syncing)  # the file must not close under it

    @asynccontextmanager
    async def _opened(
        self, path: Path, mode: Literal["rb", "xb"], threads: Executor
    ) -> AsyncIterator[AsyncFileIO]:
        """Open a private file, and close it even if the wait for its opening is cancelled."""
        opening = asyncio.ensure_future(
            aiofiles.open(path, mode, buffering=0, opener=_open_private, executor=threads)
        )
        try:
            with _no_space():
                file = await _settled(opening)
            yield file
        finally:
            if opening.exception() is None:
                await _settled(opening.result().close())

    async def _run(self, call: Callable[..., T], *args: object, reading: bool = False) -> T:
        """Run a blocking step in a thread, and to its end even if the caller is cancelled."""
        threads = self._readers if reading else self._writers
        with _no_space():
            return await _settled(asyncio.get_running_loop().run_in_executor(threads, call, *args))

    # Blocking steps: each runs in a thread.

    def _prepare(self) -> None:
        self._make(self._incoming)
        self._require_space()

    def _keep_whole(self, key: str, data: bytes) -> Stored:
        """Do all of a write at once: for a small object its many steps would be most of it.

        Its key is known to nobody before this returns, so nobody reads half of it.
        """
        leaf = (
            f"{self._blobs}/{key[:2]}/{key[2:4]}"  # a Path of each would take as long as all else
        )
        if not self._durable_leaves[int(key[:4], 16)]:
            self._make_leaf(self._file(key))
        self._require_space()
        descriptor = _open_private(f"{leaf}/{key}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        _sync_directory(leaf)
        return _stored(key, status)

    def _checkpoint(self, descriptor: int) -> None:
        _sync_data(descriptor)
        self._require_space()

    def _require_space(self) -> None:
        if room(self._directory, self._reserve) < 0:
            raise NoSpace(_FULL)

    def _keep(self, draft: Path, final: Path) -> Stored:
        self._make_leaf(final)
        status = draft.stat()
        os.rename(draft, final)
        _sync_directory(final.parent)
        return _stored(final.name, status)

    def _make(self, directory: Path) -> None:
        """Make a directory and sync its entry, its parents' entries first.

        One that is there may be another process's that has not synced it yet, so each process
        syncs every directory once.
        """
        name = str(directory)
        if name in self._durable:
            return
        if self._directory in directory.parents or not directory.parent.exists():
            self._make(directory.parent)
        _make_durable(directory)
        self._durable.add(name)

    def _make_leaf(self, final: Path) -> None:
        """Make the directory of an object, as `_make` does."""
        number = int(final.name[:4], 16)
        if not self._durable_leaves[number]:
            self._make(final.parent.parent)
            _make_durable(final.parent)
            self._durable_leaves[number] = 1

    def _walk(self) -> Iterator[Stored]:
        for first in _names(self._blobs):
            for second in _names(self._blobs / first):
                for key in _names(self._blobs / first / second):
                    if _KEY.fullmatch(key):
                        with suppress(FileNotFoundError):
                            yield _stored(key, self._file(key).stat())

    def _discard_drafts(self, before: int) -> int:
        count = 0
        for name in _names(self._incoming):
            draft = self._incoming / name
            with suppress(FileNotFoundError):
                if draft.stat().st_mtime_ns // 1000 < before:
                    draft.unlink()
                    count += 1
        return count


async def _settled(waited: Awaitable[T]) -> T:
    """Await work in a thread; when cancelled, wait for its end before passing that on.

    A thread cannot be cancelled. Without this a file would be closed in one thread while another
    still writes to its descriptor, which by then may be somebody else's file.
    """
    future = asyncio.ensure_future(waited)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # seen: nobody else will look
        raise


@contextmanager
def _no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(_FULL) from error


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(f"no bytes are stored under {key}") from error


def _new_key() -> str:
    """Return a key that was never used; all lie in 256 directories.

    Each process syncs each directory once: of 65,536 nearly every write would have to sync one.
    """
    key = secrets.token_hex(16)
    return f"{key[:2]}00{key[4:]}"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_data(descriptor: int) -> None:
    if sys.platform == "darwin":
        os.fsync(descriptor)  # it has no fdatasync
    else:
        os.fdatasync(descriptor)


def _make_durable(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path | str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _names(directory: Path) -> Sequence[str]:
    """Return a directory's names in order; one that is missing, or no directory, has none."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _page(walk: Iterator[Stored]) -> Sequence[Stored]:
    return tuple(islice(walk, _PAGE))


def _stored(key: str, status: os.stat_result) -> Stored:
    return Stored(key, status.st_size, status.st_mtime_ns // 1000)
