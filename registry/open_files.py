"""Files of blobs that were read a moment ago, kept open for the next reader.

A file that the kernel does not know of is opened in a thread, for a directory on a cold or slow
disk takes its time; but a thread's turn costs more than sending 1 MB does. A key is never used
again, so what is open under one holds the bytes that its row means for as long as its name is
there.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from registry.page_cache import is_cached, open_cached

MOST = 64
SECONDS = 10.0
"""How long files stay open at most: what gc removes meanwhile keeps its space on the disk."""

CACHED_SECONDS = 1.0
"""How long the kernel is not asked again whether it holds bytes that it held."""


class OpenFile:
    """A descriptor that readers share, each at offsets of its own, in a `with`.

    The last to leave closes it. A reader who never came to his `with` has left when nobody holds
    this object any more: a request that was given up may be kept in a circle for long.
    """

    __slots__ = ("_cached", "_cached_seconds", "_cached_until", "_descriptor", "_readers")

    def __init__(self, descriptor: int, cached_seconds: float = CACHED_SECONDS) -> None:
        self._descriptor = descriptor
        self._readers = 1
        self._cached_seconds = cached_seconds
        self._cached = (0, 0)
        self._cached_until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        _close_soon(self.left())

    def __del__(self) -> None:
        if self._readers:
            self._readers = 0
            _close_soon([self._descriptor])

    def left(self) -> list[int]:
        """Take one reader off; return the descriptor that is to be closed after the last."""
        self._readers -= 1
        return [] if self._readers else [self._descriptor]

    def shared(self) -> Self:
        """Return it for one reader more."""
        self._readers += 1
        return self

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def is_cached(self, offset: int, count: int) -> bool:
        """Whether the kernel holds these bytes, or did within the last CACHED_SECONDS.

        To answer, the kernel looks at each page; what was read just now it drops last of all.
        """
        asked, at = (offset, count), time.monotonic()
        if asked == self._cached and at < self._cached_until:
            return True
        if not is_cached(self._descriptor, offset, count):
            return False
        self._cached, self._cached_until = asked, at + self._cached_seconds
        return True


class OpenFiles:
    """Opens files for reading."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[str, OpenFile] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def find(self, key: str, size: int) -> OpenFile | None:
        """Return the file of a key if it is open, was not removed, and has `size` bytes."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        status = os.fstat(kept.fileno())
        return kept.shared() if status.st_nlink and status.st_size == size else None

    async def open(self, key: str, path: Path, size: int) -> OpenFile | None:
        """Open the file of a key; None if it has not `size` bytes. Raises FileNotFoundError."""
        descriptor = open_cached(path)
        if descriptor is None:
            descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        file = OpenFile(descriptor)
        found = os.fstat(descriptor).st_size
        if found != size:
            return None
        self._keep(key, file.shared())
        return file

    async def close(self) -> None:
        """Keep nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._forget()

    def _keep(self, key: str, file: OpenFile) -> None:
        leaving = [self._kept.pop(key)] if key in self._kept else []
        self._kept[key] = file
        if len(self._kept) > self._most:  # several at once: closing takes a thread's turn
            several = max(1, self._most // 8)
            leaving += [self._kept.popitem(last=False)[1] for _ in range(several)]
        _leave(leaving)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._forget)

    def _forget(self) -> None:
        self._timer = None
        kept, self._kept = self._kept, OrderedDict()
        _leave(kept.values())


def _leave(files: Iterable[OpenFile]) -> None:
    _close_soon([descriptor for file in files for descriptor in file.left()])


def _close_soon(descriptors: Sequence[int]) -> None:
    descriptors = [descriptor for descriptor in descriptors if not _closed_at_once(descriptor)]
    if not descriptors:
        return
    try:
        loop = asyncio.get_running_loop()
        # Soon, not now: the garbage collector may have come here from within an executor, whose
        # locks this very thread would then wait for.
        loop.call_soon(_close_in_thread, loop, descriptors)
    except RuntimeError:  # no loop, or one that ends
        _close(descriptors)


def _closed_at_once(descriptor: int) -> bool:
    """Close what still has a name. The last descriptor of a removed file gives its space back
    first, which takes a thread.
    """
    with suppress(OSError):  # nothing is open there
        if not os.fstat(descriptor).st_nlink:
            return False
        os.close(descriptor)
    return True


def _close_in_thread(loop: asyncio.AbstractEventLoop, descriptors: Sequence[int]) -> None:
    try:
        loop.run_in_executor(None, _close, descriptors)
    except RuntimeError:  # a loop that ends
        _close(descriptors)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):  # the others are still to be closed
            os.close(descriptor)
