"""A registry without HTTP: its services, a clock that the tests move, and pushes in one line."""

import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from starlette.types import Message

from auth.accounts import insert_user
from auth.principals import Principal
from auth.signing_keys import make_keys
from registry.app import FORMATS, Services, wire
from registry.body import Body
from registry.config import Config
from registry.gc import LEASE, Collector
from registry.leases import Term
from registry.manifests import OCI_INDEX, OCI_MANIFEST
from registry.purging import LEASE as LEASE_OF_PURGES
from registry.purging import Purging
from registry.restoration import Restoration
from storage import migrations
from storage.blobs import Stored
from storage.clock import SECOND, now
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import NotFound
from storage.filesystem import FilesystemStore
from storage.names import parse_repository, parse_tag

HOUR = 3600
DAY = 24 * HOUR
LAYER = "application/vnd.oci.image.layer.v1.tar"
APP = "admin/app"

TABLES = {
    "packages": "id, revision, deleted_at, deletion_id",
    "blobs": "id, digest, size, key, orphaned_at",
    "repository_blobs": "repository_id, blob_id, uploaded_at, orphaned_at",
    "manifest_contents": "id, digest",
    "manifests": "id, repository_id, content_id, deleted_at, deletion_id",
    "manifest_blobs": "manifest_id, repository_id, blob_id",
    "manifest_children": "parent_id, child_id",
    "tags": "repository_id, name, manifest_id",
    "tag_history": "id, repository_id, name, content_id",
    "deletions": "id, repository_id, deleted_at",
    "deleted_tags": "deletion_id, name, manifest_id",
    "uploads": "id, offset_bytes, closed_at",
    "upload_segments": "upload_id, start_byte, key",
    "trash": "key, due_at",
    "leases": "name, fence, held_until",
    "events": "id, kind",
}


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


class AgingStore(FilesystemStore):
    """Files as old as the tests' clock says."""

    def __init__(self, directory: Path, clock: SetClock) -> None:
        super().__init__(directory, reserve=0)
        self._clock = clock

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        stored = await super().write(chunks)
        at = self._clock()
        os.utime(self.path(stored.key), ns=(at * 1000, at * 1000))
        return Stored(stored.key, stored.size, at)

    async def discard_drafts(self, before: int) -> int:
        """Drafts carry the machine's time: they are being written."""
        return await super().discard_drafts(before - self._clock() + now())


