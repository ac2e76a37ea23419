"""Limits hold over all workers of a server: real processes, real connections, the machine's clock.

Nothing here depends on how long it takes: what may be let in is computed from the time that passed.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.registry.client import OCI_EMPTY, OCI_MANIFEST, descriptor
from tests.registry.processes import PATIENCE, Server, run

PULLS = 5
"""A minute: one is paid off in 12 seconds."""
IMAGE = "/v2/admin/app/manifests/v1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits") / "data"


def serve(data: Path) -> Server:
    return Server(
        data,
        *("--workers", 2),
        PACKHOUSE_PULLS_PER_MINUTE=str(PULLS),
        PACKHOUSE_TRUSTED_PROXIES="127.0.0.1",
        PACKHOUSE_GC_INTERVAL_SECONDS="86400",  # a worker that is stopped here holds no lock
    )


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    with serve(data) as running:
        push(running)
        yield running


def push(server: Server) -> None:
    """Push a public image."""
    config = descriptor(b"{}", OCI_EMPTY)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    with server.client() as client:
        params = {"digest": config["digest"]}
        client.post("/v2/admin/app/blobs/uploads/", params=params, content=b"{}")
        done = client.put(IMAGE, json=manifest, headers={"Content-Type": OCI_MANIFEST})
        assert done.status_code == 201, done.text
    shown = run("package", "visibility", "admin/app", "public", "--data", server.data)
    assert shown.returncode == 0, shown.stderr


class Account:
    """Somebody of this test alone, who pulls again and again, and what came of it."""

    def __init__(self, server: Server) -> None:
        name = f"user-{uuid4().hex[:12]}"
        made = run(
            *("user", "create", name, "--password-stdin", "--data", server.data),
            stdin="a long password of nobody",
        )
        assert made.returncode == 0, made.stderr
        self.auth = (name, server.token("--user", name))
        self.began = time.monotonic()
        self.server = server
        self._lock = threading.Lock()
        self.pulled = 0

    def pull(self) -> httpx.Response:
        """Pull over a connection of its own, which any running worker may take."""
        response = self.server.get(IMAGE, auth=self.auth)
        assert response.status_code in (200, 429), response.text
        with self._lock:
            self.pulled += response.status_code == 200
        return response

    def drain(self) -> httpx.Response:
        """Pull until it is refused; return how."""
        while (response := self.pull()).status_code == 200:
            assert self.pulled < 100
        return response

    def at_most(self) -> int:
        """How many pulls there can have been until now."""
        return PULLS + math.ceil((time.monotonic() - self.began) / (60 / PULLS))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            os.sched_yield()
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_one_worker_let_in_counts_at_the_other(server: Server) -> None:
    account = Account(server)
    for pid in server.workers():
        with stopped(pid):
            account.drain()
    assert PULLS <= account.pulled <= account.at_most()


def test_a_worker_that_takes_anothers_place_knows_what_was_let_in(server: Server) -> None:
    account = Account(server)
    account.drain()
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    while len(set(server.workers()) - set(before)) < 2:
        server.pause()
    account.drain()
    assert PULLS <= account.pulled <= account.at_most()


def test_ten_clients_at_once_get_no_more_than_one(server: Server) -> None:
    account = Account(server)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: account.pull(), range(60)))
    # Each pull that was let in may have hidden one of the other worker's, at the same microsecond.
    assert PULLS <= account.pulled <= 2 * account.at_most()
    assert account.pull().headers["ratelimit-limit"] == f"{PULLS};w=60"


def test_a_server_that_starts_again_has_forgotten_what_was_let_in(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as server:
        push(server)
        account = Account(server)
        account.drain()
        first = account.pulled
    with serve(tmp_path / "data") as server:
        account.server = server
        account.drain()
    assert account.pulled >= first + PULLS


def drain(server: Server, address: str, **headers: str) -> list[int]:
    """Pull as nobody from a local address until it is refused, or often enough to know."""
    statuses = []
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport, base_url=server.url, timeout=PATIENCE) as client:
        while len(statuses) < 4 * PULLS and 429 not in statuses:
            statuses.append(client.get(IMAGE, headers=headers).status_code)
    return statuses


def test_what_a_stranger_says_of_his_address_changes_nothing(server: Server) -> None:
    """127.0.0.2 is no trusted proxy, whatever it forwards."""
    began, pulled = time.monotonic(), 0
    for number in range(10):
        address = f"203.0.113.{number}"
        hostile = {"X-Forwarded-For": address, "Forwarded": f"for={address}"}
        pulled += drain(server, "127.0.0.2", **hostile).count(200)
    assert PULLS <= pulled <= PULLS + math.ceil((time.monotonic() - began) / (60 / PULLS))


def test_behind_a_trusted_proxy_each_network_counts_for_itself(server: Server) -> None:
    began, shared = time.monotonic(), 0
    for number in range(4):
        said = f"203.0.113.{number}, 2001:db8:7::{number + 1}"
        shared += drain(server, "127.0.0.1", **{"X-Forwarded-For": said}).count(200)
    assert PULLS <= shared <= PULLS + math.ceil((time.monotonic() - began) / (60 / PULLS))
    other = drain(server, "127.0.0.1", **{"X-Forwarded-For": "2001:db8:7:1::1"})
    assert other.count(200) >= PULLS


def test_the_limit_is_told_to_the_client_and_probes_have_none(server: Server) -> None:
    response = Account(server).drain()
    assert 1 <= int(response.headers["retry-after"]) <= 12
    assert response.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    for path in ("/healthz", "/readyz"):
        assert {server.get(path).status_code for _ in range(3 * PULLS)} == {200}
