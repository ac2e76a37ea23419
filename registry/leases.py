"""Leases: background work runs in one process at a time, and a process that overslept does nothing.

A lease is one row: who holds it, until when, and a fence that grows with every taking. The holder
works in a Term, whose every transaction begins by renewing the row under its own fence: the row's
lock keeps the next holder out until that transaction ends, and a term that was taken over, or that
ran out unnoticed, finds no row and changes nothing. So taking a lease from its holder is safe.

Reading list: Kleppmann, "How to do distributed locking" (fencing tokens).
"""

from dataclasses import dataclass

from storage.clock import SECOND, Clock
from storage.database import Database, T, Transaction, Work

INSERT_LEASE = """
insert into leases (name, holder, fence, held_until) values ($1, '', 0, 0)
on conflict (name) do nothing
"""
TAKE_LEASE = """
update leases set holder = $2, fence = fence + 1, held_until = $3
where name = $1 and held_until <= $4 returning fence
"""
TAKE_LEASE_OVER = """
update leases set holder = $2, fence = fence + 1, held_until = $3 where name = $1 returning fence
"""
RENEW_LEASE = """
update leases set held_until = $3 where name = $1 and fence = $2 and held_until > $4
"""
RELEASE_LEASE = "update leases set held_until = 0 where name = $1 and fence = $2"


class LeaseLost(Exception):
    """This term is over: another process took the lease, or it ran out. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Term:
    """One holding of a lease, and the only way to write under it."""

    database: Database
    clock: Clock
    name: str
    fence: int
    seconds: int

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction that renews the lease first. Raises LeaseLost."""
        at = self.clock()

        async def fenced(tx: Transaction) -> T:
            until = at + self.seconds * SECOND
            if not await tx.execute(RENEW_LEASE, self.name, self.fence, until, at):
                raise LeaseLost(f"the lease {self.name!r} with fence {self.fence} is over")
            return await work(tx)

        return await self.database.write(fenced)

    async def renew(self) -> None:
        """Hold on while nothing is written. Raises LeaseLost."""

        async def nothing(_: Transaction) -> None:
            return None

        await self.write(nothing)

    async def release(self) -> None:
        """Let the next one in at once; a term that is over already is left alone."""
        await self.database.execute(RELEASE_LEASE, self.name, self.fence)


class Leases:
    """Takes leases by name."""

    def __init__(self, database: Database, clock: Clock, holder: str) -> None:
        self._database = database
        self._clock = clock
        self._holder = holder

    async def acquire(self, name: str, seconds: int, *, steal: bool = False) -> Term | None:
        """Begin a term of `seconds`; None while another one lasts, unless `steal` ends that."""
        at = self._clock()
        until = at + seconds * SECOND

        async def work(tx: Transaction) -> int | None:
            await tx.execute(INSERT_LEASE, name)
            if steal:
                row = await tx.fetch_one(TAKE_LEASE_OVER, name, self._holder, until)
            else:
                row = await tx.fetch_one(TAKE_LEASE, name, self._holder, until, at)
            return None if row is None else row["fence"]

        fence = await self._database.write(work)
        if fence is None:
            return None
        return Term(self._database, self._clock, name, fence, seconds)
