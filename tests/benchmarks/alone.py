"""Rows for which a server is started anew: its first request, and the memory of its workers."""

import time
from collections.abc import Callable

from tests.benchmarks.bench import TAG, Bench, Limits, Row
from tests.benchmarks.drive import Load, RunFailed, Sample, load
from tests.benchmarks.load import Connection
from tests.benchmarks.servers import REGISTRY, Contender, Elsewhere, Server
from tests.clients.images import DOCKER_MANIFEST

TRANSFERS = 64
SLOW_BYTES = 1_000_000
"""What a slow reader reads in a second."""


def start(bench: Bench, name: str) -> Sample:
    """Seconds from the start of the process to the end of its first answer."""
    return _first(bench, name)[0]


def first_request(bench: Bench, name: str) -> Sample:
    """Milliseconds of the first request to a server that listens."""
    return _first(bench, name)[1]


def uploads(bench: Bench, name: str) -> Sample:
    """Megabytes of the largest worker after 64 uploads at once."""
    contender = _ours(bench, name)
    with contender.running() as server:
        headers = bench.headers(name, server)
        pieces = [bench.medium.job()] * TRANSFERS
        work = Load("push", [bench.uploads()], TRANSFERS, pieces=pieces, headers=headers)
        return load(server, work).sample(server.peak_memory() / 1e6)


def slow_readers(bench: Bench, name: str) -> Sample:
    """Megabytes of the largest worker after 64 downloads to readers of 1 MB/s."""
    contender = _ours(bench, name)
    seconds = 2 if bench.quick else 6
    with contender.running() as server:
        headers = bench.headers(name, server)
        target = bench.blob(bench.medium)
        work = Load("slow", [target], TRANSFERS, seconds, SLOW_BYTES, headers=headers)
        return load(server, work).sample(server.peak_memory() / 1e6)


def _ours(bench: Bench, name: str) -> Contender:
    """Return a contender that can be started, seeded and stopped. Raises RunFailed."""
    contender = bench.contender(name)
    if isinstance(contender, Elsewhere):
        raise RunFailed(f"{name} is not ours to start")
    bench.close()
    bench.seed(name)
    return contender


def _first(bench: Bench, name: str) -> tuple[Sample, Sample]:
    contender = _ours(bench, name)
    headers = bench.known_headers(name)
    if headers is None:  # to fetch it later would be the first request
        with contender.running() as server:
            headers = bench.headers(name, server)
    with contender.running() as server:
        began = time.monotonic()
        _ask(server, bench.manifest(TAG), headers)
        ended = time.monotonic()
        cpu = server.cpu_seconds()
    started = Sample(ended - server.started_at, 1, 0, cpu)
    return started, Sample((ended - began) * 1000, 1, 0, cpu)


def _ask(server: Server, target: str, headers: dict[str, str]) -> None:
    job = {"host": server.host, "headers": {**headers, "Accept": DOCKER_MANIFEST}}
    connection = Connection(job)
    answer = connection.ask("GET", target)
    answer.require(200)
    connection.finish(answer)
    connection.socket.close()


def _start(name: str, unit: str, measure: Callable[[Bench, str], Sample]) -> Row:
    return Row(name, unit, {REGISTRY: Limits()}, measure, lower=True, cpu_per="start")


def _memory(name: str, measure: Callable[[Bench, str], Sample]) -> Row:
    """A row whose limits are megabytes of our own, whatever the other needs."""
    limits = {REGISTRY: Limits(150, 100)}
    return Row(name, "MB", limits, measure, lower=True, absolute=True, pairs=1, cpu_per="GB")


ROWS = [
    _start("start", "s", start),
    _start("first-request", "ms", first_request),
    _memory("memory-64-uploads", uploads),
    _memory("memory-64-slow-readers", slow_readers),
]
