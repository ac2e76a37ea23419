"""Backups while serving, and the way back: everything acknowledged, byte for byte."""

import io
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.backup import Backup
from registry.progress import Progress
from storage.clock import now
from storage.filesystem import FilesystemStore
from tests.registry.client import OCI_MANIFEST, Client, digest_of, image_manifest
from tests.registry.processes import PATIENCE, Server, run
from tests.registry.world import World

REPOSITORY = "admin/app"


class Pusher:
    """Pushes images one after the other; each acknowledged one is in `pushed`."""

    def __init__(self, url: str, token: str, name: str) -> None:
        self._client = httpx.Client(base_url=url, auth=("admin", token), timeout=PATIENCE)
        self._name = name
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._push_all)
        self.pushed: dict[str, tuple[bytes, bytes]] = {}
        """By tag: the manifest and its layer."""
        self._error: BaseException | None = None

    def __enter__(self) -> "Pusher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)
        self._client.close()
        assert self._error is None

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: self._error or len(self.pushed) >= count, PATIENCE
            )

    def _push_all(self) -> None:
        try:
            while not self._ending.is_set():
                self._push(f"{self._name}-{len(self.pushed)}")
        except BaseException as error:
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def _push(self, tag: str) -> None:
        layer, config = os.urandom(50_000), json.dumps({"tag": tag}).encode()
        for data in (layer, config, b"a layer that all share"):
            push_blob(self._client, data)
        document = image_manifest(config, layer, b"a layer that all share")
        manifest = json.dumps(document).encode()
        done = self._client.put(
            f"/v2/{REPOSITORY}/manifests/{tag}",
            content=manifest,
            headers={"Content-Type": OCI_MANIFEST},
        )
        assert done.status_code == 201, done.text
        with self._changed:
            self.pushed[tag] = (manifest, layer)
            self._changed.notify_all()


def push_blob(client: httpx.Client, data: bytes) -> str:
    digest = digest_of(data)
    path = f"/v2/{REPOSITORY}/blobs/uploads/"
    done = client.post(path, params={"digest": digest}, content=data)
    assert done.status_code == 201, done.text
    return digest


def backup(data: Path, to: Path, status: int = 0, **settings: str) -> dict[str, Any]:
    done = run("backup", to, "--data", data, "--json", **settings)
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def restore(data: Path, source: Path, status: int = 0, **settings: str) -> str:
    done = run("restore", source, "--data", data, **settings)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def pushing(server: Server, token: str) -> Iterator[list[Pusher]]:
    with Pusher(server.url, token, "one") as one, Pusher(server.url, token, "two") as two:
        yield [one, two]


