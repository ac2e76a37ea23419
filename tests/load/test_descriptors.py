"""A shell's limit of open files is not the server's."""

import socket
from contextlib import ExitStack
from pathlib import Path

from tests.registry.processes import PATIENCE, Server

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIMIT = 64
CONNECTIONS = 3 * LIMIT


class Limited(Server):
    """A server whose shell lets it open few files, until it asks for more."""

    def __init__(self, data: Path, *options: object) -> None:
        super().__init__(data, *options)
        self._command = ["sh", "-c", f'ulimit -Sn {LIMIT}; exec "$@"', "sh", *self._command]


def test_more_connections_are_answered_than_the_shell_allows_files(tmp_path: Path) -> None:
    with Limited(tmp_path / "data", "--workers", "1") as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        for _ in range(CONNECTIONS):
            raw = stack.enter_context(socket.create_connection(address, PATIENCE))
            raw.sendall(ASK)
            assert raw.recv(1024).startswith(b"HTTP/1.1 200 ")
