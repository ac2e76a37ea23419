"""Work that several ask for at once, and one does."""

import asyncio

import pytest

from registry.packaging.single_flight import SingleFlight
from storage.errors import Invalid


class Work:
    """Something slow, which says how often it was begun and ends when it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()
        self.started = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        self.started.set()
        await self.may_end.wait()
        return self.begun


async def test_all_who_ask_meanwhile_get_what_the_first_found() -> None:
    flight, work = SingleFlight[int](), Work()
    asking = [asyncio.create_task(flight.once("a", work)) for _ in range(10)]
    await work.started.wait()
    work.may_end.set()
    assert await asyncio.gather(*asking) == [1] * 10
    assert await flight.once("a", work) == 2


async def test_others_do_not_wait_for_it() -> None:
    flight, work, other = SingleFlight[int](), Work(), Work()
    asking = asyncio.create_task(flight.once("a", work))
    await work.started.wait()
    other.may_end.set()
    assert await flight.once("b", other) == 1
    work.may_end.set()
    assert await asking == 1


async def test_a_refusal_is_that_of_all() -> None:
    flight, calls = SingleFlight[int](), []

    async def refuse() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        raise Invalid("no")

    asking = [flight.once("a", refuse) for _ in range(3)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in found] == [Invalid] * 3
    assert len(calls) == 1


async def test_the_next_begins_anew_where_the_first_leaves() -> None:
    flight, work = SingleFlight[int](), Work()
    first = asyncio.create_task(flight.once("a", work))
    await work.started.wait()
    second = asyncio.create_task(flight.once("a", work))
    await asyncio.sleep(0)
    first.cancel()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 2