@pytest.fixture(params=["sqlite", "postgresql"])
async def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Settings of the database to back up, and of an empty one to restore into."""
    if request.param == "sqlite":
        yield {}, {}
        return
    server = request.getfixturevalue("postgres_server")
    urls = [await server.create_database(), await server.create_database()]
    yield tuple({"PACKHOUSE_DATABASE": url} for url in urls)
    for url in urls:
        await server.drop_database(url)


def read_back(server: Server, token: str, expected: dict[str, tuple[bytes, bytes]]) -> int:
    """Read every image byte for byte; return how many there are."""
    with httpx.Client(base_url=server.url, auth=("admin", token), timeout=PATIENCE) as client:
        tags = client.get(f"/v2/{REPOSITORY}/tags/list").json()["tags"]
        assert set(expected) <= set(tags)
        for tag in tags:
            manifest = client.get(f"/v2/{REPOSITORY}/manifests/{tag}").content
            blobs = [manifest_blob["digest"] for manifest_blob in members(manifest)]
            for digest in blobs:
                content = client.get(f"/v2/{REPOSITORY}/blobs/{digest}").content
                assert digest_of(content) == digest
            if tag in expected:
                assert manifest == expected[tag][0]
                assert digest_of(expected[tag][1]) in blobs
    return len(tags)


def members(manifest: bytes) -> list[dict[str, Any]]:
    document = json.loads(manifest)
    return [document["config"], *document["layers"]]


async def test_what_was_acknowledged_before_a_backup_comes_back_byte_for_byte(
    databases: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    data, to = tmp_path / "data", tmp_path / "backup"
    before, after = databases
    with Server(data, "--workers", 2, **before) as server:
        token = server.token()
        manifests, acknowledged = [], {}
        with pushing(server, token) as pushers:
            for round_ in range(1, 4):
                for pusher in pushers:
                    pusher.wait_for(5 * round_)
                acknowledged = {tag: it for one in pushers for tag, it in one.pushed.items()}
                manifests.append(backup(data, to, **before))
    counts = [manifest["objects"]["count"] for manifest in manifests]
    assert counts[0] < counts[1] < counts[2]
    assert [manifest["added"] for manifest in manifests] == [
        counts[0],
        counts[1] - counts[0],
        counts[2] - counts[1],
    ], "incremental"
    kept = [file for file in (to / "blobs").rglob("*") if file.is_file()]
    assert len(kept) == counts[2]
    assert all(file.stat().st_nlink == 2 for file in kept), "hard links"
    assert len(list(to.glob("snapshot-*"))) == 1

    place = tmp_path / "restored"
    assert f"restore: {counts[2]} objects" in restore(place, to, **after)
    done = run("fsck", "--data", place, "--json", **after)
    assert (done.returncode, json.loads(done.stdout)["checked"]["blobs"]) == (0, counts[2])
    with Server(place, **after) as server:
        assert read_back(server, token, acknowledged) >= len(acknowledged)
        with httpx.Client(base_url=server.url, auth=("admin", token)) as client:
            assert push_blob(client, b"and it goes on")
    assert not (place / "first-login.txt").exists()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with three blobs, its server stopped."""
    place = tmp_path / "data"
    with Server(place, "--workers", 1) as server, server.client() as client:
        for content in (b"first", b"second", b"third"):
            push_blob(client, content)
    return place


def file_of(place: Path, content: bytes) -> Path:
    files = (file for file in (place / "blobs").rglob("*") if file.is_file())
    (found,) = (file for file in files if file.read_bytes() == content)
    return found


