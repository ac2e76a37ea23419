"""Work that comes round again and again in a task, as long as a block lasts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

log = logging.getLogger("packhouse.periodic")

Sleep = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def repeating(
    name: str, seconds: Callable[[], float], work: Callable[[], Awaitable[object]], sleep: Sleep
) -> AsyncIterator[None]:
    """Do `work` after each wait of `seconds()` while the block runs, which ends it.

    What it raises is logged under `name`, and the next round tries again: a task that died would
    take the server along.
    """

    async def run() -> None:
        while True:
            await sleep(seconds())
            try:
                await work()
            except Exception:
                log.exception("%s: this round failed; the next one tries again", name)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name=name)
        try:
            yield
        finally:
            task.cancel()
