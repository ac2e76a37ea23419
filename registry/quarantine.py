"""Where fsck puts objects that nobody should read: `<data>/quarantine`, with why beside each."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from storage.blobs import BlobStore, closing
from storage.errors import BlobMissing


class Quarantine:
    """A directory of objects taken out of the store; nothing reads it, people may empty it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def take(self, store: BlobStore, key: str, about: Mapping[str, object]) -> None:
        """Move an object here, durable before the store forgets it; a missing one is fine."""
        with suppress(BlobMissing):
            await asyncio.to_thread(self._directory.mkdir, mode=0o700, exist_ok=True)
            await self._copy(store, key)
            await asyncio.to_thread(self._seal, key, json.dumps(about) + "\n")
            await store.delete([key])

    async def _copy(self, store: BlobStore, key: str) -> None:
        path = store.path(key)
        if path is not None and await asyncio.to_thread(_link, path, self._directory / key):
            return
        draft = self._directory / f"{key}.part"
        with await asyncio.to_thread(open, draft, "wb", opener=_open_private) as out:
            async with closing(store.read(key)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(out.write, piece)
            await asyncio.to_thread(os.fsync, out.fileno())
        await asyncio.to_thread(draft.replace, self._directory / key)

    def _seal(self, key: str, about: str) -> None:
        with open(self._directory / f"{key}.json", "w", opener=_open_private) as out:
            out.write(about)
            out.flush()
            os.fsync(out.fileno())
        for directory in (self._directory, self._directory.parent):
            sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Make a directory's entries durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file, which nobody changes, a second name; copy it, durably, where that cannot be.

    Raises FileNotFoundError when `source` is gone.
    """
    if _link(source, target):
        return
    draft = target.with_name(f"{target.name}.part")
    with source.open("rb") as data, open(draft, "wb", opener=_open_private) as out:
        shutil.copyfileobj(data, out, 1024 * 1024)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(target)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return True
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
