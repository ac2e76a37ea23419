"""Tracing: a span a request, its calls below it, and no harm from a collector that is ill."""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from registry.config import Config
from registry.instruments import open_tracing
from registry.tracing import SaidOnce
from tests.registry.client import digest_of
from tests.registry.collector import Collector
from tests.registry.processes import PATIENCE, Server, run

SERVER = 2
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced(Server):
    """A server whose spans go to a URL, soon."""

    def __init__(self, data: Path, url: str, workers: int = 1) -> None:
        settings = {"PACKHOUSE_TRACING": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        super().__init__(data, "--workers", workers, **settings)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def test_a_request_is_a_span_below_the_callers(data: Path, collector: Collector) -> None:
    with Traced(data, collector.url) as server, server.client() as client:
        answer = client.get(
            "/v2/admin/app/manifests/v1?x=1",
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=hush"},
        )
        assert answer.status_code == 404
        span = collector.wait_for(lambda span: span.trace_id == TRACE and span.kind == SERVER)
        assert (span.name, span.parent_id) == ("GET /v2/{name}/manifests/{reference}", PARENT)
        assert span.attributes == {
            "http.request.method": "GET",
            "http.route": "/v2/{name}/manifests/{reference}",
            "http.response.status_code": 404,
            "http.response.body.size": len(answer.content),
            "url.scheme": "http",
            "network.protocol.version": "1.1",
            "packhouse.request_id": answer.headers["x-request-id"],
        }
        assert not span.error
        assert span.resource["service.name"] == "packhouse"
        reads = [s for s in collector.children(span) if s.name == "database read"]
        assert reads
        for read in reads:
            assert read.trace_id == TRACE
            assert read.attributes["db.system.name"] == "sqlite"
            assert read.attributes["db.query.text"].startswith(("select ", "with "))
    assert b"hush" not in b"".join(collector.bodies)


def test_writes_of_database_and_store_are_spans_of_their_request(
    data: Path, collector: Collector
) -> None:
    blob = b"some layer"
    with Traced(data, collector.url) as server, server.client() as client:
        where = {"digest": digest_of(blob)}
        assert client.post("/v2/admin/a/blobs/uploads/", params=where, content=blob).is_success
        server.stop()  # what waits is sent
    post = collector.wait_for(lambda span: span.name == "POST /v2/{name}/blobs/uploads/")
    below = {span.name: span for span in collector.children(post)}
    assert below["store write"].attributes == {"packhouse.blob.size": len(blob)}
    assert "code.function.name" in below["database write"].attributes
    ids = {span.span_id for span in collector.spans}
    lonely = [s for s in collector.spans if s.kind != SERVER and s.parent_id not in ids]
    assert lonely == [], "work in the background makes no spans"


def test_a_method_of_the_clients_own_is_no_name(data: Path, collector: Collector) -> None:
    with Traced(data, collector.url) as server:
        httpx.request("PROPFIND", server.url + "/v2/", timeout=PATIENCE)
        span = collector.wait_for(lambda span: span.kind == SERVER)
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP /v2/", "_OTHER")


@pytest.mark.parametrize(
    "parents",
    [["nonsense"], ["00-" + "0" * 32 + f"-{PARENT}-01"], [f"00-{TRACE}-{PARENT}-01"] * 2, []],
    ids=["nonsense", "zero", "two", "none"],
)
def test_a_traceparent_that_is_none_begins_a_trace(
    data: Path, collector: Collector, parents: list[str]
) -> None:
    with Traced(data, collector.url) as server:
        server.get("/healthz", headers=[("traceparent", text) for text in parents])
        span = collector.wait_for(lambda span: span.kind == SERVER)
    assert span.parent_id == ""
    assert span.trace_id != TRACE


def test_a_caller_that_does_not_record_is_not_recorded(data: Path, collector: Collector) -> None:
    with Traced(data, collector.url) as server:
        server.get("/healthz", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        server.get("/readyz")
        collector.wait_for(lambda span: span.name == "GET /readyz")
    assert not [span for span in collector.spans if span.trace_id == TRACE]


@pytest.mark.parametrize("ill", ["dead", "silent", "refusing"])
def test_an_ill_collector_fails_no_request_and_says_one_line_a_worker(data: Path, ill: str) -> None:
    with ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if ill == "dead":
            listener.close()
        elif ill == "silent":
            stack.enter_context(listener)
        else:
            listener.close()
            refusing = stack.enter_context(Collector())
            refusing.status, url = 503, refusing.url
        with Traced(data, url, workers=2) as server:
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
                for _ in range(3000):  # more than the queue holds
                    assert client.get("/healthz").status_code == 200
            server.wait_for("the collector of `tracing` does not take spans")
            assert server.get("/healthz").status_code == 200
            assert server.stop(signal.SIGTERM) == 0
        said = [line for line in server.lines if not line.startswith("{")]
        assert 1 <= len([line for line in said if "packhouse.tracing" in line]) <= 2
        assert not [line for line in said if "Traceback" in line or "rror" in line], said


class Moody(SpanExporter):
    """Takes spans or does not, as told."""

    result = SpanExportResult.FAILURE

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return self.result


def test_the_end_of_an_illness_is_said_with_what_was_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moody = Moody()
    exporter = SaidOnce(moody)
    spans = [ReadableSpan("one"), ReadableSpan("two")]
    for _ in range(3):
        exporter.export(spans)
    moody.result = SpanExportResult.SUCCESS
    for _ in range(3):
        exporter.export(spans)
    assert len(caplog.messages) == 2
    assert "6 were lost" in caplog.messages[1]


def hidden(directory: Path) -> str:
    """A PYTHONPATH on which an empty package stands before the one that is installed."""
    package = directory / "without" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))


def test_tracing_that_is_not_installed_stops_the_start_in_one_line(
    tmp_path: Path, data: Path
) -> None:
    settings = {"PYTHONPATH": hidden(tmp_path), "PACKHOUSE_TRACING": "http://localhost:4318"}
    for command in (("serve", "--port", 0), ("config", "check")):
        done = run(*command, "--data", data, **settings)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("packhouse: tracing needs packages")
        assert "pip install 'packhouse[tracing]'" in done.stderr
        assert done.stderr.count("\n") == 1
    looked = run("doctor", "--data", data, **settings)
    assert looked.returncode == 1
    assert "pip install 'packhouse[tracing]'" in looked.stdout


def test_without_the_key_nothing_is_imported(tmp_path: Path, data: Path) -> None:
    assert open_tracing(Config()) is None
    with Server(data, "--workers", 1, PYTHONPATH=hidden(tmp_path)) as server:
        assert server.get("/healthz").status_code == 200
