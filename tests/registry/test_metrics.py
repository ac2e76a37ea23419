"""Metrics: all workers in one page, on a listener of its own, whose size no client can change."""

import json
import multiprocessing
import os
import random
import re
import signal
import socket
import string
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from registry.metered import MeteredDatabase, MeteredStore
from registry.metrics import (
    BOUNDS,
    FAMILIES,
    Meters,
    answer_scrapes,
    parse_readings,
    render_readings,
)
from registry.oci.paths import TEMPLATES
from registry.requests import Exchange
from registry.scrapes import add_up, render_families
from registry.sweep import KeepsDrafts
from storage.errors import NotFound, Unavailable
from storage.filesystem import FilesystemStore
from storage.sqlite import SqliteDatabase
from tests.registry.client import basic, digest_of
from tests.registry.processes import PATIENCE, Server, run

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Metered(Server):
    """A server with metrics on a free port."""

    def __init__(self, data: Path, *options: object, **settings: str) -> None:
        super().__init__(data, *options, PACKHOUSE_METRICS="127.0.0.1:0", **settings)

    @property
    def metrics_url(self) -> str:
        url: str = json.loads((self.data / "listening.json").read_text())["metrics"]
        return url

    def samples(self) -> Samples:
        return samples(self.page())

    def page(self) -> str:
        answer = httpx.get(self.metrics_url, timeout=PATIENCE)
        assert answer.status_code == 200
        return answer.text

    def until(self, name: str, value: float) -> Samples:
        """Scrape until a family adds up to a value."""
        deadline = time.monotonic() + PATIENCE
        while total(found := self.samples(), name) != value:
            assert time.monotonic() < deadline, f"{name} is {total(found, name)}"
            self.pause()
        return found


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (sample, given), value in found.items()
        if sample == name and given >= labels.items()
    )


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_scrape_adds_up_what_all_workers_counted(data: Path) -> None:
    with Metered(data, "--workers", 2) as server:
        first, second = server.workers()
        for pid, count in ((first, 3), (second, 4)):
            with stopped(pid):  # the other one answers
                for _ in range(count):
                    assert server.get("/healthz").status_code == 200
        found = server.until("packhouse_worker_up", 2)
    route = {"route": "/healthz", "method": "GET"}
    assert total(found, "packhouse_http_requests_total", **route, code="200") == 7
    assert total(found, "packhouse_http_request_duration_seconds_count", **route) == 7
    longest = total(found, "packhouse_http_request_duration_seconds_bucket", **route, le="+Inf")
    assert longest == 7
    assert total(found, "packhouse_http_sent_bytes_total", **route) == 7 * len("ok\n")
    assert total(found, "packhouse_worker_up") == 2
    assert total(found, "packhouse_worker_process_resident_memory_bytes", worker="1") > 1e6
    assert total(found, "packhouse_build_info") == 1
    assert total(found, "packhouse_store_free_bytes") > 0
    assert total(found, "packhouse_database_size_bytes", file="database") > 0


def test_of_a_worker_that_died_the_counters_stay_and_the_gauges_go(data: Path) -> None:
    with Metered(data, "--workers", 1) as server:
        authorization = {"Authorization": basic("admin", server.token())}
        with httpx.Client(base_url=server.url, headers=authorization, timeout=PATIENCE) as client:
            location = client.post("/v2/admin/app/blobs/uploads/").headers["location"]
        with socket.create_connection(("127.0.0.1", server.port)) as held:
            head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
            head += f"Authorization: {authorization['Authorization']}\r\n\r\n"
            held.sendall(head.encode() + b"half")
            before = server.until("packhouse_http_requests_in_flight", 1)
            assert total(before, "packhouse_http_requests_total", code="202") == 1
            os.kill(server.workers()[0], signal.SIGKILL)
            server.until("packhouse_workers_replaced_total", 1)
            found = server.until("packhouse_worker_up", 1)
        assert total(found, "packhouse_http_requests_total", code="202") == 1
        assert total(found, "packhouse_http_requests_in_flight") == 0
        assert server.get("/healthz").status_code == 200
        server.until("packhouse_http_requests_total", 2)


def test_a_worker_that_does_not_answer_counts_with_what_it_last_said(data: Path) -> None:
    with Metered(data, "--workers", 1) as server:
        server.get("/healthz")
        before = server.until("packhouse_http_requests_total", 1)
        with stopped(server.workers()[0]):
            for _ in range(2):
                found = server.samples()
                assert total(found, "packhouse_worker_up") == 0
                name = "packhouse_http_requests_total"
                assert total(found, name) == total(before, name)
                assert ("packhouse_http_requests_in_flight", frozenset()) not in found
        assert server.until("packhouse_worker_up", 1)


