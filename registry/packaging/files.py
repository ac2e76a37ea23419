"""Files on their way into versions: streamed into the store through every hash a client knows.

Small ones stay in memory until their version is known to be good: its files are written together
then, which takes as long as one of them, and what is refused was never written.
"""

import asyncio
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from registry.packaging.format import Format, StoredFile, VersionFacts
from storage.blobs import BlobStore, closing, resumed, write_hashed
from storage.digest import Digest
from storage.errors import BlobMissing, Invalid, TooLarge

HASHES = ("sha256", "sha512", "sha1", "md5")
READERS = 2
"""Versions that adapters read at once: threads are few, and a large archive takes long."""
HELD = 64 * 1024
"""Bytes of a file that is held in memory: what a slow client's piece may be, too."""
MAX_NAME = 255
"""Characters of a file's name."""


class Files:
    """Adds files, reads them again, and takes back those that no version came of."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._adapters = asyncio.Semaphore(READERS)

    async def add(self, name: str, media_type: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Take a file: one of more than HELD bytes as an object, which no row names yet.

        A smaller one is only held, for `keep`. Raises Invalid for a name that is no file's,
        NoSpace, and what `chunks` raises.
        """
        check_file_name(name)
        begun: list[bytes] = []
        size = 0
        async for chunk in chunks:
            begun.append(chunk)
            size += len(chunk)
            del chunk
            if size > HELD:
                break
        else:
            return held(name, media_type, b"".join(begun))
        async with closing(resumed(begun, chunks)) as whole:
            written = await write_hashed(self._store, whole, HASHES)
        md5, sha1, sha512 = (written.digests[hash_].hex for hash_ in ("md5", "sha1", "sha512"))
        digest = Digest(written.digests["sha256"])
        return StoredFile(name, media_type, digest, written.size, md5, sha1, sha512, written.key)

    async def keep(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        """Write the files that are held, side by side, and return all as they are then.

        Raises NoSpace: then nothing was written.
        """
        writes = [asyncio.ensure_future(self._write(file)) for file in files]
        try:
            return await asyncio.gather(*writes)
        except BaseException:
            await asyncio.wait(writes)
            done = (write for write in writes if not (write.cancelled() or write.exception()))
            before = {file.key for file in files}
            await self.discard(file for write in done if (file := write.result()).key not in before)
            raise

    async def discard(self, files: Iterable[StoredFile]) -> None:
        """Forget files that belong to no version."""
        keys = [file.key for file in files if file.key]
        if keys:
            await self._store.delete(keys)

    async def bytes_of(self, file: StoredFile | str, most: int) -> bytes:
        """Return the bytes of a file in the store, or under a key. Raises TooLarge, BlobMissing."""
        data = bytearray()
        async with closing(self._store.read(_key(file), 0, most + 1)) as pieces:
            async for piece in pieces:
                data += piece
        if len(data) > most:
            raise TooLarge(f"a file of at most {most} bytes was expected")
        return bytes(data)

    @asynccontextmanager
    async def opened(self, file: StoredFile | str) -> AsyncIterator[BinaryIO]:
        """Open a file for a thread to read: where it lies, or a copy. Raises BlobMissing."""
        if isinstance(file, StoredFile) and file.held is not None:
            yield io.BytesIO(file.held)
            return
        key = _key(file)
        path = self._store.path(key)
        if path is not None:
            with await asyncio.to_thread(_open, path, key) as source:
                yield source
            return
        with tempfile.TemporaryFile() as copy:
            async with closing(self._store.read(key)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(copy.write, piece)
            copy.seek(0)
            yield copy

    async def read_by(
        self, adapter: Format, package: str, metadata: bytes, opened: Mapping[str, BinaryIO]
    ) -> VersionFacts:
        """Let an adapter read a version's open files, when it is its turn. Raises Invalid."""
        async with self._adapters:
            return await asyncio.to_thread(adapter.read, package, metadata, opened)

    async def _write(self, file: StoredFile) -> StoredFile:
        if file.held is None:
            return file
        stored = await self._store.write(once(file.held))
        return replace(file, key=stored.key, held=None)


def held(name: str, media_type: str, data: bytes) -> StoredFile:
    """Return a file whose bytes are here."""
    sha256, sha512, sha1, md5 = (hashlib.new(hash_, data).hexdigest() for hash_ in HASHES)
    digest = Digest(f"sha256:{sha256}")
    return StoredFile(name, media_type, digest, len(data), md5, sha1, sha512, held=data)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield what is there already."""
    yield data


def check_file_name(name: str) -> None:
    """Refuse what is not one component of a path. Raises Invalid."""
    if name in ("", ".", "..") or len(name) > MAX_NAME:
        raise Invalid(f"a file's name has 1 to {MAX_NAME} characters, and is not '.' or '..'")
    if not name.isprintable() or "/" in name or "\\" in name:
        raise Invalid(
            f"file name {name[:100]!a} is not valid: it is one name, without '/' or '\\', and "
            "without control characters"
        )


def _open(path: Path, key: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise BlobMissing(f"no bytes are stored under {key}") from error


def _key(file: StoredFile | str) -> str:
    return file if isinstance(file, str) else file.key
