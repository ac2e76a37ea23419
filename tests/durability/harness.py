"""A registry that is killed again and again, with its clients, on one data directory.

A round is: start, compare everything with what was acknowledged, resume and repeat what was
interrupted, let a day pass, so that garbage collection, which runs every second, has something to
remove, then work until a random request brings the kill.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx

from registry.app import open_services
from registry.config import Config
from registry.gc import LEASE
from storage import clock
from storage.connect import open_database
from storage.database import Database, Row
from storage.filesystem import FilesystemStore
from tests.durability.clients import Client
from tests.durability.shared import Shared, look_at_shared
from tests.registry.processes import PACKHOUSE, Server, environment, run, wait_for_end

CLIENTS = 3
HOURS = 25
"""How much time passes in a round: more than the grace, and a sweep is due again."""

REQUESTS = (20, 150)
"""How many requests a round brings before the kill, at least and at most."""

TIMES = {
    "repository_blobs": ("uploaded_at", "orphaned_at"),
    "blobs": ("orphaned_at",),
    "manifests": ("orphaned_at", "deleted_at"),
    "deletions": ("deleted_at",),
    "trash": ("due_at",),
    "leases": ("held_until",),
}
LEADER = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"


class Killable(Server):
    """A server in a process group of its own."""

    def __init__(self, data: Path, *options: object, **settings: str) -> None:
        super().__init__(data, *options, **settings)
        self._command = [sys.executable, "-IS", "-c", LEADER, *self._command]
        self.companion: subprocess.Popen[bytes] | None = None
        self.killed = False
        self._doomed: list[int] = []

    def kill(self) -> None:
        """End supervisor and workers at once, as a loss of power would."""
        self.killed = True
        self._doomed = self.workers()
        os.killpg(self.pid, signal.SIGKILL)
        if self.companion is not None:
            self.companion.kill()

    def wait(self) -> None:
        """Return when all of it is gone."""
        self.process.wait()
        wait_for_end(self._doomed)

    def kill_a_worker(self, rng: random.Random) -> None:
        found = self.workers()
        if found and not self.killed:
            os.kill(rng.choice(found), signal.SIGKILL)


class Crowd:
    """Clients, and the registry they work with, over many rounds."""

    def __init__(self, data: Path, url: str, seed: str) -> None:
        self.shared = Shared(seed, "postgresql" if url else "sqlite")
        self.clients = [Client(f"client-{number}", self.shared) for number in range(CLIENTS)]
        self.kills = {"group": 0, "worker": 0}
        self._data = data
        self._url = url
        self._rng = random.Random(seed)
        self._token = ""
        self._begun = 0
        self._plan: dict[int, Callable[[], None]] = {}

    async def round(self) -> None:
        """Start, compare, repeat, work, be killed."""
        async with AsyncExitStack() as stack:
            server = await self._start(stack)
            await self.compare()
            if self._rng.random() < 0.1:
                self.fsck("orphaned")  # gc may not have come to what the last crash left
            await self.let_time_pass()
            if self._rng.random() < 0.2:
                stack.enter_context(self._collecting(server))
            self._plan_kills(server)
            async with asyncio.TaskGroup() as group:
                for client in self.clients:
                    group.create_task(client.work(lambda: server.killed))
            server.wait()
        await self._barrier()
        await self.check_rows()

    async def end(self) -> None:
        """Compare once more, let gc remove what it may; nothing may be left that no row names."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self.compare()
            for client in self.clients:
                await client.recover()  # what was repeated is there as well
        await self.check_rows()
        for client in self.clients:
            client.let_time_pass()
        await drain(self._data, self._url)
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self.compare()
            self.fsck()

    async def compare(self) -> None:
        """Everything acknowledged is there; what was interrupted resumes or is repeated."""
        await look_at_shared(self.clients[0].http, self.shared)
        await asyncio.gather(*(client.recover() for client in self.clients))
        await asyncio.gather(*(client.finish_pending() for client in self.clients))

    def fsck(self, *allowed: str) -> None:
        """Run `packhouse fsck` beside the server: it finds nothing of any other kind."""
        done = run("fsck", "--json", "--data", self._data, **self._settings())
        assert done.returncode in (0, 1), done.stderr
        kinds = {finding["kind"] for finding in json.loads(done.stdout)["findings"]}
        assert kinds <= set(allowed), done.stdout
        self.shared.count("fsck")

    async def check_rows(self) -> None:
        """No row points at nothing, and the database is sound."""
        store = FilesystemStore(self._data, reserve=0)
        async with await open_database(self._url, self._data) as database:
            for row in await named(database):
                assert store.path(row["key"]).stat().st_size == row["size"], row["key"]
            if not self._url:
                said = {row[0] for row in await database.fetch("pragma integrity_check")}
                assert set(said) == {"ok"}
                assert list(await database.fetch("pragma foreign_key_check")) == []
        await store.close()

    async def let_time_pass(self) -> None:
        """Make everything a day older: rows, and files."""
        async with await open_database(self._url, self._data) as database:
            for table, columns in TIMES.items():
                for column in columns:
                    sql = f"update {table} set {column} = {column} - $1 where {column} is not null"
                    await database.execute(sql, HOURS * 3600 * clock.SECOND)
        for directory in ("blobs", "incoming"):
            for path in (self._data / directory).rglob("*"):
                if path.is_file():
                    before = path.stat().st_mtime - HOURS * 3600
                    os.utime(path, (before, before))
        for client in self.clients:
            client.let_time_pass()

    async def _start(self, stack: AsyncExitStack) -> Killable:
        server = stack.enter_context(
            Killable(
                self._data, "--workers", 2, **self._settings(PACKHOUSE_GC_INTERVAL_SECONDS="1")
            )
        )
        if not self._token:
            scope = ("--scope", "read,write,delete")
            made = run("token", "create", *scope, "--data", self._data, **self._settings())
            self._token = made.stdout.strip()
        for client in self.clients:
            client.barrier = self._barrier
            client.http = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=server.url,
                    headers={"Authorization": f"Bearer {self._token}"},
                    timeout=60,
                    event_hooks={"request": [self._count]},
                )
            )
        return server

    @contextmanager
    def _collecting(self, server: Killable) -> Iterator[None]:
        """Run `packhouse gc` beside the server, and kill it with it."""
        settings = environment(**self._settings())
        command = [PACKHOUSE, "gc", "--data", self._data]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=settings) as process:
            server.companion = process
            yield
        self.shared.count("gc")

    def _settings(self, **settings: str) -> dict[str, str]:
        kept = {"PACKHOUSE_DATABASE": self._url, "PACKHOUSE_RESTORE_SECONDS": "0"}
        return {**kept, **settings}

    def _plan_kills(self, server: Killable) -> None:
        """Choose the requests that bring a kill; often a worker goes before all of them do."""
        self._begun = 0
        self._plan = {}
        last = self._rng.randint(*REQUESTS)
        if self._rng.random() < 0.4:
            self._plan[self._rng.randint(1, last)] = lambda: self._kill_worker(server)
        self._plan[last] = lambda: self._kill(server)

    async def _count(self, _: httpx.Request) -> None:
        self._begun += 1
        kill = self._plan.pop(self._begun, None)
        if kill is not None:
            # Somewhere inside this request, or after it: the moment is the experiment.
            asyncio.get_running_loop().call_later(self._rng.uniform(0, 0.03), kill)

    def _kill(self, server: Killable) -> None:
        self.kills["group"] += 1
        server.kill()

    def _kill_worker(self, server: Killable) -> None:
        self.kills["worker"] += 1
        server.kill_a_worker(self._rng)

    async def _barrier(self) -> None:
        """Return when no transaction of a dead worker can still end: PostgreSQL may be at one.

        With SQLite there is none: a connection breaks when the last thread of its process is gone.
        """
        if not self._url:
            return
        connection = await asyncpg.connect(self._url)
        try:
            for table in ("packages", "uploads"):
                # Waits for whoever has written to it; they begin with one of these two.
                async with connection.transaction():
                    await connection.execute(f"lock table {table} in share row exclusive mode")
        finally:
            await connection.close()


