"""Pushers, deleters and gcs at once over the same data: findings 4 as a program.

`python -m tests.registry.gc.simulation JSON` runs one process of it. The clock of all processes
runs a hundred thousand times as fast as the machine's, so that a day is about a second; pushers
dawdle between being told that a layer is here and naming it in a manifest, gcs and purges between
reading their lists and acting on them, so that every window is open most of the time.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from auth.audit import OPERATOR
from registry.app import FORMATS
from registry.errors import ContentMissing
from registry.gc import LEASE, Collector
from registry.leases import LeaseLost, Leases, Term
from registry.purging import Purging
from registry.restoration import Restoration
from storage.clock import SECOND
from storage.connect import open_database
from storage.database import Database, Row, T, Value, Work
from storage.digest import Digest
from storage.errors import Conflict, NotAllowed, NotFound, PackhouseError
from tests.registry.gc.depot import Depot, SetClock, image

REPOSITORIES = ("admin/one", "admin/two", "admin/three")
PURGED = "admin/purged"
"""Where images of the same layers are pushed, deleted and purged all the time."""

EVERYWHERE = (*REPOSITORIES, PURGED)

PATIENCE = 60
"""Seconds, on a machine that has other work."""

AN_AGE = 10**9
"""Seconds of a lease: by that clock any work takes days."""

LAYERS = [b"layer %d " % number * 50 for number in range(60)]
"""Few enough to be shared, orphaned and pushed again all the time."""


class FastClock(SetClock):
    """The machine's clock, faster; the same in every process."""

    def __init__(self, began: float, speed: float) -> None:
        super().__init__()
        self._began = began
        self._start = self.at
        self._speed = speed

    def __call__(self) -> int:
        return self._start + int((time.time() - self._began) * self._speed * SECOND)


class Dawdling:
    """A database for gc that dawdles after each list it reads: then the world has moved on."""

    def __init__(self, inner: Database, dice: random.Random) -> None:
        self._inner = inner
        self._dice = dice

    async def fetch(self, sql: str, *args: Value) -> list[Row]:
        rows = list(await self._inner.fetch(sql, *args))
        await asyncio.sleep(self._dice.uniform(0, 0.02))
        return rows

    async def write(self, work: Work[T]) -> T:
        return await self._inner.write(work)

    async def execute(self, sql: str, *args: Value) -> int:
        return await self._inner.execute(sql, *args)


class DawdlingLeases(Leases):
    """Leases under which work dawdles."""

    def __init__(self, depot: Depot, dice: random.Random) -> None:
        super().__init__(depot.database, depot.clock, "a purge")
        self._slow = Dawdling(depot.database, dice)

    async def acquire(self, name: str, seconds: int, *, steal: bool = False) -> Term | None:
        term = await super().acquire(name, seconds, steal=steal)
        if term is not None:
            object.__setattr__(term, "database", self._slow)
        return term


class CountedPurging(Purging):
    """Purges that dawdle as gc does, and are counted."""

    def __init__(self, depot: Depot, dice: random.Random, counts: Counter[str]) -> None:
        super().__init__(depot.collector, DawdlingLeases(depot, dice), AN_AGE)
        self._counts = counts

    async def finish(self) -> Counter[str]:
        removed = await super().finish()
        self._counts.update({f"purged {what}": count for what, count in removed.items()})
        return removed


