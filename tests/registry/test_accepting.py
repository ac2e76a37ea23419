"""Connections are shared out evenly, and none waits for a worker that does not come."""

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from registry.accepting import ANOTHER_SECONDS, PATIENCE_SECONDS, FairListener, Shares


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """Yield a listening socket, as a worker gets it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


class Clock:
    """Seconds that the test lets pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def workers(bound: socket.socket, count: int, clock: Clock) -> list[FairListener]:
    """Return what each worker makes of the socket: each has a descriptor of its own."""
    counts = multiprocessing.get_context("spawn").RawArray("i", count)
    return [FairListener(bound.dup(), Shares(counts, number), clock) for number in range(count)]


class Counted(asyncio.Protocol):
    """Counts the connections of one worker, and says when all have come."""

    def __init__(self, counts: list[int], number: int, arrived: asyncio.Event) -> None:
        counts[number] += 1
        if sum(counts) == 8:
            arrived.set()


async def test_eight_connections_are_four_for_each_of_two_workers(
    bound: socket.socket, clock: Clock
) -> None:
    address, counts, arrived = bound.getsockname(), [0, 0], asyncio.Event()
    async with AsyncExitStack() as stack:
        for number, listener in enumerate(workers(bound, 2, clock)):
            serve = asyncio.get_running_loop().create_server
            server = await serve(partial(Counted, counts, number, arrived), sock=listener)
            stack.callback(server.close)
        for _ in range(8):
            _, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
        async with asyncio.timeout(60):
            await arrived.wait()
        assert counts == [4, 4]


def test_a_worker_that_does_not_come_is_not_waited_for(bound: socket.socket, clock: Clock) -> None:
    awake, asleep = workers(bound, 2, clock)
    with awake, asleep, socket.create_connection(bound.getsockname()):
        awake.shares.say(1)
        for _ in range(100):
            with pytest.raises(BlockingIOError):
                awake.accept()
        clock.now += PATIENCE_SECONDS
        awake.accept()[0].close()
        with socket.create_connection(bound.getsockname()), pytest.raises(BlockingIOError):
            awake.accept()  # the next one has a time of its own


def test_who_left_one_to_the_others_leaves_them_the_next_too(
    bound: socket.socket, clock: Clock
) -> None:
    many, few = workers(bound, 2, clock)
    with many, few:
        many.shares.say(5)
        for _ in range(3):
            with socket.create_connection(bound.getsockname()):
                with pytest.raises(BlockingIOError):
                    many.accept()
                few.accept()[0].close()
            clock.now += ANOTHER_SECONDS


def test_who_lost_connections_takes_the_next(bound: socket.socket, clock: Clock) -> None:
    first, second = workers(bound, 2, clock)
    with first, second:
        first.shares.say(3)
        second.shares.say(2)
        with socket.create_connection(bound.getsockname()):
            with pytest.raises(BlockingIOError):
                first.accept()
            first.shares.say(2)
            first.accept()[0].close()
        with socket.create_connection(bound.getsockname()):
            second.accept()[0].close()


def test_one_worker_takes_all(bound: socket.socket, clock: Clock) -> None:
    (only,) = workers(bound, 1, clock)
    with only:
        for _ in range(3):
            with socket.create_connection(bound.getsockname()):
                only.accept()[0].close()
