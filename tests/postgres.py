"""A private PostgreSQL server for the tests of one session, and a fresh database for each test."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from glob import glob
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import pytest

CURE = "PostgreSQL is missing: apt-get install postgresql (initdb and postgres in PATH will do)"
SETTINGS = {
    "fsync": "off",  # the machine will not lose power on purpose
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "deadlock_timeout": "50ms",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1",
}


class PostgresServer:
    """A running server whose data dies with the session."""

    def __init__(self, directory: Path, binaries: Path) -> None:
        self._directory = directory
        self._binaries = binaries
        self._account = unprivileged_account()
        self._process: subprocess.Popen[str]
        self._databases = 0
        self.port = 0

    def url(self, name: str) -> str:
        return f"postgresql://packhouse@127.0.0.1:{self.port}/{name}?sslmode=disable"

    def start(self) -> None:
        if self._account:
            shutil.chown(self._directory, self._account["user"], self._account["group"])
        data = self._directory / "data"
        self._run("initdb", "-D", data, "-U", "packhouse", "-E", "UTF8", "-A", "trust", "-N")
        self.port = free_port()
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        where = ["-D", str(data), "-k", str(self._directory), "-p", str(self.port)]
        self._process = subprocess.Popen(
            [str(self._binaries / "postgres"), *where, *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            **self._account,
        )
        self._wait_until_ready()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast shutdown
        self._process.wait()
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    async def create_database(self) -> str:
        """Return the URL of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        await self._administer(f"create database {name} template template0")
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2].partition("?")[0]
        await self._administer(f"drop database {name} with (force)")

    async def _administer(self, sql: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def _run(self, program: str, *args: object) -> None:
        command = [str(self._binaries / program), *map(str, args)]
        subprocess.run(
            command, check=True, capture_output=True, cwd=self._directory, **self._account
        )

    def _wait_until_ready(self) -> None:
        """Read the server's log until it takes connections; then keep its pipe from filling."""
        assert self._process.stderr is not None
        log = []
        for line in self._process.stderr:
            log.append(line)
            if "ready to accept connections" in line:
                break
        else:
            pytest.fail("PostgreSQL did not start:\n" + "".join(log))
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()


def find_binaries() -> Path | None:
    """The directory of initdb and postgres: in PATH, or the newest of Debian's."""
    if shutil.which("initdb") and (server := shutil.which("postgres")):
        return Path(server).parent
    found = [Path(path).parent for path in glob("/usr/lib/postgresql/*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def unprivileged_account() -> dict[str, Any]:
    """What Popen needs where we are root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return skip_or_fail("PostgreSQL does not run as root: make a user postgres or nobody")


def skip_or_fail(cure: str) -> NoReturn:
    """A laptop may do without PostgreSQL; the build that decides may not."""
    if os.environ.get("CI"):
        pytest.fail(cure)
    pytest.skip(cure)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        skip_or_fail(CURE)
    # Not pytest's own directory: the server's user cannot look into it.
    with tempfile.TemporaryDirectory(prefix="packhouse-pg-") as directory:
        server = PostgresServer(Path(directory), binaries)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of an empty database that lives as long as the test."""
    url = await postgres_server.create_database()
    yield url
    await postgres_server.drop_database(url)
