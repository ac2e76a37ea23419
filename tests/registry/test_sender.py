"""What the sender of files guards against, one hazard at a time.

The test holds the other end of the connection: so the application itself can
read there in the very moment that it sends, which over a network would be a matter of luck.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from starlette.types import Receive, Scope, Send

from registry.page_cache import is_cached
from registry.zerocopy import EXTENSION, WINDOW
from tests.registry.connected import connected, drained, receive_until

CONTENT = b"from the file, the end"
TRIES = 30


class Counting(ThreadPoolExecutor):
    """An executor that knows what it was asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


def headers(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(length).encode())]


def of_file(file: BinaryIO, count: int) -> dict[str, Any]:
    return {"type": EXTENSION, "file": file, "offset": 0, "count": count}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("begun", [False, True], ids=["with its head", "after its head"])
async def test_an_answer_to_head_has_no_byte_of_the_file(path: Path, *, begun: bool) -> None:
    """An application need not look at the method: the extension asks that of the server."""
    size = len(CONTENT)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        more: list[tuple[bytes, bytes]] = [(b"connection", b"keep-alive")] if begun else []
        await send({"type": "http.response.start", "status": 200, "headers": headers(size) + more})
        with path.open("rb") as file:
            await send(of_file(file, size))

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours):
        peer.send(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await receive_until(peer, b"\r\n\r\n")
        assert f"content-length: {size}\r\n".encode() in head
        peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await receive_until(peer, b"the end")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_no_file_overtakes_bytes_that_wait_for_the_peer(path: Path) -> None:
    """A peer may make room after a write was refused and before the loop has gone on with it."""
    peer, ours = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    before = bytes(range(256)) * 200
    came = b""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal came
        length = headers(len(before) + len(CONTENT))
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": before, "more_body": True})
        came = drained(peer)
        assert len(came) < len(before), "nothing waits: make the socket's buffer smaller"
        with path.open("rb") as file:
            await send(of_file(file, len(CONTENT)))

    async with connected(app, peer, ours):
        peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        first = await receive_until(peer, b"the end")
    assert (came + first).partition(b"\r\n\r\n")[2] == before + CONTENT


async def test_answers_that_begin_alike_keep_their_own_last_header(path: Path) -> None:
    """What was rendered is used again, but for the id of the request."""
    size, asked = len(CONTENT), 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += 1
        named = [(b"x-number", b"%d" % asked)]
        fields = named + headers(size) if asked == 3 else headers(size) + named
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        with path.open("rb") as file:
            await send(of_file(file, size))

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours):
        for number in (1, 2, 3):
            peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            head, _, body = (await receive_until(peer, b"the end")).partition(b"\r\n\r\n")
            assert body == CONTENT
            assert head.count(b"x-number: %d\r\n" % number) + head.endswith(b": %d" % number) == 1
            assert head.count(b"content-length: %d" % size) == 1


async def test_a_cookie_is_sent_and_not_remembered() -> None:
    cookie = b"session=" + os.urandom(8).hex().encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [(b"set-cookie", cookie), *headers(len(CONTENT))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": CONTENT})

    held = sys.getrefcount(cookie)
    peer, ours = socket.socketpair()
    async with connected(app, peer, ours):
        peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        came = await receive_until(peer, b"the end")
    assert b"set-cookie: " + cookie + b"\r\n" in came
    del ours
    assert sys.getrefcount(cookie) == held


@pytest.mark.parametrize("cold", [True, False])
async def test_a_thread_reads_what_the_page_cache_does_not_hold(
    tmp_path: Path, *, cold: bool
) -> None:
    """sendfile of a cold page would stop the loop, and everybody else, for as long as the disk."""
    executor, content = Counting(), os.urandom(WINDOW + WINDOW // 2 - 7) + b"the end"
    path, size = tmp_path / "large", len(content)
    path.write_bytes(content)
    asyncio.get_running_loop().set_default_executor(executor)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers(size)})
        with path.open("rb") as file:
            if cold:
                drop(file)
            await send(of_file(file, size))

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours):
        # Without cachestat to look whether a page is there begins to read it, and a quick disk may
        # be done by then.
        for _ in range(TRIES if cold else 1):
            peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            came = await receive_until(peer, b"the end")
            assert came.endswith(content)
            if executor.calls:
                break
    if cold and not executor.calls and not is_droppable(path):
        pytest.skip("temporary files lie on a file system whose pages cannot be dropped")
    assert (executor.calls > 0) is cold


async def test_who_asked_the_kernel_before_is_believed(tmp_path: Path) -> None:
    executor, path = Counting(), tmp_path / "file"
    path.write_bytes(CONTENT)
    asyncio.get_running_loop().set_default_executor(executor)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = len(CONTENT)
        await send({"type": "http.response.start", "status": 200, "headers": headers(size)})
        with path.open("rb") as file:
            drop(file)
            await send({**of_file(file, size), "cached": True})

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours):
        for _ in range(3):
            peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await receive_until(peer, b"the end")).endswith(CONTENT)
    if not is_droppable(path):
        pytest.skip("temporary files lie on a file system whose pages cannot be dropped")
    assert not executor.calls


def drop(file: BinaryIO) -> None:
    """Take a file out of the page cache, if its file system lets us."""
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def is_droppable(path: Path) -> bool:
    with path.open("rb") as file:
        for _ in range(TRIES):
            drop(file)
            if not is_cached(file.fileno(), 0, WINDOW):
                return True
    return False
