"""Rows of a pull load beside a crowd of idle connections, slow readers and slow uploads."""

import asyncio
import statistics
from collections.abc import Callable

from registry.sockets import raise_descriptor_limit
from tests.benchmarks.bench import TAG, Bench, Limits, Row
from tests.benchmarks.drive import Load, RunFailed, Sample, load, rate
from tests.benchmarks.servers import REGISTRY, Server
from tests.clients.images import DOCKER_MANIFEST
from tests.load.crowd import Crowd, Size

FULL = Size(idle=2000, readers=500, uploads=200, pulls=0, seconds=50, turn=20)
QUICK = Size(idle=200, readers=50, uploads=20, pulls=0, seconds=10, turn=5)
CONNECTIONS = 8

Pull = Callable[[Bench, str, Server], Sample]


def manifests(bench: Bench, name: str, server: Server) -> Sample:
    """Requests per second of one manifest."""
    headers = {**bench.headers(name, server), "Accept": DOCKER_MANIFEST}
    return rate(server, bench.manifest(TAG), CONNECTIONS, bench.seconds, **headers)


def blobs(bench: Bench, name: str, server: Server) -> Sample:
    """Megabytes per second of blobs of 1 MB."""
    targets = [bench.blob(piece) for piece in bench.small]
    headers = bench.headers(name, server)
    work = Load("get", targets, CONNECTIONS, bench.seconds, headers=headers)
    return load(server, work).speed()


def beside(pull: Pull) -> Callable[[Bench, str], Sample]:
    """The rate of a pull load beside the crowd, of its rate alone just before and just after."""

    def measure(bench: Bench, name: str) -> Sample:
        server = bench.server(name)
        authorization = bench.headers(name, server).get("Authorization", "")
        port = int(server.host.rpartition(":")[2])
        size = QUICK if bench.quick else FULL
        crowd = Crowd(port, bench.repository, authorization, size)
        raise_descriptor_limit()
        before = pull(bench, name, server)
        try:
            found = asyncio.run(_beside(crowd, lambda: pull(bench, name, server)))
        except* (AssertionError, OSError) as failed:
            raise RunFailed(f"the crowd was not served: {failed.exceptions[0]}") from failed
        after = pull(bench, name, server)
        alone = statistics.mean((before.figure, after.figure))
        return Sample(found.figure / alone, found.requests, found.bytes, found.cpu_seconds)

    return measure


async def _beside(crowd: Crowd, pull: Callable[[], Sample]) -> Sample:
    await crowd.prepare()
    async with crowd.present():
        return await asyncio.to_thread(pull)


def _row(name: str, pull: Pull) -> Row:
    limits = {REGISTRY: Limits(floor=0.7)}
    return Row(name, "of alone", limits, beside(pull), absolute=True, takes=300)


ROWS = [_row("manifests-beside-crowd", manifests), _row("blobs-beside-crowd", blobs)]
