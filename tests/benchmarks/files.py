"""What is pushed and pulled: pieces of files, each a blob, made from random bytes once a run."""

import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import images

MEGABYTE = 1_000_000
LARGE = 500 * MEGABYTE
SMALL_PUSHES = 200
SMALL_PUSH = 100_000
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file that are one blob."""

    path: Path
    offset: int
    size: int
    digest: str

    def job(self) -> list[Any]:
        """The piece as the load client reads it."""
        return [str(self.path), self.offset, self.size, self.digest]


def digest_of(path: Path, offset: int = 0, size: int | None = None) -> str:
    """Return the SHA-256 digest of a part of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        left = size if size is not None else path.stat().st_size - offset
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return f"sha256:{digest.hexdigest()}"


def noise(path: Path, size: int) -> Piece:
    """Write a file of `size` bytes that no run before has seen; it is one piece."""
    with path.open("wb") as file:
        file.writelines(images.noise(int.from_bytes(os.urandom(8)), size))
    return Piece(path, 0, size, digest_of(path))


def renewed(piece: Piece) -> Piece:
    """Change the first bytes of a file, and so its digest: a new blob for little work."""
    with piece.path.open("r+b") as file:
        file.write(os.urandom(16))
    return Piece(piece.path, 0, piece.size, digest_of(piece.path))


def many(path: Path, count: int, size: int) -> Sequence[Piece]:
    """Write one file of `count` different pieces."""
    noise(path, count * size)
    with path.open("r+b") as file:
        for number in range(count):
            file.seek(number * size)
            file.write(os.urandom(16))
    starts = range(0, count * size, size)
    return [Piece(path, start, size, digest_of(path, start, size)) for start in starts]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of an OCI layout: its blobs, and its manifest."""

    blobs: Sequence[Piece]
    manifest: bytes
    media_type: str
    digest: str


def image(directory: Path, layers: Sequence[int], layer_size: int) -> Image:
    """Make a Docker image of some layers, which docker-registry serves without conversion."""
    made = images.image_layout(directory, layers=layers, layer_size=layer_size, types=images.DOCKER)
    files = sorted((directory / "blobs" / "sha256").iterdir())
    pieces = [Piece(at, 0, at.stat().st_size, f"sha256:{at.name}") for at in files]
    manifest = (directory / "blobs" / made["digest"].replace(":", "/")).read_bytes()
    blobs = [piece for piece in pieces if piece.digest != made["digest"]]
    return Image(blobs, manifest, made["mediaType"], made["digest"])


def fsync_milliseconds(directory: Path, times: int = 100) -> float:
    """The median time of a write of 4 KiB with fsync in a directory."""
    path, taken = directory / "fsync", []
    with path.open("wb") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(taken) * 1000
