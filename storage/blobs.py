"""The blob store contract: bytes under opaque keys, and the hashing done once in front of it.

A store keeps bytes and checks nothing: it knows no digest and no name. Every object is written by
exactly one call under a key that was never used before and is never used again, so nobody appends
to, replaces or races for somebody else's bytes. Rows say which key holds which digest.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
