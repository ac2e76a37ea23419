"""The worker's own task: one of them works, errors do not end it, and it stops cleanly."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Message

from registry.app import build_app
from registry.background import GarbageCollection, summary
from registry.config import Config
from registry.gc import LEASE
from registry.leases import LeaseLost
from registry.startup import prepare_database
from tests.registry.gc.depot import DAY, Depot


class Alarm:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._asleep = asyncio.Event()
        self._wake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._asleep.set()
        await self._wake.wait()
        self._wake.clear()

    async def ring(self) -> None:
        """Wake the sleeper, and return when it sleeps again."""
        await self._asleep.wait()
        self._asleep.clear()
        self._wake.set()
        await self._asleep.wait()


@asynccontextmanager
async def worker(depot: Depot, alarm: Alarm) -> AsyncIterator[GarbageCollection]:
    made = GarbageCollection(depot.collector, depot.services.leases, 60, alarm)
    async with made.running():
        yield made


async def test_a_round_comes_about_every_interval_and_is_told_when_it_did_something(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "packhouse.gc")
    await depot.push_blob(b"layer")
    alarm = Alarm()
    async with worker(depot, alarm):
        await alarm.ring()
        assert caplog.messages == []
        depot.clock.advance(DAY - 1)
        await alarm.ring()
        depot.clock.advance(2)
        await alarm.ring()
    assert [message for message in caplog.messages if "removed" in message] == [
        "gc removed 1 links"
    ]
    assert all(30 <= seconds <= 90 for seconds in alarm.asked)
    assert len(set(alarm.asked)) == len(alarm.asked), "jittered"


async def test_an_error_is_logged_and_the_next_round_tries_again(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    await depot.push_blob(b"layer")
    await depot.push_blob(b"layer")  # an object for the trash
    blobs = depot.directory / "blobs"
    broken = blobs.with_name("elsewhere")
    (key,) = [str(row[0]) for row in (await depot.rows("trash"))["trash"]]
    blobs.rename(broken)
    blobs.write_text("a file where a directory should be")
    alarm = Alarm()
    async with worker(depot, alarm):
        await alarm.ring()
        assert "this round failed" in caplog.text
        assert await depot.count("trash") == 1
        blobs.unlink()
        broken.rename(blobs)
        await alarm.ring()
    assert await depot.count("trash") == 0
    assert key not in depot.objects()


async def test_one_worker_works_and_the_next_takes_over_when_it_stops(depot: Depot) -> None:
    first, second = (
        GarbageCollection(depot.collector, depot.services.leases, 60) for _ in range(2)
    )
    assert await first.round() is not None
    assert await second.round() is None
    async with first.running():
        pass
    assert await second.round() is not None


async def test_a_worker_that_lost_its_lease_says_so_once_and_waits_for_the_next(
    depot: Depot,
) -> None:
    collection = GarbageCollection(depot.collector, depot.services.leases, 60)
    assert await collection.round() is not None
    thief = await depot.services.leases.acquire(LEASE, 60, steal=True)
    assert thief is not None
    with pytest.raises(LeaseLost):
        await collection.round()
    assert await collection.round() is None
    await thief.release()
    assert await collection.round() is not None


def test_a_summary_leaves_out_what_was_none() -> None:
    assert summary(Counter({"manifests": 3, "links": 0, "bytes": 12})) == "3 manifests, 12 bytes"
    assert summary(Counter()) == "nothing"


def test_the_lifespan_owns_the_task(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), reserve_bytes=0)
    prepare_database(config)

    async def live() -> None:
        said: asyncio.Queue[str] = asyncio.Queue()
        asked: asyncio.Queue[Message] = asyncio.Queue()

        async def send(message: Message) -> None:
            said.put_nowait(message["type"])

        serving = asyncio.create_task(
            build_app(config)({"type": "lifespan", "asgi": {}, "state": {}}, asked.get, send)
        )
        asked.put_nowait({"type": "lifespan.startup"})
        assert await said.get() == "lifespan.startup.complete"
        assert "gc" in {task.get_name() for task in asyncio.all_tasks()}
        asked.put_nowait({"type": "lifespan.shutdown"})
        assert await said.get() == "lifespan.shutdown.complete"
        assert "gc" not in {task.get_name() for task in asyncio.all_tasks()}
        await serving

    asyncio.run(live())
