"""Files of versions, on their way in."""

import asyncio
import errno
import os
import threading
from collections.abc import Mapping
from typing import BinaryIO

import pytest

from registry.packaging.files import HELD, READERS, Files, once
from registry.packaging.format import VersionFacts
from storage.errors import NoSpace
from tests.registry.packaging.generic import BIN, Generic
from tests.registry.packaging.shelf import Shelf


class Slow(Generic):
    """An adapter that reads until it is told to go on."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Semaphore(0)
        self.go_on = threading.Event()
        self.reading = 0
        self.most = 0

    def read(self, package: str, metadata: bytes, files: Mapping[str, BinaryIO]) -> VersionFacts:
        self.reading += 1
        self.most = max(self.most, self.reading)
        self.loop.call_soon_threadsafe(self.begun.release)
        self.go_on.wait()
        self.reading -= 1
        return super().read(package, metadata, files)


async def test_adapters_leave_threads_to_others(shelf: Shelf) -> None:
    files, slow = Files(shelf.world.services.store), Slow()
    metadata = b'{"package": "acme:pad", "version": "1.0.0"}'
    readers = [
        asyncio.create_task(files.read_by(slow, "acme:pad", metadata, {})) for _ in range(20)
    ]
    try:
        for _ in range(READERS):
            await slow.begun.acquire()
    finally:
        slow.go_on.set()
    await asyncio.gather(*readers, return_exceptions=True)
    assert slow.most == READERS


async def objects(shelf: Shelf) -> set[str]:
    return {stored.key async for stored in shelf.world.services.store.list()}


async def test_a_small_file_is_written_when_it_is_kept_and_a_large_one_at_once(
    shelf: Shelf,
) -> None:
    files = shelf.packaging.files
    small = await files.add("small.bin", BIN, once(b"s" * HELD))
    assert await objects(shelf) == set()
    async with files.opened(small) as source:
        assert source.read() == b"s" * HELD
    large = await files.add("large.bin", BIN, once(b"l" * (HELD + 1)))
    assert await objects(shelf) == {large.key}
    kept = await files.keep([small, large])
    assert await objects(shelf) == {file.key for file in kept}
    assert kept[1] == large
    for file in kept:
        assert await files.bytes_of(file, HELD + 1) == file.name[:1].encode() * file.size
    assert [kept[0].digest, kept[0].sha512] == [small.digest, small.sha512]
    await files.discard(kept)
    assert await objects(shelf) == set()


@pytest.mark.parametrize("broken", [0, 1, 2])
async def test_files_that_cannot_all_be_written_leave_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    files, real = shelf.packaging.files, os.fsync

    def full(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == 100 + broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    made = [await files.add(f"{n}.bin", BIN, once(bytes(100 + n))) for n in range(3)]
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        await files.keep(made)
    assert await objects(shelf) == set()


async def test_a_wait_for_files_that_is_given_up_leaves_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, real = shelf.packaging.files, os.fsync
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(descriptor: int) -> None:
        entered.release()
        leave.wait(30)
        real(descriptor)

    made = [await files.add(f"{n}.bin", BIN, once(bytes(100 + n))) for n in range(2)]
    monkeypatch.setattr(os, "fsync", slow)
    keeping = asyncio.ensure_future(files.keep(made))
    for _ in made:
        assert await asyncio.to_thread(entered.acquire, timeout=30)
    keeping.cancel()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert await objects(shelf) == set()
