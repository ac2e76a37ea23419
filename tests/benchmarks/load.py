"""The load client: one process of raw sockets that drives any registry; the standard library only.

It reads one job (JSON) from standard input, connects, says "ready", waits for a line, works, and
prints what it did: {"requests": n, "bytes": n, "seconds": s}. Bodies are received into one fixed
buffer and thrown away; uploads leave by sendfile(2). An answer that is not the expected one ends
the process with a line on standard error.
"""

import itertools
import json
import os
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

BUFFER = 256 * 1024
PATIENCE_SECONDS = 120
Job = dict[str, Any]


class Unexpected(Exception):
    """The server answered something else than the job expects."""


class Totals:
    """What all connections of this process did together."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self.error = ""
        self._lock = threading.Lock()

    def add(self, requests: int, size: int) -> None:
        """Count finished requests and moved bytes."""
        with self._lock:
            self.requests += requests
            self.bytes += size


class Answer:
    """Status and headers of an answer, and the first bytes of its body."""

    def __init__(self, head: bytes, rest: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.rest = rest

    def require(self, status: int) -> None:
        """Raise Unexpected for any other status."""
        if self.status != status:
            raise Unexpected(f"status {self.status}, not {status}: {self.rest[:300]!r}")


class Connection:
    """One keep-alive connection."""

    def __init__(self, job: Job) -> None:
        self._host = job["host"]
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in job["headers"].items())
        name, _, port = self._host.rpartition(":")
        plain = socket.create_connection((name.strip("[]"), int(port)), PATIENCE_SECONDS)
        plain.settimeout(None)  # sendfile wants it to block; who waits too long is killed
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = plain
        if job.get("certificate"):
            context = ssl.create_default_context(cafile=job["certificate"])
            self.socket = context.wrap_socket(plain, server_hostname=name)
        self.buffer = memoryview(bytearray(BUFFER))

    def request(self, method: str, target: str, length: int | None = None) -> bytes:
        """Return the bytes of a request without its body."""
        more = "" if length is None else f"Content-Length: {length}\r\n"
        text = f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n{self.headers}{more}\r\n"
        return text.encode()

    def ask(self, method: str, target: str, length: int | None = None) -> Answer:
        """Send a request without a body and read the head of its answer."""
        self.socket.sendall(self.request(method, target, length))
        return self.answer()

    def answer(self) -> Answer:
        """Read the head of an answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(16 * 1024)
            if not piece:
                raise Unexpected(f"the connection ended after {data[:200]!r}")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return Answer(head, rest)

    def receive(self, most: int = BUFFER) -> int:
        """Receive up to `most` bytes of a body into the buffer, and say how many came."""
        got = self.socket.recv_into(self.buffer, min(most, BUFFER))
        if not got:
            raise Unexpected("the connection ended inside a body")
        return got

    def finish(self, answer: Answer) -> int:
        """Throw the rest of a body away, of known length or chunked; returns its bytes."""
        if "content-length" in answer.headers:
            size = int(answer.headers["content-length"])
            left = size - len(answer.rest)
            while left > 0:
                left -= self.receive(left)
            return size
        tail, size = answer.rest[-8:], len(answer.rest)
        while not tail.endswith(b"0\r\n\r\n"):
            got = self.receive()
            tail, size = (tail + bytes(self.buffer[max(0, got - 8) : got]))[-8:], size + got
        return size

    def upload(self, target: str, path: str, offset: int, size: int, digest: str) -> None:
        """POST for an upload, then PUT the whole blob."""
        answer = self.ask("POST", target, 0)
        answer.require(202)
        self.finish(answer)
        location = urlsplit(answer.headers["location"])
        query = f"{location.query}&" if location.query else ""
        self.put(f"{location.path}?{query}digest={digest}", path, offset, size)

    def put(self, target: str, path: str, offset: int, size: int) -> None:
        """PUT a part of a file, which must make something."""
        self.socket.sendall(self.request("PUT", target, size))
        with open(path, "rb") as file:
            end = offset + size
            while offset < end:
                offset += os.sendfile(
                    self.socket.fileno(), file.fileno(), offset, min(end - offset, 1 << 20)
                )
        answer = self.answer()
        answer.require(201)
        self.finish(answer)


# Kinds of job: each runs on one connection


