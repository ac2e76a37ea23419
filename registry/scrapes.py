"""The answer to a scrape: what every worker counted, added up, and what the machine has left.

It lives on the event loop of the metrics listener, in the supervisor. A worker that does not answer
in time counts with what it last said, so that no counter goes back; of one that is gone the
counters stay and the gauges do not.
"""

import asyncio
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from multiprocessing.connection import Connection

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from registry.config import Config
from registry.metrics import BOUNDS, FAMILIES, Family, Reading, parse_readings

PATIENCE_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024

Totals = dict[tuple[str, tuple[str, ...]], Sequence[float]]


class Member:
    """One worker, as scrapes know it."""

    def __init__(self, number: int, pid: int, line: Connection) -> None:
        self.number = number
        self.line = line
        self.readings: Sequence[Reading] = ()
        self.process = ProcessCollector("packhouse_worker", lambda: pid, registry=None)
        self._answer: asyncio.Future[None] | None = None

    @property
    def answered(self) -> bool:
        """Whether it lives, and has said what it was last asked."""
        return not self.line.closed and self._answer is not None and self._answer.done()

    def ask(self) -> asyncio.Future[None]:
        """Ask for readings; one that still owes an answer is not asked again."""
        if self._answer is None or self._answer.done():
            self._answer = asyncio.get_running_loop().create_future()
            try:
                self.line.send_bytes(b"readings")
            except OSError:  # it has died, and its successor has not begun
                self._answer.set_result(None)
        return self._answer

    def hear(self) -> None:
        """Take an answer, or the end of the line."""
        try:
            self.readings = parse_readings(self.line.recv_bytes(_MOST_BYTES))
        except (EOFError, OSError):
            self.end()
        self._settle()

    def end(self) -> None:
        """Close the line."""
        if not self.line.closed:
            asyncio.get_running_loop().remove_reader(self.line.fileno())
            self.line.close()
        self._settle()

    def _settle(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)


class Scrapes:
    """Asks the workers and renders a page, one scrape at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._members: dict[int, Member] = {}
        self._gone: Totals = {}
        self._replaced = 0
        self._turn = asyncio.Lock()

    def join(self, number: int, pid: int, line: Connection) -> None:
        """Know a worker; it takes the place of the one with its number, which has ended."""
        if number in self._members:
            self._replaced += 1
            self._retire(self._members.pop(number))
        member = self._members[number] = Member(number, pid, line)
        asyncio.get_running_loop().add_reader(line.fileno(), member.hear)

    async def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its media type, in the dialect that a scraper prefers."""
        encode, media_type = choose_encoder(accept)
        async with self._turn:
            if self._members:
                asked = [member.ask() for member in self._members.values()]
                await asyncio.wait(asked, timeout=PATIENCE_SECONDS)
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Ready(list(self._families())))
            page: bytes = encode(registry)
        return page, media_type

    def _retire(self, member: Member) -> None:
        member.end()
        lasting = (r for r in member.readings if FAMILIES[r[0]].kind != "gauge")
        self._gone = add_up(self._gone, lasting)

    def _families(self) -> Iterator[Metric]:
        totals, members = self._gone, list(self._members.values())
        for member in members:
            totals = add_up(totals, _counting(member))
        yield from render_families(totals)
        yield from _processes(members)
        up = GaugeMetricFamily(
            "packhouse_worker_up", "Whether a worker answered this scrape.", labels=["worker"]
        )
        for member in members:
            up.add_metric([str(member.number)], float(member.answered))
        yield up
        yield CounterMetricFamily(
            "packhouse_workers_replaced", "Workers that died and were replaced.", self._replaced
        )
        yield _build()
        yield from _space(self._config)


class _Ready(Collector):
    """Families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counting(member: Member) -> Iterator[Reading]:
    """Yield a worker's readings, without the gauges of one that did not answer."""
    for reading in member.readings:
        if member.answered or FAMILIES[reading[0]].kind != "gauge":
            yield reading


def add_up(totals: Totals, readings: Iterable[Reading]) -> Totals:
    """Return totals with more readings in them; of a "newest" one the last counts."""
    result = dict(totals)
    for name, labels, numbers in readings:
        before = result.get((name, labels))
        if before is None:
            result[name, labels] = numbers
        elif FAMILIES[name].kind == "newest":
            result[name, labels] = max(before, numbers, key=lambda pair: pair[0])
        else:
            result[name, labels] = [a + b for a, b in zip(before, numbers, strict=True)]
    return result


def render_families(totals: Totals) -> Iterator[Metric]:
    """Yield totals as families of the Prometheus client, in the order of FAMILIES."""
    for name, family in FAMILIES.items():
        metric = _begin(name, family)
        for (found, labels), numbers in totals.items():
            if found == name and isinstance(metric, HistogramMetricFamily):
                metric.add_metric(labels, _buckets(numbers[:-1]), numbers[-1])
            elif found == name:
                metric.add_metric(labels, numbers[-1])  # type: ignore[attr-defined]
        yield metric


def _begin(name: str, family: Family) -> Metric:
    if family.kind == "histogram":
        return HistogramMetricFamily(name, family.about, labels=family.labels)
    if family.kind == "counter":
        return CounterMetricFamily(name, family.about, labels=family.labels)
    return GaugeMetricFamily(name, family.about, labels=family.labels)


def _buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Return how many lay at or below each bound."""
    found, below = [], 0.0
    for bound, count in zip((*map(float, BOUNDS), "+Inf"), counts, strict=True):
        below += count
        found.append((str(bound), below))
    return found


def _processes(members: Sequence[Member]) -> Iterator[Metric]:
    """Yield memory, processor time and open files of the workers, by their number."""
    families: dict[str, Metric] = {}
    for member in members:
        for found in member.process.collect():
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type)
            )
            for sample in found.samples:
                labels = {**sample.labels, "worker": str(member.number)}
                family.add_sample(sample.name, labels, sample.value)
    yield from families.values()


def _build() -> Metric:
    build = GaugeMetricFamily("packhouse_build_info", "What runs.", labels=["version", "python"])
    build.add_metric([version("packhouse"), platform.python_version()], 1)
    return build


def _space(config: Config) -> Iterator[Metric]:
    """Yield the space of the store's file system, and the size of the embedded database."""
    with suppress(OSError):
        disk = os.statvfs(config.directory)
        free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        yield GaugeMetricFamily("packhouse_store_free_bytes", "Space that blobs can take.", free)
        yield GaugeMetricFamily("packhouse_store_size_bytes", "The store's file system.", size)
    files = GaugeMetricFamily("packhouse_database_size_bytes", "SQLite's files.", labels=["file"])
    for label, name in (("database", "packhouse.db"), ("log", "packhouse.db-wal")):
        with suppress(OSError):
            files.add_metric([label], (config.directory / name).stat().st_size)
    if files.samples:
        yield files
