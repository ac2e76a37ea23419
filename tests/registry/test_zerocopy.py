"""What leaves the socket: sendfile and joined writes, under everything a client may do.

A real server of the real worker; raw sockets where a client library would tidy up.
"""

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from registry.zerocopy import WINDOW
from tests.durability.faults import TRACEABLE, Attached
from tests.registry.client import digest_of
from tests.registry.processes import Server, run

LARGE = os.urandom(1024 * 1024) * 11 + b"the end"
SMALL = b"small"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("zerocopy") / "data"
    with Server(data, "--workers", "1", **TRACEABLE) as running:
        yield running


@pytest.fixture(scope="module")
def address(server: Server) -> tuple[str, int]:
    url = json.loads((server.data / "listening.json").read_text())["urls"][0]
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def bearer(server: Server, address: tuple[str, int]) -> str:
    token = run("token", "create", "--data", server.data).stdout.strip()
    with http(address, token) as client:
        for content in (LARGE, SMALL):
            params = {"digest": digest_of(content)}
            made = client.post("/v2/admin/z/blobs/uploads/", params=params, content=content)
            assert made.status_code == 201
    return token


def http(address: tuple[str, int], token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://{address[0]}:{address[1]}", headers=headers, timeout=60)


def request(content: bytes, bearer: str, method: str = "GET", *headers: str) -> bytes:
    lines = [
        f"{method} /v2/admin/z/blobs/{digest_of(content)} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {bearer}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def answer(file: BinaryIO, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    """Read one answer of a connection: status, headers, body."""
    status = int(file.readline().split()[1])
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    return status, headers, file.read(int(headers["content-length"])) if body else b""


def test_a_blob_of_several_windows_arrives_whole(address: tuple[str, int], bearer: str) -> None:
    assert len(LARGE) > 2 * WINDOW
    with http(address, bearer) as client:
        assert client.get(f"/v2/admin/z/blobs/{digest_of(LARGE)}").content == LARGE


def test_the_kernel_moves_the_bytes_of_a_file(
    server: Server, address: tuple[str, int], bearer: str, tmp_path: Path
) -> None:
    calls = Attached(server.workers()[0], tmp_path / "trace", "-e", "trace=sendfile")
    with http(address, bearer) as client, calls:
        assert client.get(f"/v2/admin/z/blobs/{digest_of(LARGE)}").content == LARGE
    moved = [int(count) for count in re.findall(r"sendfile\b.*\) += (\d+)", calls.text)]
    assert sum(moved) == len(LARGE)


def test_a_range_is_cut_out_of_the_file(address: tuple[str, int], bearer: str) -> None:
    span = {"Range": f"bytes={WINDOW - 3}-{WINDOW + 3}"}
    with http(address, bearer) as client:
        got = client.get(f"/v2/admin/z/blobs/{digest_of(LARGE)}", headers=span)
    assert (got.status_code, got.content) == (206, LARGE[WINDOW - 3 : WINDOW + 4])


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int], bearer: str) -> None:
    wanted = [SMALL, LARGE, SMALL, LARGE, SMALL]
    with closing(connect(address)) as raw, raw.makefile("rb") as file:
        raw.sendall(b"".join(request(content, bearer) for content in wanted))
        for content in wanted:
            assert answer(file)[2] == content


def test_a_request_that_arrives_during_a_transfer_waits(
    address: tuple[str, int], bearer: str
) -> None:
    with closing(connect(address)) as raw, raw.makefile("rb") as file:
        raw.sendall(request(LARGE, bearer))
        first = file.read(1000)
        raw.sendall(request(SMALL, bearer))
        head, _, begun = first.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert begun + file.read(len(LARGE) - len(begun)) == LARGE
        assert answer(file)[2] == SMALL


def test_head_sends_no_body_and_the_connection_lives(address: tuple[str, int], bearer: str) -> None:
    with closing(connect(address)) as raw, raw.makefile("rb") as file:
        raw.sendall(request(LARGE, bearer, "HEAD"))
        status, headers, _ = answer(file, body=False)
        assert (status, headers["content-length"]) == (200, str(len(LARGE)))
        raw.sendall(request(SMALL, bearer))
        assert answer(file)[2] == SMALL


def test_http_1_0_is_answered_and_closed(address: tuple[str, int], bearer: str) -> None:
    with closing(connect(address)) as raw, raw.makefile("rb") as file:
        raw.sendall(request(LARGE, bearer).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        status, headers, body = answer(file)
        assert (status, body) == (200, LARGE)
        assert headers["connection"] == "close"
        assert file.read() == b""


def test_a_client_that_leaves_costs_no_descriptor(
    server: Server, address: tuple[str, int], bearer: str
) -> None:
    worker = server.workers()[0]
    before = len(os.listdir(f"/proc/{worker}/fd"))
    for number in range(40):
        raw = connect(address)
        raw.sendall(request(LARGE, bearer))
        raw.recv(1000)
        if number % 2:  # a reset instead of an end
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
    with http(address, bearer) as client:
        for _ in range(500):
            client.get(f"/v2/admin/z/blobs/{digest_of(SMALL)}")
            if len(os.listdir(f"/proc/{worker}/fd")) <= before + 2:
                return
    pytest.fail(f"{len(os.listdir(f'/proc/{worker}/fd')) - before} descriptors are left open")


def test_slow_readers_do_not_keep_others_waiting(address: tuple[str, int], bearer: str) -> None:
    slow = [connect(address) for _ in range(50)]
    for raw in slow:
        raw.sendall(request(LARGE, bearer))
    with http(address, bearer) as client:
        assert client.get(f"/v2/admin/z/blobs/{digest_of(LARGE)}").content == LARGE
    for raw in slow:
        with closing(raw), raw.makefile("rb") as file:
            assert answer(file)[2] == LARGE


@pytest.mark.parametrize("content", [LARGE, SMALL, None])
def test_an_answer_says_when_it_was_made(
    address: tuple[str, int], bearer: str, content: bytes | None
) -> None:
    with http(address, bearer) as client:
        path = "/v2/" if content is None else f"/v2/admin/z/blobs/{digest_of(content)}"
        made = parsedate_to_datetime(client.get(path).headers["date"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 600


def test_a_file_that_was_cut_short_ends_the_connection(
    server: Server, address: tuple[str, int], bearer: str
) -> None:
    content = os.urandom(64) * 200_000
    with http(address, bearer) as client:
        params = {"digest": digest_of(content)}
        client.post("/v2/admin/z/blobs/uploads/", params=params, content=content)
    (file_on_disk,) = [
        path
        for path in (server.data / "blobs").rglob("*")
        if path.is_file() and path.stat().st_size == len(content)
    ]
    with closing(connect(address)) as raw:
        raw.sendall(request(content, bearer))
        raw.recv(100)
        os.truncate(file_on_disk, 9_000_000)
        came = 0
        with suppress(ConnectionError):
            while chunk := raw.recv(1024 * 1024):
                came += len(chunk)
        assert came < len(content) - 1_000_000