def test_a_backup_is_its_owner_s_alone(data: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    backup(data, to)
    modes = {path: path.stat().st_mode & 0o777 for path in [to, *to.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_what_rows_no_longer_name_leaves_the_next_backup(data: Path, tmp_path: Path) -> None:
    import sqlite3

    to = tmp_path / "backup"
    assert backup(data, to)["objects"]["count"] == 3
    connection = sqlite3.connect(data / "packhouse.db")
    for table in ("repository_blobs", "blobs"):
        connection.execute(f"delete from {table}")
    connection.commit()
    connection.close()
    assert backup(data, to)["objects"]["count"] == 0
    assert [file for file in (to / "blobs").rglob("*") if file.is_file()] == []


def test_a_blob_whose_bytes_are_gone_is_reported_and_restored_as_damaged(
    data: Path, tmp_path: Path
) -> None:
    to, place = tmp_path / "backup", tmp_path / "restored"
    file_of(data, b"second").unlink()
    manifest = backup(data, to, status=1)
    assert manifest["objects"]["missing"] == [digest_of(b"second")]
    assert f"damaged\t{digest_of(b'second')}" in restore(place, to, status=1)
    with Server(place, "--workers", 1) as server, server.client() as client:
        path = f"/v2/{REPOSITORY}/blobs/"
        assert client.head(path + digest_of(b"second")).status_code == 404
        assert client.get(path + digest_of(b"third")).content == b"third"
        push_blob(client, b"second")
        assert client.get(path + digest_of(b"second")).content == b"second"


def test_bytes_that_changed_in_the_backup_are_not_restored(data: Path, tmp_path: Path) -> None:
    to, place = tmp_path / "backup", tmp_path / "restored"
    backup(data, to)
    file = file_of(to, b"second")
    file.unlink()
    file.write_bytes(b"SECOND")
    assert f"damaged\t{digest_of(b'second')}" in restore(place, to, status=1)


def test_a_backup_whose_rows_changed_is_refused(data: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    backup(data, to)
    (rows,) = to.glob("snapshot-*/packhouse.db")
    with rows.open("ab") as file:
        file.write(b"x")
    assert "is damaged: packhouse.db" in restore(tmp_path / "restored", to, status=2)
    assert not (tmp_path / "restored").exists()


def test_a_restore_takes_only_an_empty_place(data: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    backup(data, to)
    assert "is not empty: restore into a new data directory" in restore(data, to, status=1)
    place = tmp_path / "restored"
    place.mkdir()
    restore(place, to)
    assert "is not empty" in restore(place, to, status=1)


async def test_a_restore_takes_only_an_empty_database_of_the_same_kind(
    data: Path, tmp_path: Path, postgres_url: str
) -> None:
    settings = {"PACKHOUSE_DATABASE": postgres_url}
    to, place, of_postgres = tmp_path / "backup", tmp_path / "place", tmp_path / "of-postgres"
    backup(data, to)
    assert "is of a sqlite database" in restore(place, to, status=2, **settings)
    assert run("user", "list", "--data", data, **settings).returncode == 0
    backup(data, of_postgres, **settings)
    assert "is of a postgresql database" in restore(place, of_postgres, status=2)
    assert "the database is not empty" in restore(place, of_postgres, status=1, **settings)
    assert not place.exists()


def test_an_interrupted_restore_is_not_served(data: Path, tmp_path: Path) -> None:
    to, place = tmp_path / "backup", tmp_path / "restored"
    backup(data, to)
    restore(place, to)
    (place / "restoring").touch()
    for command in ("serve", "doctor"):
        done = run(command, "--data", place)
        assert done.returncode == (2 if command == "serve" else 1)
        assert "was interrupted: empty it, and restore anew" in done.stdout + done.stderr


class Elsewhere(FilesystemStore):
    """Has no local files, and does something else before the first object is read."""

    def __init__(self, directory: Path, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(directory)
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    def path(self, key: str) -> None:  # type: ignore[override]
        return None

    async def read(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            await meanwhile()
        async for piece in super().read(key, start, stop):
            yield piece


async def test_an_object_that_goes_while_it_is_copied_means_a_new_snapshot(
    world: World, writer: Client, tmp_path: Path
) -> None:
    for content in (b"replaced", b"stays"):
        await writer.push_blob("acme/app", content)
    file = await world.file_of_blob(digest_of(b"replaced"))

    async def replace() -> None:
        file.unlink()
        await writer.push_blob("acme/app", b"replaced")

    services, to = world.services, tmp_path / "backup"
    store = Elsewhere(world.config.directory, replace)
    run = Backup(world.config, services.database, store, now, to)
    manifest = await run.run(Progress("backup", 0, io.StringIO()))
    await store.close()
    assert (manifest["objects"]["count"], manifest["objects"]["missing"]) == (2, [])
    kept = [file.read_bytes() for file in (to / "blobs").rglob("*") if file.is_file()]
    assert sorted(kept) == [b"replaced", b"stays"]
    assert len(list(to.glob("snapshot-*"))) == 1


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 1, "complete": false}', '{"format": 1, "complete": true}']
)
def test_what_is_no_finished_backup_is_refused(tmp_path: Path, text: str) -> None:
    source = tmp_path / "backup"
    source.mkdir()
    assert "holds no backup" in restore(tmp_path / "restored", source, status=2)
    (source / "backup.json").write_text(text)
    line = restore(tmp_path / "restored", source, status=2)
    assert "holds no backup" in line or "was never finished" in line


def test_a_place_for_backups_is_new_or_one_and_apart_from_the_data(
    data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").write_text("dear")
    done = run("backup", other, "--data", data)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds something, and no backup" in done.stderr
    for place in (data, data / "backup", tmp_path):
        done = run("backup", place, "--data", data)
        assert done.returncode == 2
        assert "hold one another" in done.stderr