def get(job: Job, connection: Connection, totals: Totals, first: int) -> None:
    """GET the job's targets in turn for its seconds; what the end cuts off counts as bytes."""
    stop_at = time.monotonic() + job["seconds"]
    targets: Iterator[str] = itertools.islice(itertools.cycle(job["targets"]), first, None)
    while time.monotonic() < stop_at:
        answer = connection.ask("GET", next(targets))
        answer.require(200)
        size = int(answer.headers["content-length"])
        left = size - len(answer.rest)
        while left > 0 and time.monotonic() < stop_at:
            left -= connection.receive(left)
        totals.add(1 if left == 0 else 0, size - left)


def slow(job: Job, connection: Connection, totals: Totals, first: int) -> None:
    """Read one target at about `rate` bytes/s for the job's seconds, then leave."""
    stop_at = time.monotonic() + job["seconds"]
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    del first
    answer = connection.ask("GET", job["targets"][0])
    answer.require(200)
    size = len(answer.rest)
    while time.monotonic() < stop_at:
        size += connection.receive(job["rate"] // 10)
        time.sleep(0.1)
    totals.add(1, size)


def push(job: Job, connection: Connection, totals: Totals, first: int) -> None:
    """Push every so-manieth piece of the job."""
    for path, offset, size, digest in job["pieces"][first :: job["connections"]]:
        connection.upload(job["targets"][0], path, offset, size, digest)
        totals.add(1, size)


def put(job: Job, connection: Connection, totals: Totals, first: int) -> None:
    """PUT every so-manieth piece of the job to the target that stands in the digest's place."""
    for path, offset, size, target in job["pieces"][first :: job["connections"]]:
        connection.put(target, path, offset, size)
        totals.add(1, size)


def pages(job: Job, connection: Connection, totals: Totals, first: int) -> None:
    """Read a whole list, page after page (Link: rel=next), again and again; one counts as one."""
    del first
    stop_at = time.monotonic() + job["seconds"]
    while time.monotonic() < stop_at:
        target: str | None = job["targets"][0]
        size = 0
        while target:
            answer = connection.ask("GET", target)
            answer.require(200)
            size += connection.finish(answer)
            found = re.match(r"<(?:https?://[^/]+)?([^>]+)>", answer.headers.get("link", ""))
            target = found[1] if found else None
        totals.add(1, size)


KINDS: dict[str, Callable[[Job, Connection, Totals, int], None]] = {
    "get": get,
    "slow": slow,
    "push": push,
    "put": put,
    "pages": pages,
}


def head(job: Job, connections: list[Connection], totals: Totals) -> None:
    """HEAD one target on all connections for the job's seconds (wrk waits for a body)."""
    request = connections[0].request("HEAD", job["targets"][0])
    poll = select.epoll()
    waiting = {at.socket.fileno(): (at.socket, bytearray()) for at in connections}
    for number, (connection, _) in waiting.items():
        poll.register(number, select.EPOLLIN)
        connection.sendall(request)
    stop_at = time.monotonic() + job["seconds"]
    while time.monotonic() < stop_at:
        for number, _ in poll.poll(1):
            connection, data = waiting[number]
            data += connection.recv(16 * 1024)
            if data.endswith(b"\r\n\r\n"):
                if not data.startswith(b"HTTP/1.1 200"):
                    raise Unexpected(bytes(data[:300]).decode("latin-1"))
                data.clear()
                totals.requests += 1
                connection.sendall(request)


def run(job: Job, connections: list[Connection], totals: Totals) -> None:
    """Do the job on all connections, each in its thread."""
    if job["kind"] == "head":
        head(job, connections, totals)
        return
    work = KINDS[job["kind"]]

    def one(connection: Connection, first: int) -> None:
        try:
            work(job, connection, totals, first)
        except (OSError, ValueError, KeyError, Unexpected) as error:
            totals.error = f"{type(error).__name__}: {error}"

    threads = [
        threading.Thread(target=one, args=(connection, job["first"] + number))
        for number, connection in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Do the job on standard input."""
    job: Job = json.loads(sys.stdin.readline())
    connections = [Connection(job) for _ in range(job["threads"])]
    totals = Totals()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    run(job, connections, totals)
    seconds = time.monotonic() - began
    if totals.error:
        print(totals.error, file=sys.stderr)
        return 1
    print(json.dumps({"requests": totals.requests, "bytes": totals.bytes, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
