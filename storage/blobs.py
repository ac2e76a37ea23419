"""The blob store contract: bytes under opaque keys, and the hashing done once in front of it.

A store keeps bytes and checks nothing: it knows no digest and no name. Every object is written by
exactly one call under a key that was never used before and is never used again, so nobody appends
to, replaces or races for somebody else's bytes. Rows say which key holds which digest.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.digest import Digest

PIECE = 1024 * 1024
"""Bytes that `read` yields at most at a time."""

_GATHER = 512 * 1024
_GATHER_SLOW = 64 * 1024
_SLOW_SECONDS = 2.0
_HASH_IN_THREAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a store: its key, its size in bytes, and when it was written (µs UTC)."""

    key: str
    size: int
    modified_at: int


class BlobStore(Protocol):
    """Seven verbs; all of them raise OSError-free PackhouseErrors for what a caller must know."""

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Keep `chunks` under a new key; durable (file and directory entries) when it returns.

        Nothing is kept if `chunks` or the store raises. Raises NoSpace.
        """

    def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes [start, stop) in pieces of at most 1 MiB. Raises BlobMissing."""

    async def size(self, key: str) -> int:
        """Return the object's size in bytes. Raises BlobMissing."""

    def path(self, key: str) -> Path | None:
        """Return the local file for zero copy, or None when the bytes are elsewhere."""

    async def url(self, key: str, expires: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL good for `expires` seconds, or None when there is none."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget these objects; a missing one is fine."""

    def list(self) -> AsyncIterator[Stored]:
        """Yield every object, in any order: for garbage collection and fsck only."""


@dataclass(frozen=True, slots=True)
class HashedObject:
    """An object and the digests of exactly the bytes that were written, by algorithm."""

    key: str
    size: int
    digests: Mapping[str, Digest]


async def write_hashed(
    store: BlobStore, chunks: AsyncIterator[bytes], algorithms: Sequence[str] = ("sha256",)
) -> HashedObject:
    """Write `chunks` and digest them on the way: no driver sees bytes that are not hashed.

    Small chunks are gathered into pieces of 512 KiB or more, slow ones of 64 KiB or more.
    Raises what `chunks` raises, NoSpace.
    """
    hashes = _Hashes(algorithms)
    async with closing(_hashing(chunks, hashes)) as pieces:
        stored = await store.write(pieces)
    return HashedObject(stored.key, stored.size, hashes.digests())


async def rehash(store: BlobStore, key: str, algorithm: str) -> Digest:
    """Read a whole object and digest it. Raises BlobMissing."""
    hashes = _Hashes((algorithm,))
    async with closing(store.read(key)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(hashes.update, piece)
    return hashes.digests()[algorithm]


async def concatenated(store: BlobStore, keys: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield the bytes of several objects, one after the other. Raises BlobMissing."""
    for key in keys:
        async with closing(store.read(key)) as pieces:
            async for piece in pieces:
                yield piece


async def resumed(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces that were taken from an iterator, which are forgotten then, and the rest."""
    while begun:
        yield begun.pop(0)
    async for piece in rest:
        yield piece
        del piece


@asynccontextmanager
async def closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close a generator when the block ends, not when the collector finds its open file."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


class _Hashes:
    """The running digests of one stream."""

    def __init__(self, algorithms: Sequence[str]) -> None:
        self._running = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}

    def update(self, piece: bytes) -> None:
        for running in self._running.values():
            running.update(piece)

    def digests(self) -> dict[str, Digest]:
        return {
            name: Digest(f"{name}:{hash_.hexdigest()}") for name, hash_ in self._running.items()
        }


async def _hashing(chunks: AsyncIterator[bytes], hashes: _Hashes) -> AsyncIterator[bytes]:
    """Yield gathered chunks; a thread hashes each piece while the driver writes it."""
    loop = asyncio.get_running_loop()
    async with closing(_gathered(chunks)) as pieces:
        async for piece in pieces:
            if len(piece) <= _HASH_IN_THREAD:
                hashes.update(piece)
                yield piece
            else:
                hashed = loop.run_in_executor(None, hashes.update, piece)
                yield piece
                await hashed
                del hashed
            del piece  # not kept while the next one gathers


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small chunks into pieces of _GATHER bytes or a little more; a large one passes as is.

    One that takes long to gather leaves earlier: hundreds of slow clients would fill the memory.
    """
    clock = asyncio.get_running_loop().time
    parts: list[bytes] = []
    size, began = 0, clock()
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        del chunk
        if size >= _GATHER or (size >= _GATHER_SLOW and clock() - began >= _SLOW_SECONDS):
            yield _taken(parts)
            size, began = 0, clock()
    if size:
        yield _taken(parts)


def _taken(parts: list[bytes]) -> bytes:
    """Join the parts and forget them: the piece alone is held while it is written."""
    piece = b"".join(parts)
    parts.clear()
    return piece
