"""Files of blobs that were read a moment ago, kept open for the next reader.

A file is opened in a thread, for a directory on a cold or slow disk takes its time; but a thread's
turn costs more than sending 1 MB does. A key is never used again, so what is open under one holds
the bytes that its row means for as long as its name is there.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

MOST = 64
SECONDS = 10.0
"""How long files stay open at most: what gc removes meanwhile keeps its space on the disk."""


class OpenFiles:
    """Opens files for reading; every reader gets a descriptor of its own."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[Path, int] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, path: Path) -> IO[bytes]:
        """Open a file. Raises FileNotFoundError."""
        kept = self._kept.get(path)
        if kept is not None and os.fstat(kept).st_nlink:
            return os.fdopen(os.dup(kept), "rb", buffering=0)
        file = await asyncio.to_thread(path.open, "rb", 0)
        with suppress(OSError):  # no descriptor left to keep
            self._keep(path, os.dup(file.fileno()))
        return file

    async def close(self) -> None:
        """Keep nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept, self._kept = self._kept, OrderedDict()
        await asyncio.to_thread(_close, kept.values())

    def _keep(self, path: Path, descriptor: int) -> None:
        leaving = [self._kept.pop(path)] if path in self._kept else []
        self._kept[path] = descriptor
        if len(self._kept) > self._most:
            leaving.append(self._kept.popitem(last=False)[1])
        loop = asyncio.get_running_loop()
        if leaving:
            loop.run_in_executor(None, _close, leaving)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._forget, loop)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        kept, self._kept = self._kept, OrderedDict()
        loop.run_in_executor(None, _close, kept.values())


def _close(descriptors: Iterable[int]) -> None:
    """Close in a thread: the last descriptor of a removed file gives its space back first."""
    for descriptor in descriptors:
        os.close(descriptor)
