"""Backups while serving: rows first, then the objects they name. Incremental by key.

    DIR/backup.json            what is here: counts, and the SHA-256 of every file of the snapshot
    DIR/snapshot-<when>/       the rows: an SQLite file, or one COPY file a table
    DIR/snapshot-<when>/objects.tsv    key, size and digest of every object the rows name
    DIR/blobs/ab/<key>         the objects: hard links where the file system allows

An object never changes under its key, so one that is here is not copied again. The rows come
first: whatever they name is there until gc's delays have passed, and an object that goes while we
copy means new rows, so another snapshot. `backup.json` is replaced last; until then the backup
before is whole, and only then what it alone needed goes.

A hard link shares its bytes with the registry: a backup that outlives the disk is on another one.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from registry.config import Config
from registry.progress import Progress
from registry.quarantine import link_or_copy, sync_directory
from storage import sqlite_backup
from storage.blobs import BlobStore, closing
from storage.clock import Clock, rfc3339
from storage.database import Database
from storage.errors import BlobMissing, Conflict, Invalid

FORMAT = 1
MANIFEST = "backup.json"
OBJECTS = "objects.tsv"
_NEEDED = {"engine", "files", "objects", "oldest_reader", "schema", "snapshot"}

SNAPSHOTS = 5
"""Attempts to copy faster than gc removes."""

FIND_KEY = "select key from blobs where digest = $1 and damaged_at is null"


@dataclass(frozen=True, slots=True)
class Object:
    """A line of objects.tsv."""

    key: str
    size: int
    digest: str


@dataclass(slots=True)
class Copied:
    """What one pass over the objects did; the lists hold digests."""

    count: int = 0
    bytes: int = 0
    added: int = 0
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


class Backup:
    """Writes one directory, from nothing or from what the last backup left there."""

    def __init__(
        self, config: Config, database: Database, store: BlobStore, clock: Clock, directory: Path
    ) -> None:
        self._config = config
        self._database = database
        self._store = store
        self._clock = clock
        self._directory = directory
        self._blobs = directory / "blobs"

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Make the backup and return its manifest. Raises Invalid, Conflict, Unavailable."""
        await asyncio.to_thread(self._prepare)
        for _ in range(SNAPSHOTS):
            snapshot, facts = await self._snapshot()
            copied = await self._copy(snapshot, progress)
            if not copied.stale:
                break
            await asyncio.to_thread(shutil.rmtree, snapshot)
        else:
            raise Conflict("objects were removed faster than they could be copied: try again")
        manifest = {
            "format": FORMAT,
            "complete": True,
            "packhouse": version("packhouse"),
            "made_at": rfc3339(self._clock()),
            "engine": self._database.engine,
            "snapshot": snapshot.name,
            "files": await asyncio.to_thread(_digests, snapshot),
            "objects": {"count": copied.count, "bytes": copied.bytes, "missing": copied.missing},
            **facts,
        }
        await asyncio.to_thread(self._finish, manifest)
        return {**manifest, "added": copied.added}

    def _prepare(self) -> None:
        data, directory = self._config.directory.resolve(), self._directory.resolve()
        if data == directory or data in directory.parents or directory in data.parents:
            raise Invalid(f"{directory} and the data directory hold one another: choose another")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / MANIFEST).exists():
            if any(directory.iterdir()):
                raise Invalid(f"{directory} holds something, and no backup: choose an empty one")
            directory.chmod(0o700)
            self._write({"format": FORMAT, "complete": False})
        elif read_manifest(directory)["format"] != FORMAT:
            raise Invalid(f"{directory} holds a backup of another format: choose another directory")
        self._blobs.mkdir(mode=0o700, exist_ok=True)

    async def _snapshot(self) -> tuple[Path, dict[str, Any]]:
        """Copy the rows; return where they are, and what the driver says about them."""
        target = self._directory / f"snapshot-{self._clock()}"
        await asyncio.to_thread(target.mkdir, mode=0o700)
        objects = target / OBJECTS
        if self._config.database:
            from storage import postgres_backup  # noqa: PLC0415 - its driver is large

            return target, await postgres_backup.export(self._config.database, target, objects)
        source = self._config.directory
        return target, await asyncio.to_thread(sqlite_backup.export, source, target, objects)

    async def _copy(self, snapshot: Path, progress: Progress) -> Copied:
        copied = Copied()
        for prefix, group in groupby(read_objects(snapshot), lambda found: found.key[:2]):
            directory = self._blobs / prefix
            await asyncio.to_thread(directory.mkdir, mode=0o700, exist_ok=True)
            for found in group:
                await self._copy_one(found, directory / found.key, copied)
                progress.advance(found.size)
            await asyncio.to_thread(sync_directory, directory)
        return copied

    async def _copy_one(self, found: Object, target: Path, copied: Copied) -> None:
        copied.count += 1
        copied.bytes += found.size
        if await asyncio.to_thread(_has_size, target, found.size):
            return
        try:
            await self._fetch(found.key, target)
        except (FileNotFoundError, BlobMissing):
            row = await self._database.fetch_one(FIND_KEY, found.digest)
            same = row is not None and row["key"] == found.key
            (copied.missing if same else copied.stale).append(found.digest)
            return
        copied.added += 1
        if not await asyncio.to_thread(_has_size, target, found.size):
            copied.missing.append(found.digest)

    async def _fetch(self, key: str, target: Path) -> None:
        await asyncio.to_thread(target.unlink, missing_ok=True)
        path = self._store.path(key)
        if path is not None:
            await asyncio.to_thread(link_or_copy, path, target)
            return
        draft = target.with_name(f"{key}.part")
        async with closing(self._store.read(key)) as pieces:
            with await asyncio.to_thread(open, draft, "wb") as out:
                async for piece in pieces:
                    await asyncio.to_thread(out.write, piece)
                out.flush()
                await asyncio.to_thread(os.fsync, out.fileno())
        await asyncio.to_thread(draft.replace, target)

    def _finish(self, manifest: dict[str, Any]) -> None:
        """Make all durable, name the new snapshot, and drop what only older ones needed."""
        snapshot = self._directory / manifest["snapshot"]
        for file in snapshot.iterdir():
            file.chmod(0o600)
            with file.open("rb") as written:
                os.fsync(written.fileno())
        for directory in (snapshot, self._blobs, self._directory):
            sync_directory(directory)
        self._write(manifest)
        for old in self._directory.glob("snapshot-*"):
            if old != snapshot:
                shutil.rmtree(old)
        self._prune(snapshot)

    def _prune(self, snapshot: Path) -> None:
        groups = groupby(read_objects(snapshot), lambda found: found.key[:2])
        named = ((prefix, {found.key for found in group}) for prefix, group in groups)
        kept: tuple[str, set[str]] | None = next(named, None)
        for directory in sorted(self._blobs.iterdir()):
            while kept is not None and kept[0] < directory.name:
                kept = next(named, None)
            keys = kept[1] if kept is not None and kept[0] == directory.name else set()
            for file in directory.iterdir():
                if file.name not in keys:
                    file.unlink()

    def _write(self, manifest: dict[str, Any]) -> None:
        draft = self._directory / f"{MANIFEST}.tmp"
        with draft.open("w") as out:
            out.write(json.dumps(manifest, indent=2) + "\n")
            out.flush()
            os.fsync(out.fileno())
        draft.chmod(0o600)
        draft.replace(self._directory / MANIFEST)
        sync_directory(self._directory)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a backup. Raises Invalid."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        done = not manifest["complete"] or (
            manifest.keys() >= _NEEDED and re.fullmatch(r"snapshot-[0-9]+", manifest["snapshot"])
        )
        if isinstance(manifest["format"], int) and done:
            return dict(manifest)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise Invalid(f"{directory} holds no backup that can be read: {MANIFEST} is missing or damaged")


def read_objects(snapshot: Path) -> Iterator[Object]:
    """Yield the objects of a snapshot in the order of their keys."""
    with (snapshot / OBJECTS).open() as lines:
        for line in lines:
            key, size, digest = line.rstrip("\n").split("\t")
            yield Object(key, int(size), digest)


def changed_files(directory: Path, manifest: dict[str, Any]) -> Sequence[str]:
    """Return the names of the snapshot's files that are not as the manifest says. Blocking."""
    found = _digests(directory / manifest["snapshot"])
    names = sorted({*found, *manifest["files"]})
    return [name for name in names if found.get(name) != manifest["files"].get(name)]


def _digests(snapshot: Path) -> dict[str, str]:
    found = {}
    for file in sorted(snapshot.iterdir()):
        with file.open("rb") as data:
            found[file.name] = hashlib.file_digest(data, "sha256").hexdigest()
    return found


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except FileNotFoundError:
        return False