def test_the_listener_answers_nothing_else_and_the_public_port_has_no_metrics(data: Path) -> None:
    with Metered(data, "--workers", 1) as server, httpx.Client(timeout=PATIENCE) as client:
        base = server.metrics_url.removesuffix("/metrics")
        assert server.get("/metrics").status_code == 404
        for path in ("/", "/metrics/", "/metrics/x", "/v2/", "/token", "/healthz", "/%6detrics/"):
            assert client.get(base + path).status_code == 404, path
        assert client.post(server.metrics_url).status_code == 405
        assert client.get(server.metrics_url).headers["cache-control"] == "no-store"


HOSTILE = (
    *("/v2/admin/app/manifests/v1", "/v2/a%22%7Dx/b/tags/list", "/v2/{name}/tags/list", "/x", "//"),
    *("/v2/a/b/manifests/%0a", '/v2/a/b"} 1/manifests/x', "/v2/a/b\\/blobs/sha256:x", "/v2/", "/"),
    *("/token", "/v2/_catalog", f"/v2/a/b/blobs/{digest_of(b'')}", "/v2/a/b/blobs/uploads/x"),
    *(f"/v2/a/b/referrers/{digest_of(b'')}", "/v2/a/b/c/tags/x", "/v2/\u00e9/tags/list"),
)
METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "POST", "OPTIONS", "PROPFIND", "LOCK", "SEARCH")


def ask_at_random(client: httpx.Client, seed: int) -> None:
    chosen = random.Random(seed)
    for _ in range(500):
        name = "".join(chosen.choices(string.ascii_letters + "%/._-", k=20))
        form = chosen.choice(["/{}", "/v2/{}", "/v2/{}/tags/list", "/v2/x/{}/manifests/v1"])
        client.get(form.format(name), headers={"Host": f"{chosen.random()}.example"})


def test_whatever_clients_send_adds_no_series(data: Path) -> None:
    with Metered(data, "--workers", 2) as server, server.client() as client:
        for path in HOSTILE:
            for method in METHODS:
                client.request(method, path)
        ask_at_random(client, seed=1)
        before = server.until("packhouse_worker_up", 2)
        ask_at_random(client, seed=2)
        found = server.until("packhouse_worker_up", 2)
    requests = "packhouse_http_requests_total"
    assert total(found, requests) == len(HOSTILE) * len(METHODS) + 1000
    assert set(found) == set(before), "1,000 names more are no series more"
    methods = {dict(labels).get("method") for _, labels in found} - {None}
    assert methods == {"GET", "HEAD", "PUT", "DELETE", "PATCH", "POST", "OPTIONS", "other"}
    routes = {dict(labels).get("route") for _, labels in found} - {None}
    assert routes <= {*TEMPLATES.values(), "/", "/token", "other"}


def test_a_push_and_a_round_of_gc_are_counted(data: Path) -> None:
    with (
        Metered(data, "--workers", 2, PACKHOUSE_GC_INTERVAL_SECONDS="1") as server,
        server.client() as client,
    ):
        blob = b"x" * 5000
        pushed = client.post(
            "/v2/admin/app/blobs/uploads/", params={"digest": digest_of(blob)}, content=blob
        )
        assert pushed.status_code == 201
        location = client.post("/v2/admin/app/blobs/uploads/").headers["location"]
        assert client.patch(location, content=b"abc").status_code == 202
        found = server.until("packhouse_uploads_open", 1)
    assert total(found, "packhouse_blob_written_bytes_total") == len(blob) + 3
    assert total(found, "packhouse_blob_writes_total", result="kept") == 2
    received = "packhouse_http_received_bytes_total"
    assert total(found, received, route="/v2/{name}/blobs/uploads/") == len(blob)
    assert total(found, received, route="/v2/{name}/blobs/uploads/{upload}") == 3
    assert total(found, "packhouse_database_write_duration_seconds_count") >= 2
    assert total(found, "packhouse_gc_rounds_total") >= 1
    assert total(found, "packhouse_gc_last_round_timestamp_seconds") > 1_700_000_000


def test_the_parser_of_openmetrics_reads_the_page(data: Path) -> None:
    with Metered(data, "--workers", 2) as server:
        server.get("/v2/")
        accept = {"Accept": OPENMETRICS}
        answer = httpx.get(server.metrics_url, headers=accept, timeout=PATIENCE)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(answer.text)}
    assert families["packhouse_http_requests"].type == "counter"
    assert families["packhouse_http_request_duration_seconds"].type == "histogram"
    for family in families.values():
        assert family.documentation, family.name