class Simulation:
    """One process: so many pushers, deleters and gcs until the time is up."""

    def __init__(self, depot: Depot, order: dict[str, Any]) -> None:
        self.depot = depot
        self.ends = order["ends"]
        self.wanted = order["wanted"]
        self.deleting = order["deleters"] > 0
        self.dice = random.Random(order["seed"])
        self.counts: Counter[str] = Counter()
        purging = CountedPurging(depot, self.dice, self.counts)
        self.restoration = Restoration(depot.database, purging, FORMATS, depot.clock)
        self.broken: list[str] = []

    @property
    def running(self) -> bool:
        """Until the time is up and all that is wanted has happened, or that takes too long."""
        late = time.time() - self.ends
        return late < 0 or (late < PATIENCE and not all(self.counts[what] for what in self.wanted))

    async def run(self, pushers: int, deleters: int, purgers: int, gcs: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(pushers):
                group.create_task(self.push_for_ever())
            for _ in range(deleters):
                group.create_task(self.delete_for_ever())
            for _ in range(purgers):
                group.create_task(self.purge_for_ever())
            for _ in range(gcs):
                group.create_task(self.collect_for_ever())

    async def push_for_ever(self) -> None:
        while self.running:
            repository = self.dice.choice(REPOSITORIES)
            layers = self.dice.sample(LAYERS, self.dice.randint(1, 3))
            layers.append(b"own %d" % self.dice.randrange(10**6))
            tag = f"t{self.dice.randrange(6)}"
            data = image(layers, note=str(self.dice.randrange(4)))
            began = self.depot.clock()
            try:
                await self.push(repository, layers, data, tag)
            except ContentMissing as error:
                # Named by a manifest when asked, deleted since: a client begins again.
                self.counts["told to begin again"] += 1
                hours = (self.depot.clock() - began) / SECOND / 3600
                if hours < 23 and not self.deleting:
                    self.broken.append(f"{repository}: after {hours:.1f} hours: {error}")

    async def push(self, repository: str, layers: list[bytes], data: bytes, tag: str) -> None:
        for layer in layers:
            await self.offer(repository, layer)
            await self.dawdle()
        if self.dice.random() < 0.3:
            self.counts["given up"] += 1
        else:
            await self.depot.push(data, tag, repository=repository)
            self.counts["pushes"] += 1
            await self.check(repository, layers, data)

    async def offer(self, repository: str, layer: bytes) -> None:
        """As clients do: ask, mount, or push."""
        digest = Digest.of(layer)
        if await self.depot.has_blob(digest, repository):
            self.counts["found"] += 1
        elif await self.depot.mount(digest, repository, self.dice.choice(EVERYWHERE)):
            self.counts["mounts"] += 1
        else:
            await self.depot.push_blob(layer, repository)
            self.counts["pushed blobs"] += 1

    async def check(self, repository: str, layers: list[bytes], data: bytes) -> None:
        """What was acknowledged is read back, unless somebody has deleted it meanwhile."""
        digest = Digest.of(data)
        for layer in layers:
            try:
                if await self.depot.read_blob(Digest.of(layer), repository) == layer:
                    continue
                problem = "other bytes"
            except NotFound as error:
                problem = repr(error)
            if await self.depot.read(digest, repository) is not None:
                try:
                    await self.depot.read_blob(Digest.of(layer), repository)
                except NotFound as error:
                    self.broken.append(f"{repository} {digest}: {problem}, {error!r}")

    async def delete_for_ever(self) -> None:
        while self.running:
            await self.dawdle()
            repository = self.dice.choice(REPOSITORIES)
            data = await self.depot.read(f"t{self.dice.randrange(6)}", repository)
            if data is None:
                continue
            try:
                deletion = await self.depot.delete(Digest.of(data), repository)
                if self.dice.random() < 0.7:
                    await self.restoration.purge(OPERATOR, repository, deletion)
                    self.counts["purges"] += 1
                elif self.dice.random() < 0.5:
                    await self.restoration.restore(OPERATOR, repository, deletion)
                    self.counts["restores"] += 1
            except (NotFound, NotAllowed, Conflict):
                continue  # somebody else was faster, or it took days
            self.counts["deletions"] += 1

    async def purge_for_ever(self) -> None:
        """What goes with a purge is linked elsewhere, or being pushed there, most of the time."""
        while self.running:
            layers = self.dice.sample(LAYERS, 3)
            data = image(layers, note="purged")
            try:
                for layer in layers:
                    await self.offer(PURGED, layer)
                await self.depot.push(data, repository=PURGED)
                deletion = await self.depot.delete(Digest.of(data), PURGED)
                await self.restoration.purge(OPERATOR, PURGED, deletion)
            except (ContentMissing, NotFound):
                continue  # another one purges here too
            self.counts["purges"] += 1

    async def collect_for_ever(self) -> None:
        """Each gc takes the lease from the other in the middle of its rounds."""
        slow = Dawdling(self.depot.database, self.dice)
        depot = self.depot
        collector = Collector(depot.store, depot.collector.retention, depot.clock)
        while self.running:
            term = await self.depot.services.leases.acquire(
                LEASE, AN_AGE, steal=self.dice.random() < 0.03
            )
            if term is None:
                await self.dawdle()
                continue
            object.__setattr__(term, "database", slow)
            try:
                done = await collector.round(term)
                self.counts.update(done.removed)
                self.counts["rounds"] += 1
            except LeaseLost:
                self.counts["leases lost"] += 1
            await term.release()
            await self.dawdle()
        await collector.sweep.close()

    async def dawdle(self) -> None:
        await asyncio.sleep(self.dice.uniform(0, 0.03))


async def simulate(order: dict[str, Any]) -> dict[str, Any]:
    """Run one process's share and report."""
    directory = Path(order["directory"])
    clock = FastClock(order["began"], order["speed"])
    async with await open_database(order["url"], directory) as database:
        depot = Depot(database, directory / "data", clock)
        try:
            await depot.enter()
            simulation = Simulation(depot, order)
            await simulation.run(*(order[who] for who in ("pushers", "deleters", "purgers", "gcs")))
            return {"counts": simulation.counts, "broken": simulation.broken}
        finally:
            await depot.close()


if __name__ == "__main__":
    try:
        print(json.dumps(asyncio.run(simulate(json.loads(sys.argv[1])))))
    except PackhouseError as failure:
        sys.exit(failure.message)