async def named(database: Database) -> list[Row]:
    """Every object a row points at: its key and size."""
    rows: list[Row] = []
    for table in ("blobs", "upload_segments"):
        rows += await database.fetch(f"select key, size from {table}")
    return rows


class Later:
    """The clock, set forward."""

    def __init__(self) -> None:
        self.hours = 0

    def __call__(self) -> int:
        return clock.now() + self.hours * 3600 * clock.SECOND


async def drain(data: Path, url: str) -> None:
    """Let days pass in garbage collection, then check that nothing is left that no row names."""
    later = Later()
    config = Config(data=str(data), database=url, reserve_bytes=0, restore_seconds=0)
    async with open_services(config, later) as services:
        for _ in range(6):
            later.hours += HOURS
            term = await services.leases.acquire(LEASE, 3600, steal=True)
            assert term is not None
            while any((await services.collector.round(term)).removed.values()):
                pass
            await term.release()
        await services.collector.sweep.close()
        keys = {stored.key async for stored in services.store.list()}
        assert keys == {row["key"] for row in await named(services.database)}
        assert list(await services.database.fetch("select key from trash")) == []
        (uploads,) = await services.database.fetch("select count(*) as n from uploads")
        assert uploads["n"] == 0
    assert list((data / "incoming").glob("*")) == []
    await forget_lease(data, url)


async def forget_lease(data: Path, url: str) -> None:
    async with await open_database(url, data) as database:
        await database.execute("update leases set held_until = 0")
