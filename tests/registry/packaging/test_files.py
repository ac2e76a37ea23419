"""Files of versions, on their way in."""

import asyncio
import threading
from collections.abc import Mapping
from typing import BinaryIO

from registry.packaging.files import READERS, Files
from registry.packaging.format import VersionFacts
from tests.registry.packaging.generic import Generic
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
