"""What one worker counts: plain numbers, which the supervisor adds up over all workers.

A scrape asks each worker over a pipe of its own (`answer_scrapes`); docs/decisions/0013 says why.
Labels are route templates, known methods and statuses of our own: whatever clients send, the
number of series is bounded.

Reading list: prometheus.io/docs/practices/naming, and /instrumentation.
"""

import json
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal

from registry.requests import Exchange
from storage.errors import NoSpace, PackhouseError, Unavailable

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds of the durations that are counted apart, in seconds."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

Reading = tuple[str, tuple[str, ...], Sequence[float]]
"""A family's name, the values of its labels, and numbers: one, or those of a histogram."""


@dataclass(frozen=True, slots=True)
class Family:
    """What is measured, and how readings of several workers become one.

    Counters and histograms are added, gauges are added over the workers that live, of a "newest"
    one (time, value) the last counts.
    """

    kind: Literal["counter", "gauge", "histogram", "newest"]
    about: str
    labels: tuple[str, ...] = ()


_ROUTE = ("route", "method")
FAMILIES = {
    "packhouse_http_requests_total": Family(
        "counter", "Requests answered; code 0: the client left before.", (*_ROUTE, "code")
    ),
    "packhouse_http_request_duration_seconds": Family(
        "histogram", "From the head of a request to the last byte of its answer.", _ROUTE
    ),
    "packhouse_http_received_bytes_total": Family("counter", "Bodies of requests.", _ROUTE),
    "packhouse_http_sent_bytes_total": Family("counter", "Bodies of answers.", _ROUTE),
    "packhouse_http_requests_in_flight": Family("gauge", "Requests being answered."),
    "packhouse_blob_writes_total": Family("counter", "Objects written to the store.", ("result",)),
    "packhouse_blob_written_bytes_total": Family("counter", "Bytes written to the store."),
    "packhouse_database_writes_waiting": Family("gauge", "Transactions queued or running."),
    "packhouse_database_write_duration_seconds": Family(
        "histogram", "From the queue to the durable commit of a transaction."
    ),
    "packhouse_database_write_refusals_total": Family(
        "counter", "Transactions that the database did not take.", ("reason",)
    ),
    "packhouse_gc_removed_items_total": Family("counter", "What gc removed.", ("kind",)),
    "packhouse_gc_removed_bytes_total": Family("counter", "Bytes of blobs that gc removed."),
    "packhouse_gc_rounds_total": Family("counter", "Rounds of gc that ended well."),
    "packhouse_gc_last_round_timestamp_seconds": Family("newest", "When gc ended a round here."),
    "packhouse_uploads_open": Family("newest", "Unfinished uploads at the last round of gc here."),
}


@dataclass(slots=True)
class Durations:
    """A histogram: how many lay at or below each bound, the longer ones, and their sum."""

    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def numbers(self) -> list[float]:
        """Return the counts and, last, the sum."""
        return [*self.counts, self.seconds]


@dataclass(slots=True)
class Answers(Durations):
    """The requests of one route, method and status."""

    count: int = 0
    received: int = 0
    sent: int = 0


class Meters:
    """The numbers of this process; written on its event loop alone, so that no lock is needed."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], Answers] = {}
        self.in_flight = 0
        self.blob_writes: Counter[str] = Counter()
        self.blob_bytes = 0
        self.writes_waiting = 0
        self.writes = Durations()
        self.refusals: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.rounds = 0
        self._last_round: tuple[float, int] | None = None

    def observe(self, exchange: Exchange) -> None:
        """Count a request that has ended (an Observer of registry.requests)."""
        key = (exchange.route, exchange.method, exchange.status)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._begin(exchange)
        answers.count += 1
        answers.received += exchange.received
        answers.sent += exchange.sent
        answers.observe(exchange.seconds)

    def observe_refusal(self, error: PackhouseError) -> None:
        """Count what ended a transaction, if it was not the client's fault."""
        if isinstance(error, Unavailable | NoSpace):
            self.refusals["no_space" if isinstance(error, NoSpace) else "unavailable"] += 1

    def observe_round(self, removed: Counter[str], open_uploads: int, at: float) -> None:
        """Count what a round of gc removed; `at` is in seconds since 1970 UTC."""
        self.removed += removed
        self.rounds += 1
        self._last_round = (at, open_uploads)

    def readings(self) -> Iterator[Reading]:
        """Yield all numbers as they are now."""
        yield from self._requests()
        yield "packhouse_http_requests_in_flight", (), [self.in_flight]
        for result, count in list(self.blob_writes.items()):
            yield "packhouse_blob_writes_total", (result,), [count]
        yield "packhouse_blob_written_bytes_total", (), [self.blob_bytes]
        yield "packhouse_database_writes_waiting", (), [self.writes_waiting]
        yield "packhouse_database_write_duration_seconds", (), self.writes.numbers()
        for reason, count in list(self.refusals.items()):
            yield "packhouse_database_write_refusals_total", (reason,), [count]
        yield from self._collection()

    def _requests(self) -> Iterator[Reading]:
        for (route, method, status), answers in list(self._answers.items()):
            labels = (route, method)
            yield "packhouse_http_requests_total", (*labels, str(status)), [answers.count]
            yield "packhouse_http_request_duration_seconds", labels, answers.numbers()
            yield "packhouse_http_received_bytes_total", labels, [answers.received]
            yield "packhouse_http_sent_bytes_total", labels, [answers.sent]

    def _collection(self) -> Iterator[Reading]:
        yield "packhouse_gc_rounds_total", (), [self.rounds]
        for kind, count in list(self.removed.items()):
            if kind == "bytes":
                yield "packhouse_gc_removed_bytes_total", (), [count]
            else:
                yield "packhouse_gc_removed_items_total", (kind,), [count]
        if self._last_round is not None:
            at, open_uploads = self._last_round
            yield "packhouse_gc_last_round_timestamp_seconds", (), [at, at]
            yield "packhouse_uploads_open", (), [at, open_uploads]

    def _begin(self, exchange: Exchange) -> Answers:
        method = exchange.method if exchange.method in METHODS else "other"
        return self._answers.setdefault((exchange.route, method, exchange.status), Answers())


def render_readings(readings: Iterator[Reading]) -> bytes:
    """Write readings as they travel from a worker to the supervisor."""
    return json.dumps(list(readings)).encode()


def parse_readings(data: bytes) -> list[Reading]:
    """Read what `render_readings` wrote."""
    return [(name, tuple(labels), numbers) for name, labels, numbers in json.loads(data)]


def answer_scrapes(line: Connection, meters: Meters) -> None:
    """Answer every message on `line` with the readings, in a thread that ends with the process.

    A thread, so that a busy event loop is measured too.
    """

    def answer() -> None:
        while True:
            try:
                line.recv_bytes()
                line.send_bytes(render_readings(meters.readings()))
            except (EOFError, OSError):
                return

    threading.Thread(target=answer, name="metrics", daemon=True).start()
