"""Restoring a backup into an empty place, verifying every byte on the way.

The rows come first, under a marker that keeps a server from starting; then each object is written
through the store as a new one, hashed while it is written, and its row gets the new key. What the
backup lacks, or holds with other bytes, is marked damaged: the next push heals it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.backup import FORMAT, changed_files, read_manifest
from registry.config import Config
from registry.progress import Progress
from registry.quarantine import sync_directory
from registry.startup import RESTORING
from storage import migrations, sqlite_backup
from storage.blobs import PIECE, BlobStore, write_hashed
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.digest import Digest
from storage.errors import Conflict, Invalid

PAGE = 100

LIST_RESTORABLE = """
select id, digest, size, key from blobs where id > $1 and damaged_at is null order by id limit $2
"""
SET_KEY = "update blobs set key = $2 where id = $1"
SET_DAMAGED = "update blobs set damaged_at = $2 where id = $1"
# scan: these rows name objects that a backup does not hold
FORGET_SEGMENTS = "delete from upload_segments"
# scan: the same
FORGET_UPLOADS = "delete from uploads"
# scan: the same
FORGET_TRASH = "delete from trash"


@dataclass(slots=True)
class Restored:
    """What came back; `damaged` holds the digests of blobs that did not."""

    count: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)


async def check_source(directory: Path, config: Config) -> dict[str, Any]:
    """Return the manifest of a backup that can be restored here. Raises Invalid."""
    manifest = read_manifest(directory)
    if manifest["format"] != FORMAT or not manifest.get("complete"):
        raise Invalid(f"the backup in {directory} was never finished, or has another format")
    engine = "postgresql" if config.database else "sqlite"
    if manifest["engine"] != engine:
        raise Invalid(
            f"the backup in {directory} is of a {manifest['engine']} database, and the "
            f"configuration names {engine}: change 'database'"
        )
    latest = migrations.latest(migrations.load())
    if manifest["oldest_reader"] > latest or (config.database and manifest["schema"] > latest):
        raise Invalid(
            f"the backup has schema {manifest['schema']}, this Packhouse knows {latest}: "
            "install the newer release"
        )
    changed = await asyncio.to_thread(changed_files, directory, manifest)
    if changed:
        raise Invalid(f"the backup in {directory} is damaged: {', '.join(changed)}")
    return manifest


async def check_target(config: Config) -> None:
    """Refuse a data directory or a database that holds anything. Raises Conflict."""
    directory = config.directory
    if directory.exists() and any(directory.iterdir()):
        raise Conflict(f"{directory} is not empty: restore into a new data directory")
    if config.database:
        from storage import postgres_backup  # noqa: PLC0415 - its driver is large

        if not await postgres_backup.is_empty(config.database):
            raise Conflict("the database is not empty: restore into a new one")


async def load_rows(source: Path, manifest: dict[str, Any], config: Config) -> None:
    """Put the rows of a backup in their place; nothing may be started until `finish`."""
    snapshot, directory = source / manifest["snapshot"], config.directory
    marker = directory / RESTORING
    await asyncio.to_thread(marker.touch, mode=0o600)
    await asyncio.to_thread(sync_directory, directory)
    if config.database:
        from storage import postgres_backup  # noqa: PLC0415 - its driver is large

        await postgres_backup.load(snapshot, config.database, manifest)
    else:
        await asyncio.to_thread(sqlite_backup.load, snapshot, directory)
        await asyncio.to_thread(sync_directory, directory)


class Restore:
    """Brings the objects back, over the database just loaded."""

    def __init__(self, database: Database, store: BlobStore, clock: Clock, source: Path) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._blobs = source / "blobs"

    async def run(self, progress: Progress) -> Restored:
        """Write every object and give its row the new key."""
        restored, after = Restored(), 0
        await self._database.write(_forget)
        while rows := await self._database.fetch(LIST_RESTORABLE, after, PAGE):
            keys = [await self._bring(row, restored, progress) for row in rows]
            await self._set_keys([row["id"] for row in rows], keys)
            after = rows[-1]["id"]
        return restored

    async def _bring(self, row: Row, restored: Restored, progress: Progress) -> str | None:
        """Write one object; return its key, or None when the backup does not hold its bytes."""
        digest = Digest(row["digest"])
        file = self._blobs / row["key"][:2] / row["key"]
        progress.advance(row["size"])
        if await asyncio.to_thread(file.is_file):
            written = await write_hashed(self._store, _chunks(file), (digest.algorithm,))
            if written.digests[digest.algorithm] == digest:
                restored.count += 1
                restored.bytes += written.size
                return written.key
            await self._store.delete([written.key])
        restored.damaged.append(digest)
        return None

    async def _set_keys(self, ids: list[int], keys: list[str | None]) -> None:
        at = self._clock()

        async def work(tx: Transaction) -> None:
            for blob_id, key in zip(ids, keys, strict=True):
                if key is None:
                    await tx.execute(SET_DAMAGED, blob_id, at)
                else:
                    await tx.execute(SET_KEY, blob_id, key)

        await self._database.write(work)


def finish(config: Config) -> None:
    """Take the marker away: a server may start."""
    (config.directory / RESTORING).unlink()
    sync_directory(config.directory)


async def _forget(tx: Transaction) -> None:
    await tx.execute(FORGET_SEGMENTS)
    await tx.execute(FORGET_UPLOADS)
    await tx.execute(FORGET_TRASH)


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as data:
        while piece := await asyncio.to_thread(data.read, PIECE):
            yield piece
