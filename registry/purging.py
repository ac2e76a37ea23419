"""Purges, done to their end at once: the rows that were marked, their blobs, and the bytes.

What a purge marks is past every window and grace, and gc's rounds would remove it too; this does
so within the request that asked, under a lease of its own, so that gc keeps its place in the sweep.
A process that dies here leaves marks, and gc's next round goes on with them.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress

from registry.background import summary
from registry.gc import Collector
from registry.leases import LeaseLost, Leases, Term
from registry.retention import Retention
from storage.errors import PackhouseError
from storage.periodic import Sleep

log = logging.getLogger("packhouse.gc")

LEASE = "purge"
LEASE_SECONDS = 10
"""How long the others wait for a holder that died, at most; each transaction begins it anew."""

TURN = 0.1
TURNS = 150
"""Seconds between two looks whether another purge has ended, and how many looks."""


class Purging:
    """Removes what purges marked, one process at a time."""

    def __init__(
        self,
        collector: Collector,
        leases: Leases,
        seconds: int = LEASE_SECONDS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._collector = collector
        self._leases = leases
        self._seconds = seconds
        self._sleep = sleep

    @property
    def retention(self) -> Retention:
        """How long is kept what was not purged."""
        return self._collector.retention

    async def finish(self) -> Counter[str]:
        """Remove all that is marked, and say how much; gc does that if another purge never ends."""
        term = await self._turn()
        if term is None:
            log.info("another purge goes on: gc removes what this one marked")
            return Counter()
        try:
            removed = await self._collector.purge(term)
        except LeaseLost as error:
            log.info("purge: %s", error)
            return Counter()
        finally:
            with suppress(PackhouseError):  # a database that is gone: the lease runs out by itself
                await term.release()
        if any(removed.values()):
            log.info("purge removed %s", summary(removed))
        return removed

    async def _turn(self) -> Term | None:
        for _ in range(TURNS):
            term = await self._leases.acquire(LEASE, self._seconds)
            if term is not None:
                return term
            await self._sleep(TURN)
        return None
