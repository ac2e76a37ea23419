"""A server on loopback that says what it is told to say, whatever it is asked."""

import socket
import threading
from types import TracebackType
from typing import Self


class Canned:
    """Answers every request with the same bytes; with none it is silent."""

    def __init__(self, answer: bytes = b"") -> None:
        self._answer = answer
        self._held: list[socket.socket] = []
        self._asked = threading.Event()
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for connection in self._held:
            connection.close()

    def wait_until_asked(self, patience: float) -> None:
        assert self._asked.wait(patience)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.requests.append(connection.recv(65536).decode("latin-1"))
            self._asked.set()
            if self._answer:
                connection.sendall(self._answer)
                connection.close()
            else:
                self._held.append(connection)


def response(status: str, kind: str, body: str, *headers: str) -> bytes:
    """Write an HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "Connection: close", "", body]).encode()
