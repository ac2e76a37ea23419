"""A database that is busy or gone: 503 with Retry-After, and recovery by itself."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.durability.site import IMAGE, PUSHES, Site, push_whole
from tests.postgres import CURE, SETTINGS, PostgresServer, find_binaries, skip_or_fail
from tests.registry.client import digest_of
from tests.registry.processes import Server

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin exclusive")
connection.execute("update packages set revision = revision")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(data: Path) -> Iterator[None]:
    """A foreign process with an exclusive transaction; when it ends, so does that."""
    command = [sys.executable, "-c", HOLDER, str(data / "packhouse.db")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:  # type: ignore[call-overload]
        try:
            assert holder.stdout.readline() == "held\n"
            yield
        finally:
            holder.kill()


def test_sqlite_locked_by_somebody_else_is_busy_and_reads_go_on(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", 2) as server, Site(server) as site:
        site.keep_image()
        data = site.new()
        with held(server.data):
            site.refused(push_whole(site, data), 503)
            site.check_kept()
        assert not site.has(data)
        recovers(site, data)


class Restartable(PostgresServer):
    """A PostgreSQL that is stopped and started within a test, on one port."""

    def start_again(self) -> None:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        where = ["-D", str(self._directory / "data"), "-k", str(self._directory)]
        self._process = subprocess.Popen(
            [str(self._binaries / "postgres"), *where, "-p", str(self.port), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            **self._account,
        )
        self._wait_until_ready()

    def signal_all(self, number: int) -> None:
        """Signal the server and all its processes."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in (self._process.pid, *map(int, children.read_text().split())):
            os.kill(pid, number)


@pytest.fixture
def postgres() -> Iterator[Restartable]:
    binaries = find_binaries()
    if binaries is None:
        skip_or_fail(CURE)
    with tempfile.TemporaryDirectory(prefix="packhouse-pg-") as directory:
        server = Restartable(Path(directory), binaries)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def on(postgres: Restartable, url: str, data: Path) -> Iterator[Site]:
    settings = {"PACKHOUSE_DATABASE": url}
    with Server(data, "--workers", 2, **settings) as server, Site(server, **settings) as site:
        yield site


async def test_a_postgresql_that_is_stopped_is_gone_until_it_is_back(
    postgres: Restartable, tmp_path: Path
) -> None:
    with on(postgres, await postgres.create_database(), tmp_path / "data") as site:
        image = site.keep_image()
        pushed = [site.new() for _ in range(3)]
        postgres.stop()
        for data in pushed:
            site.refused(push_whole(site, data), 503)
        site.refused(site.http.get(f"{IMAGE}/manifests/v1"), 503)
        site.refused(site.http.delete(f"{IMAGE}/manifests/{image.digest}"), 503)
        postgres.start_again()
        for data in pushed:
            assert not site.has(data)
            recovers(site, data)


@pytest.mark.skipif("SOAK" not in os.environ, reason="a minute of patience: SOAK=1 runs it")
async def test_a_postgresql_that_hangs_is_gone_until_it_goes_on(
    postgres: Restartable, tmp_path: Path
) -> None:
    with on(postgres, await postgres.create_database(), tmp_path / "data") as site:
        site.keep_image()
        data = site.new()
        postgres.signal_all(signal.SIGSTOP)
        try:
            site.refused(push_whole(site, data), 503)
        finally:
            postgres.signal_all(signal.SIGCONT)
        recovers(site, data)


def recovers(site: Site, data: bytes) -> None:
    """The same server takes what it refused, and has everything it acknowledged."""
    for push in PUSHES:
        site.acknowledged(push(site, data), f"{IMAGE}/blobs/{digest_of(data)}", data)
    site.check_kept()
