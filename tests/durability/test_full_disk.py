"""A disk that is full: pushes are told so, reads go on, and it recovers by itself."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.durability.faults import missing
from tests.durability.harness import drain
from tests.durability.model import image
from tests.durability.site import IMAGE, PUSHES, Site, push_whole
from tests.registry.client import digest_of
from tests.registry.processes import Server, run

MIB = 1024 * 1024
SIZE = 48
"""MiB of the disk."""

MOUNT = f'mount -t tmpfs -o size={SIZE}m,mode=700 none "$1" || exit 77; shift; exec "$@"'


class OnSmallDisk(Server):
    """A server whose data directory is a small file system that only it has."""

    def __init__(self, data: Path, *options: object, **settings: str) -> None:
        super().__init__(data, *options, **settings)
        data.mkdir(exist_ok=True)
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
        shell = ["unshare", *namespaces, "sh", "-c", MOUNT, "sh", str(data)]
        self._command = [*shell, *self._command]
        self._inside = data

    def __enter__(self) -> "OnSmallDisk":
        if shutil.which("unshare") is None:
            missing("unshare is missing: apt-get install util-linux")
        try:
            super().__enter__()
        except AssertionError:
            if self.process.returncode == 77 or "unshare failed" in self.text:
                missing(f"a disk cannot be mounted here, try as root: {self.text}")
            raise
        self.data = Path(f"/proc/{self.pid}/root{self._inside}")
        return self

    def bearer(self) -> str:
        """A token from the door: SQLite follows /proc/*/root as any link, and so to nowhere."""
        password = (self.data / "first-login.txt").read_text().strip()
        scope = {"scope": "repository:admin/image:pull,push,delete"}
        answer = self.get("/token", params=scope, auth=("admin", password))
        token: str = answer.json()["token"]
        return token

    def fill(self) -> None:
        """Leave no block free."""
        with (self.data / "ballast").open("ab", buffering=0) as ballast:
            for size in (MIB, 4096, 1):
                with suppress_no_space():
                    while True:
                        ballast.write(bytes(size))

    def empty(self) -> None:
        (self.data / "ballast").unlink()


class suppress_no_space(suppress):  # noqa: N801 - a context manager in the manner of contextlib
    """Ends at ENOSPC; everything else flies."""

    def __init__(self) -> None:
        super().__init__(OSError)

    def __exit__(self, kind, error, trace):  # type: ignore[no-untyped-def]
        return isinstance(error, OSError) and error.errno == errno.ENOSPC


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A registry of two workers on a small disk, with an image in it."""
    settings = {"PACKHOUSE_BEARER_SECONDS": "86400"}
    with (
        OnSmallDisk(tmp_path / "data", "--workers", 2, **settings) as server,
        Site(server, token=server.bearer()) as made,
    ):
        made.keep_image()
        yield made
        made.check_kept()
        assert "Traceback" not in server.text


def full(site: Site) -> OnSmallDisk:
    """The site's server, with its disk filled."""
    assert isinstance(site.server, OnSmallDisk)
    site.server.fill()
    return site.server


def test_a_full_disk_refuses_pushes_serves_reads_and_recovers_by_itself(site: Site) -> None:
    before, server = site.files(), full(site)
    pushed = [(push, site.new()) for push in PUSHES for _ in range(4)]
    for push, data in pushed:
        site.refused(push(site, data), 507)
        site.check_kept()
    assert site.files() == before
    server.empty()
    for push, data in pushed:
        assert not site.has(data)
        site.acknowledged(push(site, data), f"{IMAGE}/blobs/{digest_of(data)}", data)


def test_a_disk_that_fills_within_a_body_ends_it(site: Site) -> None:
    before = site.files()
    for push in PUSHES:
        site.refused(push(site, site.new((SIZE + 16) * MIB)), 507)
        assert site.files() == before
    site.keep_image("v2")


def test_rows_that_find_no_room_are_refused_or_there(site: Site) -> None:
    """A small row may find room in the log that is there; then it is acknowledged and kept."""
    config = site.new(100)
    site.acknowledged(push_whole(site, config), f"{IMAGE}/blobs/{digest_of(config)}", config)
    server = full(site)
    statuses = []
    made = [image(config, n=number, text="x" * 100_000) for number in range(60)]
    for number, each in enumerate(made):
        answer = site.put_manifest(each, f"n{number}")
        statuses.append(answer.status_code)
        if answer.status_code == 201:
            site.kept[f"{IMAGE}/manifests/n{number}"] = each.data
        else:
            site.refused(answer, 507)
            assert site.http.get(f"{IMAGE}/manifests/n{number}").status_code == 404
    assert 507 in statuses
    site.check_kept()
    server.empty()
    for number, each in enumerate(made):
        path = f"{IMAGE}/manifests/n{number}"
        wanted = 200 if statuses[number] == 201 else 404
        assert site.http.get(path).status_code == wanted
        site.acknowledged(site.put_manifest(each, f"n{number}"), path, each.data)


async def test_what_a_full_disk_leaves_behind_goes_with_gc(site: Site, tmp_path: Path) -> None:
    config = site.new(100)
    assert push_whole(site, config).status_code == 201
    server = full(site)
    for push in PUSHES:
        site.refused(push(site, site.new()), 507)
    for number in range(60):
        site.put_manifest(image(config, n=number, text="x" * 100_000), f"n{number}")
    server.empty()
    copy = tmp_path / "copy"
    shutil.copytree(server.data, copy)  # nobody writes to it now
    await drain(copy, "")


def test_gc_and_deletes_have_the_room_that_the_reserve_keeps(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data) as server, Site(server) as site:
        kept, gone = site.keep_image("kept"), site.keep_image("gone")
        token = site.token
        paths = site.kept
    with (
        Server(data, PACKHOUSE_RESERVE_BYTES=str(2**62)) as server,
        Site(server, token=token) as site,
    ):
        before = site.files()
        for push in PUSHES:
            site.refused(push(site, site.new()), 507)
        assert site.files() == before
        site.kept = {p: b for p, b in paths.items() if not p.endswith("/gone")}
        site.check_kept()
        assert site.http.delete(f"{IMAGE}/manifests/{gone.digest}").status_code == 202
        assert site.http.get(f"{IMAGE}/manifests/gone").status_code == 404
        assert site.http.get(f"{IMAGE}/manifests/{kept.digest}").status_code == 200
        done = run("gc", "--data", data)
        assert done.returncode == 0, done.stderr
