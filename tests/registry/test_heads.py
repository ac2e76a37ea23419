"""Request heads are bounded, in bytes and in time."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from registry.protocol import HEAD_BYTES
from tests.registry.processes import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("heads") / "data"
    with Server(data, "--workers", "1", PACKHOUSE_IDLE_SECONDS="1") as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def answer(raw: socket.socket) -> bytes:
    """Everything the server says until it closes."""
    said = b""
    with suppress(ConnectionError):
        while chunk := raw.recv(65536):
            said += chunk
    return said


def send(raw: socket.socket, data: bytes) -> None:
    """Send what the server takes: it may close before the end."""
    with suppress(ConnectionError):
        raw.sendall(data)


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_head_that_is_too_long_is_refused(server: Server, pieces: int) -> None:
    head = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * HEAD_BYTES
    with closing(connect(server)) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = len(head) // pieces + 1
        for start in range(0, len(head), size):
            send(raw, head[start : start + size])
        send(raw, b"\r\n\r\n")
        assert answer(raw).startswith(b"HTTP/1.1 400 ") or pieces > 1


def test_a_head_that_never_ends_does_not_stay_in_memory(server: Server) -> None:
    with closing(connect(server)) as raw, suppress(ConnectionError):
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(10_000):
            raw.sendall(b"X-%d: " % number + b"a" * 8000 + b"\r\n")
        pytest.fail("80 MB of headers were taken")


def test_many_headers_of_an_allowed_size_are_read(server: Server) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 50) for number in range(900))
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + lines + b"\r\n"
    assert 40_000 < len(head) < HEAD_BYTES
    with closing(connect(server)) as raw:
        raw.sendall(head)
        assert answer(raw).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("head", [b"", b"GET /v2/ HTTP/1.1\r\nHost: local"])
def test_a_head_that_does_not_come_ends_the_connection(server: Server, head: bytes) -> None:
    with closing(connect(server)) as raw:
        raw.sendall(head)
        assert answer(raw) == b""


def test_a_connection_kept_alive_may_ask_again(server: Server) -> None:
    with closing(connect(server)) as raw, raw.makefile("rb") as file:
        for _ in range(3):
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert file.readline().startswith(b"HTTP/1.1 200 ")
            while file.readline().strip():
                pass
            assert file.read(3) == b"ok\n"
