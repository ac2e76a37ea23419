"""OpenTelemetry: a span a request, with its database and store calls, sent by OTLP over HTTP.

A span holds our own words and numbers alone: route templates, our SQL, sizes, the request id; no
path, query or header, no message of an error. Spans wait in a bounded queue and leave in a thread,
so that a collector that is slow or dead costs spans, and neither requests nor log lines.

Reading list: opentelemetry.io/docs/specs/semconv/http/http-spans and /db/database-spans;
w3.org/TR/trace-context. Sampling and the collector's headers: the SDK's own OTEL_* variables.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.metrics import METHODS
from registry.requests import exchange_of
from registry.watched import WatchedDatabase, WatchedStore
from storage.blobs import BlobStore, Stored
from storage.database import Database, Question, Row, T, Value, Work

log = logging.getLogger("packhouse.tracing")

PATH = "/v1/traces"
_EXPORT_SECONDS = 5.0
_CLOSE_SECONDS = 3.0


class TracedApp:
    """Makes a server span of each request, below the caller's where it names one."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        exchange, method = exchange_of(scope), scope["method"]
        known = method if method in METHODS else "_OTHER"
        attributes = {
            "http.request.method": known,
            "url.scheme": "https" if scope["scheme"] == "https" else "http",
            "network.protocol.version": scope["http_version"],
            "packhouse.request_id": exchange.id,
        }
        with _span(self._tracer, known, SpanKind.SERVER, _caller(scope), attributes) as span:
            try:
                await self._app(scope, receive, send)
            finally:
                name = "HTTP" if known == "_OTHER" else known
                span.update_name(f"{name} {exchange.route}")
                span.set_attribute("http.route", exchange.route)
                span.set_attribute("http.response.body.size", exchange.sent)
                if exchange.status:
                    span.set_attribute("http.response.status_code", exchange.status)
                if exchange.status >= 500:
                    span.set_attribute("error.type", str(exchange.status))
                    span.set_status(Status(StatusCode.ERROR))


class TracedDatabase(WatchedDatabase):
    """Makes spans of what requests ask the database; what runs in the background makes none."""

    def __init__(self, inner: Database, tracer: Tracer) -> None:
        super().__init__(inner)
        self._tracer = tracer

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        with self._call("read", sql):
            return await self._inner.fetch_one(sql, *args)

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[Any]:
        with self._call("read", sql):
            return await self._inner.fetch_column(sql, *args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        with self._call("scan", sql):
            return await self._inner.fetch(sql, *args)

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        with self._call("scan", "; ".join(question[0] for question in questions)):
            return await self._inner.fetch_all(*questions)

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        with self._call("read", "; ".join(question[0] for question in questions)):
            return await self._inner.fetch_few(*questions)

    async def execute(self, sql: str, *args: Value) -> int:
        with self._call("write", sql):
            return await self._inner.execute(sql, *args)

    async def write(self, work: Work[T]) -> T:
        with self._call("write", "", getattr(work, "__qualname__", "")):
            return await self._inner.write(work)

    @contextmanager
    def _call(self, operation: str, sql: str, function: str = "") -> Iterator[None]:
        if not trace.get_current_span().is_recording():
            yield
            return
        attributes = {"db.system.name": self.engine, "db.operation.name": operation}
        if sql:
            # Constants of ours: values travel beside them.
            attributes["db.query.text"] = " ".join(sql.split())
        if function:
            attributes["code.function.name"] = function
        name = f"database {operation}"
        with _span(self._tracer, name, SpanKind.CLIENT, None, attributes):
            yield


class TracedStore(WatchedStore):
    """Makes a span of each object that is written."""

    def __init__(self, inner: BlobStore, tracer: Tracer) -> None:
        super().__init__(inner)
        self._tracer = tracer

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Keep `chunks` under a new key."""
        with _span(self._tracer, "store write", SpanKind.INTERNAL, None, {}) as span:
            stored = await self._inner.write(chunks)
            span.set_attribute("packhouse.blob.size", stored.size)
            return stored


class SaidOnce(SpanExporter):
    """Hands spans on, and says once that the collector does not take them, and once that it does.

    The libraries below would say it with every batch.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; it is lost if the collector does not take it."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                log.warning("the collector of `tracing` does not take spans: they are dropped")
            self._lost += len(spans)
        elif self._lost:
            log.warning("the collector of `tracing` takes spans again: %d were lost", self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._inner.shutdown()


class Spans:
    """One process's spans, and what makes them."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create(
            {
                "service.name": "packhouse",
                "service.version": version("packhouse"),
                "process.pid": os.getpid(),
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(SaidOnce(exporter)))
        self._tracer = self._provider.get_tracer("packhouse")

    def application(self, app: ASGIApp) -> ASGIApp:
        """Wrap what answers requests."""
        return TracedApp(app, self._tracer)

    def database(self, database: Database) -> Database:
        """Wrap the database."""
        return TracedDatabase(database, self._tracer)

    def store(self, store: BlobStore) -> BlobStore:
        """Wrap the store."""
        return TracedStore(store, self._tracer)

    async def close(self) -> None:
        """Send what waits; a collector that does not answer is left alone after a moment."""
        # A daemon, unlike the threads of a pool: the process does not wait for its end.
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, _CLOSE_SECONDS)


def open_spans(url: str) -> Spans:
    """Return what traces, for a collector's URL such as http://localhost:4318."""
    # They speak of every batch that fails, with a traceback each; SaidOnce speaks instead.
    for name in ("opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    endpoint = url if url.endswith(PATH) else url + PATH
    return Spans(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS))


@contextmanager
def _span(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    parent: Context | None,
    attributes: dict[str, str],
) -> Iterator[Span]:
    """Make a span of a block; an exception gives its kind alone, for messages may hold secrets."""
    with tracer.start_as_current_span(
        name,
        parent,
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            raise


def _caller(scope: Scope) -> Context | None:
    """Read traceparent. tracestate is the client's own text: it would reach the collector."""
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(given) != 1:
        return Context()
    carrier = {"traceparent": given[0].decode("latin-1")}
    return TraceContextTextMapPropagator().extract(carrier, Context())
