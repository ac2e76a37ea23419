"""Background work goes on after a round that failed, and ends with its block."""

import asyncio

import pytest

from storage.periodic import repeating


class Rounds:
    """Work whose rounds are let through one by one."""

    def __init__(self, *failures: Exception | None) -> None:
        self._failures = list(failures)
        self._go = asyncio.Semaphore(0)
        self._done = asyncio.Semaphore(0)
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        await self._go.acquire()

    async def work(self) -> None:
        failure = self._failures.pop(0)
        self._done.release()
        if failure is not None:
            raise failure

    async def one(self) -> None:
        self._go.release()
        async with asyncio.timeout(10):
            await self._done.acquire()


async def test_a_round_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = Rounds(None, RuntimeError("unforeseen"), None)
    async with repeating("tidying", lambda: 7.0, rounds.work, rounds.sleep):
        for _ in range(3):
            await rounds.one()
    assert set(rounds.waited) == {7.0}
    assert "tidying: this round failed" in caplog.text
    assert "unforeseen" in caplog.text


async def broken(rounds: Rounds) -> None:
    async with repeating("tidying", lambda: 1.0, rounds.work, rounds.sleep):
        await rounds.one()
        raise ValueError("the block's own")


async def test_the_work_ends_with_its_block_whatever_ended_that() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await broken(Rounds(None))
    assert raised.group_contains(ValueError, match="the block's own")
    assert "tidying" not in {task.get_name() for task in asyncio.all_tasks()}