def test_every_family_is_in_the_documentation(data: Path) -> None:
    with Metered(data, "--workers", 1) as server:
        server.until("packhouse_worker_up", 1)
        page = server.page()
    shown = {family.name for family in parse_text(page) if family.name.startswith("packhouse_")}
    written = set(re.findall(r"`(packhouse_\w+)`", DOCUMENT.read_text()))
    assert {name.removesuffix("_total") for name in written} == shown


def test_ten_scrapes_at_once_are_answered_alike(data: Path) -> None:
    with Metered(data, "--workers", 1) as server:
        server.get("/healthz")
        server.until("packhouse_http_requests_total", 1)
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.page())) for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counted = [total(samples(text), "packhouse_http_requests_total") for text in answers]
    assert counted == [1] * 10


def test_without_the_key_there_is_no_listener(data: Path) -> None:
    with Server(data, "--workers", 1) as server:
        assert "metrics" not in json.loads((data / "listening.json").read_text())
        assert "http" in server.url


def test_a_taken_address_stops_the_start_in_one_line(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--port", 0, "--data", data, PACKHOUSE_METRICS=address)
    assert done.returncode == 2
    assert done.stderr.startswith("packhouse: metrics: port ")
    assert done.stderr.count("\n") == 1
    assert "--port" not in done.stderr


# The parts


def exchange(**fields: object) -> Exchange:
    made = Exchange("id-12345678", "GET", "/v2/x", "::1", "agent", route="/v2/", status=200)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_durations_fall_into_the_bucket_whose_bound_they_reach() -> None:
    meters = Meters()
    for seconds in (0.001, 0.0011, 301.0):
        meters.observe(exchange(seconds=seconds))
    readings = parse_readings(render_readings(meters.readings()))
    (family,) = (
        f
        for f in render_families(add_up({}, readings))
        if f.name.endswith("request_duration_seconds")
    )
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert buckets["0.001"] == 1
    assert buckets["0.0025"] == buckets["300.0"] == 2
    assert buckets["+Inf"] == 3
    assert len(buckets) == len(BOUNDS) + 1


def test_every_reading_has_its_family_with_as_many_labels() -> None:
    meters = Meters()
    meters.observe(exchange(method="BREW"))
    meters.observe_round(Counter({"blobs": 2, "bytes": 10}), 5, 1.0)
    meters.observe_refusal(Unavailable("no"))
    meters.observe_refusal(NotFound("a client's"))
    meters.blob_writes["kept"] += 1
    readings = list(meters.readings())
    assert {name for name, _, _ in readings} == set(FAMILIES)
    for name, labels, _ in readings:
        assert len(labels) == len(FAMILIES[name].labels), name
    assert ("packhouse_http_requests_total", ("/v2/", "other", "200"), [1]) in readings
    assert [r for r in readings if "refusals" in r[0]] == [
        ("packhouse_database_write_refusals_total", ("unavailable",), [1])
    ]


def test_of_two_workers_that_held_the_lease_the_last_one_counts() -> None:
    first, second = Meters(), Meters()
    first.observe_round(Counter(), 7, 100.0)
    second.observe_round(Counter(), 3, 200.0)
    for order in ((first, second), (second, first)):
        totals = {}
        for meters in order:
            totals = add_up(totals, meters.readings())
        assert totals["packhouse_uploads_open", ()] == [200.0, 3]
        assert totals["packhouse_gc_rounds_total", ()] == [2]


async def test_a_transaction_that_the_database_refuses_is_counted(tmp_path: Path) -> None:
    meters = Meters()
    database = MeteredDatabase(await SqliteDatabase.open(tmp_path), meters)
    await database.execute("create table t (a bigint)")
    await database.close()
    with pytest.raises(Unavailable):
        await database.execute("delete from t")
    assert meters.refusals == {"unavailable": 1}
    assert sum(meters.writes.counts) == 2
    assert meters.writes_waiting == 0


async def test_a_store_that_keeps_drafts_still_does_when_it_is_watched(tmp_path: Path) -> None:
    meters = Meters()
    store = MeteredStore(FilesystemStore(tmp_path, reserve=0), meters)
    assert isinstance(store, KeepsDrafts)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "draft").touch()
    assert await store.discard_drafts(2**62) == 1
    await store._inner.close()  # type: ignore[attr-defined]


def test_a_line_that_ends_ends_the_answers() -> None:
    ours, theirs = multiprocessing.Pipe()
    answer_scrapes(theirs, Meters())
    ours.send_bytes(b"readings")
    assert parse_readings(ours.recv_bytes())
    ours.close()
    for thread in threading.enumerate():
        if thread.name == "metrics":
            thread.join(PATIENCE)
            assert not thread.is_alive()
