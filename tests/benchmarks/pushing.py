"""Rows that push, each time bytes that no server has seen; both contenders get the same."""

import os

from tests.benchmarks import files
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import Done, Load, Sample, load
from tests.benchmarks.servers import REGISTRY

LIMITS = {REGISTRY: Limits(1, 1.5)}


def make_one(bench: Bench) -> None:
    """Make one blob of 500 MB."""
    path = bench.home / "pushed"
    before = bench.fresh[0] if bench.fresh and bench.fresh[0].path == path else None
    bench.fresh = [files.renewed(before or files.noise(path, files.LARGE))]


def make_many(bench: Bench) -> None:
    """Make 200 blobs of 100 kB."""
    path = bench.home / "pushed-small"
    bench.fresh = files.many(path, files.SMALL_PUSHES, files.SMALL_PUSH)


def push_one(bench: Bench, name: str) -> Sample:
    """Megabytes per second from one connection, until the last 201."""
    return _push(bench, name, 1).speed()


def push_many(bench: Bench, name: str) -> Sample:
    """Blobs per second from eight connections, until the last 201."""
    return _push(bench, name, 8).rate()


def _push(bench: Bench, name: str, connections: int) -> Done:
    server = bench.server(name)
    headers = bench.headers(name, server)
    pieces = [piece.job() for piece in bench.fresh]
    os.sync()  # what the run before left to write is not this one's to pay
    work = Load("push", [bench.uploads()], connections, pieces=pieces, headers=headers)
    return load(server, work)


ROWS = [
    Row("push-500mb-1", "MB/s", LIMITS, push_one, before=make_one, cpu_per="GB"),
    Row("push-200-small-8", "blobs/s", LIMITS, push_many, before=make_many),
]
