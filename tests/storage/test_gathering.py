"""What a stream holds in memory on its way to a store: one piece, and a small one if it is slow."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.blobs import write_hashed
from storage.filesystem import FilesystemStore

CHUNK = 64 * 1024
PIECE = 8 * CHUNK
MINUTE = 60.0
PATIENCE = 30
"""Seconds until a test gives up waiting for memory to be given back."""


class Watched:
    """Looks at each piece on its way to a store."""

    def __init__(self, store: FilesystemStore, look: Callable[[bytes], Awaitable[None]]) -> None:
        self._store = store
        self._look = look

    async def write(self, chunks: AsyncIterator[bytes]) -> object:
        async def watched() -> AsyncIterator[bytes]:
            async for piece in chunks:
                await self._look(piece)
                yield piece
                del piece

        return await self._store.write(watched())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemStore]:
    made = FilesystemStore(tmp_path / "store", reserve=0)
    yield made
    await made.close()


@pytest.fixture
def only_held() -> Iterator[Callable[[int], Awaitable[None]]]:
    """Waits until nothing but so many bytes is held: threads let go of theirs a moment later."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    async def wait(size: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while tracemalloc.get_traced_memory()[0] - before > size + PIECE // 2:  # noqa: ASYNC110
                await asyncio.sleep(0)

    yield wait
    tracemalloc.stop()


async def test_no_piece_is_held_while_the_next_one_comes(
    store: FilesystemStore, only_held: Callable[[int], Awaitable[None]]
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(64):
            await only_held(number % 8 * CHUNK)
            yield bytes(CHUNK)

    written = await write_hashed(store, chunks(), ("sha256", "sha512"))
    assert written.size == 64 * CHUNK


async def test_a_piece_is_held_once_while_it_is_written(
    store: FilesystemStore, only_held: Callable[[int], Awaitable[None]]
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(CHUNK)

    watched: Any = Watched(store, lambda piece: only_held(len(piece)))
    written = await write_hashed(watched, chunks())
    assert written.size == 64 * CHUNK


async def test_a_slow_stream_does_not_fill_the_memory(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, sizes = asyncio.get_running_loop(), list[int]()
    now = loop.time()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal now
        for _ in range(400):
            now += MINUTE
            yield bytes(3000)

    async def look(piece: bytes) -> None:
        sizes.append(len(piece))

    monkeypatch.setattr(loop, "time", lambda: now)
    watched: Any = Watched(store, look)
    written = await write_hashed(watched, chunks())
    assert written.size == sum(sizes) == 400 * 3000
    assert CHUNK <= max(sizes) < CHUNK + 3000
