"""What counts: application, database, store and garbage collection, each behind its interface."""

import time
from collections.abc import AsyncIterator
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.gc import Round
from registry.leases import Term
from registry.metrics import Meters
from registry.requests import exchange_of
from registry.sweep import Sweep
from registry.watched import WatchedDatabase, WatchedStore
from storage.blobs import BlobStore, Stored
from storage.clock import SECOND
from storage.database import Database, T, Value, Work
from storage.errors import PackhouseError

MOST_UPLOADS = 100_000

# scan: an index of the open ones alone, at most MOST_UPLOADS of them, once a round
COUNT_OPEN_UPLOADS = """
select count(*) as open from (select 1 as one from uploads where closed_at is null limit $1) u
"""


class MeteredApp:
    """Counts requests while they run, and the bytes of their bodies."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        exchange = exchange_of(scope)

        async def receiving() -> Message:
            message = await receive()
            exchange.received += len(message.get("body", b""))
            return message

        self._meters.in_flight += 1
        try:
            await self._app(scope, receiving, send)
        finally:
            self._meters.in_flight -= 1


class MeteredDatabase(WatchedDatabase):
    """Measures transactions that write, from the queue to the commit."""

    def __init__(self, inner: Database, meters: Meters) -> None:
        super().__init__(inner)
        self._meters = meters

    async def write(self, work: Work[T]) -> T:
        meters, begun = self._meters, time.perf_counter()
        meters.writes_waiting += 1
        try:
            return await self._inner.write(work)
        except PackhouseError as error:
            meters.observe_refusal(error)
            raise
        finally:
            meters.writes_waiting -= 1
            meters.writes.observe(time.perf_counter() - begun)

    async def execute(self, sql: str, *args: Value) -> int:
        return await self.write(lambda tx: tx.execute(sql, *args))


class MeteredStore(WatchedStore):
    """Counts objects and bytes written."""

    def __init__(self, inner: BlobStore, meters: Meters) -> None:
        super().__init__(inner)
        self._meters = meters

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Keep `chunks` under a new key."""
        result = "failed"
        try:
            stored = await self._inner.write(chunks)
            result = "kept"
        finally:
            self._meters.blob_writes[result] += 1
        self._meters.blob_bytes += stored.size
        return stored


class Rounds(Protocol):
    """What does rounds of garbage collection: a Collector, or one that counts."""

    sweep: Sweep

    async def round(self, term: Term) -> Round:
        """Do what is due. Raises LeaseLost."""


class MeteredRounds:
    """Counts what rounds removed, and the uploads that are open after each."""

    def __init__(self, inner: Rounds, meters: Meters) -> None:
        self._inner = inner
        self._meters = meters
        self.sweep = inner.sweep

    async def round(self, term: Term) -> Round:
        """Do what is due. Raises LeaseLost."""
        done = await self._inner.round(term)
        row = await term.database.fetch_one(COUNT_OPEN_UPLOADS, MOST_UPLOADS)
        self._meters.observe_round(
            done.removed, 0 if row is None else row["open"], term.clock() / SECOND
        )
        return done
