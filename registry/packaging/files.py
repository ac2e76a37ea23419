"""Files on their way into versions: streamed into the store through every hash a client knows."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from registry.packaging.format import Format, StoredFile, VersionFacts
from storage.blobs import BlobStore, closing, write_hashed
from storage.digest import Digest
from storage.errors import BlobMissing, Invalid, TooLarge

HASHES = ("sha256", "sha512", "sha1", "md5")
READERS = 2
"""Versions that adapters read at once: threads are few, and a large archive takes long."""
MAX_NAME = 255
"""Characters of a file's name."""


class Files:
    """Adds files, reads them again, and takes back those that no version came of."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._adapters = asyncio.Semaphore(READERS)

    async def add(self, name: str, media_type: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Write a file as an object of its own, which no row names yet.

        Raises Invalid for a name that is no file's, NoSpace, and what `chunks` raises.
        """
        check_file_name(name)
        written = await write_hashed(self._store, chunks, HASHES)
        md5, sha1, sha512 = (written.digests[hash_].hex for hash_ in ("md5", "sha1", "sha512"))
        digest = Digest(written.digests["sha256"])
        return StoredFile(name, media_type, digest, written.size, md5, sha1, sha512, written.key)

    async def discard(self, files: Iterable[StoredFile]) -> None:
        """Forget files that belong to no version."""
        await self._store.delete([file.key for file in files if file.key])

    async def bytes_of(self, file: StoredFile | str, most: int) -> bytes:
        """Return the bytes of a file, or under a key. Raises TooLarge, BlobMissing."""
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
