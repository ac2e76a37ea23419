"""`db.write` against `BEGIN IMMEDIATE` a transaction: `python -m tests.benchmarks.write_path`.

Two processes with eight writers each push, as it were, for some seconds: six inserts and an update
a transaction, synchronous=FULL. Meanwhile each process does a point read every half millisecond on
its event loop. Both ways run in turn, three times; the last line has the medians of their ratios.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from storage import sqlite_connection as sqlite
from storage.database import Transaction
from storage.sqlite import SqliteDatabase
from storage.sqlite_writer import SqliteTransaction

PROCESSES = 2
WRITERS = 8
PAIRS = 3
SECONDS = 4.0
PACKAGES = 64
MANIFEST = bytes(1200)
READ_EVERY = 0.0005

SCHEMA = """
create table packages (id integer primary key, revision bigint not null);
create table manifests (id text primary key, package_id bigint not null, bytes blob not null);
create table edges (manifest_id text, blob_id bigint, primary key (manifest_id, blob_id))
  without rowid;
create table tags (package_id bigint, name text, manifest_id text not null,
  primary key (package_id, name)) without rowid;
create table versions (id integer primary key, package_id bigint not null, name text not null);
create table events (id integer primary key, kind text not null, subject text not null);
"""
BUMP = "update packages set revision = revision + 1 where id = $1"
INSERT_MANIFEST = "insert into manifests (id, package_id, bytes) values ($1, $2, $3)"
INSERT_EDGE = "insert into edges (manifest_id, blob_id) values ($1, $2)"
UPSERT_TAG = """
insert into tags (package_id, name, manifest_id) values ($1, $2, $3)
on conflict (package_id, name) do update set manifest_id = excluded.manifest_id
"""
INSERT_VERSION = "insert into versions (package_id, name) values ($1, $2)"
INSERT_EVENT = "insert into events (kind, subject) values ($1, $2)"
READ = "select revision from packages where id = $1"


async def push(tx: Transaction, package: int, name: str) -> None:
    """One push: a manifest, two edges, a tag, a version, an event, a new revision."""
    await tx.execute(BUMP, package)
    await tx.execute(INSERT_MANIFEST, name, package, MANIFEST)
    await tx.execute(INSERT_EDGE, name, 1)
    await tx.execute(INSERT_EDGE, name, 2)
    await tx.execute(UPSERT_TAG, package, name[-2:], name)
    await tx.execute(INSERT_VERSION, package, name)
    await tx.execute(INSERT_EVENT, "push", name)


class Times(NamedTuple):
    """Seconds that each write and each read took."""

    writes: list[float]
    reads: list[float]


# One of the processes


async def grouped(directory: Path, process: int, seconds: float) -> Times:
    """Eight tasks that call `db.write`."""
    async with await SqliteDatabase.open(directory) as database:
        ready()
        times, end = Times([], []), time.perf_counter() + seconds

        async def write(writer: int) -> None:
            for number in count():
                begun = time.perf_counter()
                if begun >= end:
                    return
                name = f"{process}-{writer}-{number}"
                await database.write(partial(push, package=number % PACKAGES, name=name))
                times.writes.append(time.perf_counter() - begun)

        async def read(package: int) -> None:
            await database.fetch_one(READ, package)

        await asyncio.gather(
            *(write(writer) for writer in range(WRITERS)), reads(read, times.reads, end)
        )
    return times


async def immediate(directory: Path, process: int, seconds: float) -> Times:
    """Eight threads, each with a connection of its own and a transaction at a time."""
    path = directory / "packhouse.db"
    reader = sqlite.connect_reader(path)
    opened, start = threading.Barrier(WRITERS + 1), threading.Barrier(WRITERS + 1)
    times, end = Times([], []), 0.0

    def write(writer: int) -> None:
        connection = sqlite.connect_writer(path)
        connection.execute("pragma busy_timeout = 10000")
        opened.wait()
        start.wait()
        for number in count():
            begun = time.perf_counter()
            if begun >= end:
                break
            transact(connection, number % PACKAGES, f"{process}-{writer}-{number}")
            times.writes.append(time.perf_counter() - begun)
        connection.close()

    async def read(package: int) -> None:
        sqlite.fetch_one(reader, READ, (package,))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in writers:
        thread.start()
    opened.wait()
    ready()
    end = time.perf_counter() + seconds
    start.wait()
    await reads(read, times.reads, end)
    for thread in writers:
        thread.join()
    reader.close()
    return times


def transact(connection: sqlite3.Connection, package: int, name: str) -> None:
    connection.execute("begin immediate")
    work = push(SqliteTransaction(connection), package, name)
    try:
        work.send(None)
    except StopIteration:
        connection.execute("commit")


async def reads(read: Callable[[int], Awaitable[None]], times: list[float], end: float) -> None:
    for number in count():
        begun = time.perf_counter()
        if begun >= end:
            return
        await read(number % PACKAGES)
        times.append(time.perf_counter() - begun)
        await asyncio.sleep(READ_EVERY)


def ready() -> None:
    """Wait for the other process, so that both begin together."""
    print("ready", flush=True)
    sys.stdin.readline()


WAYS = {"db.write": grouped, "begin immediate": immediate}

# All of them


class Result(NamedTuple):
    """What one run of all processes came to: rates a second, milliseconds, microseconds."""

    commits: float
    p50: float
    p99: float
    longest: float
    read_p50: float
    read_p99: float


async def measure(way: str, seconds: float) -> Result:
    """Run one way in all processes, on a new database."""
    with tempfile.TemporaryDirectory(prefix="packhouse-bench-", dir=".") as name:
        directory = Path(name)
        async with await SqliteDatabase.open(directory) as database:
            for statement in SCHEMA.split(";")[:-1]:
                await database.execute(statement)
            for package in range(PACKAGES):
                await database.execute("insert into packages values ($1, 0)", package)
        return combine(run_processes(way, directory, seconds), seconds)


def run_processes(way: str, directory: Path, seconds: float) -> list[Times]:
    command = [sys.executable, "-m", __spec__.name, "--seconds", str(seconds), "--way", way]
    processes = [
        subprocess.Popen(
            [*command, "--directory", str(directory), "--process", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [Times(*json.loads(process.communicate()[0])) for process in processes]


def combine(found: Sequence[Times], seconds: float) -> Result:
    writes = sorted(t for times in found for t in times.writes)
    point_reads = sorted(t for times in found for t in times.reads)
    # A writer that waited beyond the end still ends: the time is what the last one took.
    return Result(
        commits=len(writes) / max(seconds, sum(writes) / (PROCESSES * WRITERS)),
        p50=at(writes, 0.5) * 1e3,
        p99=at(writes, 0.99) * 1e3,
        longest=writes[-1] * 1e3,
        read_p50=at(point_reads, 0.5) * 1e6,
        read_p99=at(point_reads, 0.99) * 1e6,
    )


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]


def table(results: dict[str, list[Result]]) -> str:
    """Render a row for each run, and the medians of the ratios within each pair."""
    heads = ("commits/s", "p50 ms", "p99 ms", "longest ms", "read p50 µs", "read p99 µs")
    lines = ["".join([f"{'':16}", *(f"{head:>13}" for head in heads)])]
    for number in range(PAIRS):
        for way, found in results.items():
            lines.append(f"{way:16}" + "".join(f"{value:13,.1f}" for value in found[number]))
    ours, plain = results.values()
    ratios = [[a / b for a, b in zip(*pair, strict=True)] for pair in zip(ours, plain, strict=True)]
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    return "\n".join([*lines, f"{'ratio':16}" + "".join(f"{value:12.3g}x" for value in medians)])


async def compare(seconds: float) -> str:
    results: dict[str, list[Result]] = {way: [] for way in WAYS}
    for _ in range(PAIRS):
        for way, found in results.items():
            found.append(await measure(way, seconds))
    return table(results)


def main() -> None:
    parser = argparse.ArgumentParser(description="The write path against BEGIN IMMEDIATE.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each of the six runs")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way is None:
        print(f"{PROCESSES} processes x {WRITERS} writers, SQLite {sqlite3.sqlite_version}, FULL")
        print(asyncio.run(compare(options.seconds)))
        return
    way = WAYS[options.way]
    print(json.dumps(asyncio.run(way(options.directory, options.process, options.seconds))))


if __name__ == "__main__":
    main()