class Depot:
    """Pushes, pulls and deletes as `admin`, who owns the repositories `admin/…`."""

    def __init__(self, database: Database, directory: Path, clock: SetClock) -> None:
        self.database = database
        self.directory = directory
        self.clock = clock
        self.store = AgingStore(directory, clock)
        self.services: Services = wire(Config(data=str(directory)), database, self.store, clock)
        self.who = Principal()

    async def populate(self) -> None:
        """Make schema, keys and the one user, unless another process has."""
        await self.database.migrate(migrations.load())
        at = self.clock()

        async def work(tx: Transaction) -> None:
            await make_keys(tx, at)
            await insert_user(tx, "admin", None, at, admin=True)

        await self.database.write(work)
        await self.enter()

    async def enter(self) -> None:
        """Sign in, and read the keys."""
        account = await self.services.accounts.get("admin")
        self.who = Principal(account.id, "admin", "user")
        await self.services.keys.load()

    async def close(self) -> None:
        await self.collector.sweep.close()
        await self.store.close()

    @property
    def collector(self) -> Collector:
        return self.services.collector

    async def term(self) -> Term:
        term = await self.services.leases.acquire(LEASE, HOUR, steal=True)
        assert term is not None
        return term

    async def gc(self) -> dict[str, int]:
        """Run gc until nothing is due; return what it removed."""
        term = await self.term()
        removed: dict[str, int] = {}
        finished = False
        while not finished:
            done = await self.collector.round(term)
            finished = done.finished
            for what, count in done.removed.items():
                removed[what] = removed.get(what, 0) + count
        return {what: count for what, count in removed.items() if count}

    async def push_blob(self, data: bytes, repository: str = APP) -> Digest:
        digest = Digest.of(data)
        name = parse_repository(repository)
        await self.services.uploads.put(self.who, name, digest, body(data))
        return digest

    async def append(self, upload: str, data: bytes, repository: str = APP) -> None:
        name = parse_repository(repository)
        await self.services.uploads.append(self.who, name, upload, body(data), None)

    async def begin(self, repository: str = APP) -> str:
        name = parse_repository(repository)
        return (await self.services.uploads.begin(self.who, name, "sha256")).text

    async def mount(self, digest: Digest, repository: str, source: str = APP) -> bool:
        name = parse_repository(repository)
        return await self.services.uploads.mount(self.who, name, digest, source)

    async def has_blob(self, digest: Digest, repository: str = APP) -> bool:
        """HEAD, by somebody who may push."""
        try:
            await self.services.blobs.find(self.who, parse_repository(repository), digest)
        except NotFound:
            return False
        return True

    async def read_blob(self, digest: Digest, repository: str = APP) -> bytes:
        blob = await self.services.blobs.find(self.who, parse_repository(repository), digest)
        return b"".join([piece async for piece in self.store.read(blob.key)])

    async def push(
        self,
        data: bytes,
        *tags: str,
        repository: str = APP,
    ) -> Digest:
        """Push the bytes of a manifest."""
        digest = Digest.of(data)
        await self.services.manifests.put(
            self.who,
            parse_repository(repository),
            digest,
            [parse_tag(tag) for tag in tags],
            data,
            None,
        )
        return digest

    async def push_image(self, *layers: bytes, tag: str = "v1", repository: str = APP) -> Digest:
        """Push layers and the manifest that names them."""
        for layer in layers:
            await self.push_blob(layer, repository)
        return await self.push(image(layers), *([tag] if tag else []), repository=repository)

    async def has(self, reference: str, repository: str = APP) -> bool:
        """Whether a manifest is there, by tag or digest."""
        return await self.read(reference, repository) is not None

    async def read(self, reference: str, repository: str = APP) -> bytes | None:
        parsed = Digest.parse(reference) if ":" in reference else parse_tag(reference)
        try:
            found = await self.services.manifests.find(
                self.who, parse_repository(repository), parsed
            )
        except NotFound:
            return None
        return found.data

    async def delete(self, reference: str, repository: str = APP) -> int:
        """Delete a manifest by digest or a tag by name; return the deletion's id."""
        name = parse_repository(repository)
        if ":" in reference:
            await self.services.deletion.delete_manifest(self.who, name, Digest.parse(reference))
        else:
            await self.services.deletion.delete_tag(self.who, name, parse_tag(reference))
        return (await self.services.restoration.list(repository))[-1].id

    async def rows(self, *tables: str) -> dict[str, list[tuple[object, ...]]]:
        """The rows of some tables, or of all."""
        return {
            table: sorted(
                tuple(row[i] for i in range(columns.count(",") + 1))
                for row in await self.database.fetch(f"select {columns} from {table}")
            )
            if table not in ("manifests", "blobs", "repository_blobs", "packages", "uploads")
            else [
                tuple(row[i] for i in range(columns.count(",") + 1))
                for row in await self.database.fetch(f"select {columns} from {table} order by 1, 2")
            ]
            for table, columns in TABLES.items()
            if not tables or table in tables
        }

    async def count(self, table: str) -> int:
        row = await self.database.fetch_one(f"select count(*) as n from {table}")
        assert row is not None
        return int(row["n"])

    def objects(self) -> list[str]:
        """The keys of all files on disk, drafts too."""
        return sorted(
            path.name
            for folder in ("blobs", "incoming")
            for path in (self.directory / folder).rglob("*")
            if path.is_file()
        )


async def purge_behind_another(depot: Depot, deletion: int) -> None:
    """Purge what another purge, which does not end, leaves to gc's next round."""

    async def at_once(_: float) -> None:
        return None

    leases = depot.services.leases
    held = await leases.acquire(LEASE_OF_PURGES, HOUR)
    assert held is not None
    purging = Purging(depot.collector, leases, sleep=at_once)
    restoration = Restoration(depot.database, purging, FORMATS, depot.clock)
    await restoration.purge(depot.who, APP, deletion)
    await held.release()


def body(data: bytes) -> Body:
    """A request's body that comes whole."""

    async def receive() -> Message:
        return {"type": "http.request", "body": data, "more_body": False}

    return Body(receive, len(data), 60)


def image(layers: Iterable[bytes], subject: bytes | None = None, note: str = "") -> bytes:
    """The bytes of a manifest of these layers; `subject` is another manifest's bytes."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "layers": [descriptor(LAYER, layer) for layer in layers],
        "annotations": {"note": note},
    }
    if subject is not None:
        document["subject"] = descriptor(OCI_MANIFEST, subject)
    return json.dumps(document).encode()


def index(children: Sequence[bytes], note: str = "") -> bytes:
    """The bytes of an index of these manifests."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(json.loads(child)["mediaType"], child) for child in children],
        "annotations": {"note": note},
    }
    return json.dumps(document).encode()


def descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}
