"""Background work of a worker: owned by the lifespan, one round about every minute.

Every worker tries; the one that has the lease keeps it until it stops, so that a sweep goes on
where it was. `packhouse gc` may take the lease from it: its round then ends, and it tries again.
"""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from registry.gc import LEASE
from registry.leases import LeaseLost, Leases, Term
from registry.metered import Rounds
from storage.errors import PackhouseError
from storage.periodic import Sleep, repeating

log = logging.getLogger("packhouse.gc")

LEASE_SECONDS = 300
"""How long the others wait for a holder that died, at least; each transaction begins it anew."""


def holder() -> str:
    """Say who this is, for people who read the lease."""
    return f"{os.uname().nodename} process {os.getpid()}"


class GarbageCollection:
    """Runs a collector's rounds while its lifespan lasts."""

    def __init__(
        self,
        collector: Rounds,
        leases: Leases,
        interval: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._collector = collector
        self._leases = leases
        self._interval = interval
        self._sleep = sleep
        self._term: Term | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run rounds in a task; on the way out end it and give the lease back."""
        async with repeating("gc", self._wait, self._work, self._sleep):
            yield
        await self._collector.sweep.close()
        if self._term is not None:
            with suppress(PackhouseError):  # a database that is gone: the lease runs out by itself
                await self._term.release()

    async def round(self) -> Counter[str] | None:
        """Do one round; None where another process holds the lease. Raises LeaseLost."""
        if self._term is None:
            seconds = max(LEASE_SECONDS, 3 * self._interval)
            self._term = await self._leases.acquire(LEASE, seconds)
        if self._term is None:
            return None
        try:
            await self._term.renew()
            return (await self._collector.round(self._term)).removed
        except LeaseLost:
            self._term = None
            raise

    def _wait(self) -> float:
        """Spread, so that replicas and workers do not all ask at once."""
        return self._interval * random.uniform(0.5, 1.5)  # noqa: S311

    async def _work(self) -> None:
        try:
            _report(await self.round())
        except LeaseLost as error:
            log.info("gc: %s", error)


def _report(removed: Counter[str] | None) -> None:
    if removed is not None and any(removed.values()):
        log.info("gc removed %s", summary(removed))


def summary(removed: Counter[str]) -> str:
    """Render what a round removed as one line: `3 manifests, 5 blobs, 1234 bytes`."""
    return ", ".join(f"{count} {what}" for what, count in removed.items() if count) or "nothing"
