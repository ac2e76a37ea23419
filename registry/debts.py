"""What each key has asked for of late, as time it owes, in memory that all workers share.

The memory has a fixed size, whatever clients send. A key is hashed, under a secret of this start,
to a set of eight words. A word holds 20 bits of the hash and the tick until which the key owes; it
is read and written whole, so no mixture of two keys is ever seen. Nothing locks: where two workers
write one word in the same microsecond, one request goes uncounted. Where all eight words of a set
are debts, the smallest is forgotten: a flood of keys makes limits laxer, and nobody pays for
another (but for two keys of one set that share those 20 bits: one pair in 2^33).
"""

import hashlib
import mmap
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any, Self

TICKS = 2**15
"""In a second."""

_WAYS = 8
_SETS = 2**13
_TAG_BITS = 20
_TIME_BITS = 64 - _TAG_BITS
_LATEST = 2**_TIME_BITS - 1
"""The last tick that fits: 17 years after the start."""
_BYTES = _SETS * _WAYS * 8


@dataclass(slots=True)
class Debt:
    """One key's word: where it is or may be put, its tag, and the tick until which it owes."""

    index: int
    tag: int
    until: int


class Debts:
    """A table of debts; pickled for a spawned process, it is the same table there."""

    def __init__(
        self,
        memory: mmap.mmap,
        secret: bytes,
        started: float,
        *,
        file: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._words = memoryview(memory).cast("Q")
        self._secret = secret
        self._started = started
        self._file = file
        self._clock = clock

    @classmethod
    def alone(cls, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return an empty table of this process."""
        return cls(mmap.mmap(-1, _BYTES), secrets.token_bytes(16), clock(), clock=clock)

    @classmethod
    def shared(cls) -> Self:
        """Return an empty table that can be given to processes spawned while this object lives."""
        file = _nameless_file()
        # All of it now: a page that a full disk has no room for would end a worker with SIGBUS.
        with open(file, "wb", closefd=False) as writer:
            writer.write(bytes(_BYTES))
        memory = mmap.mmap(file, _BYTES)
        return cls(memory, secrets.token_bytes(16), time.monotonic(), file=file)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle for a process that is being spawned, and is given the open file."""
        if self._file is None:
            raise TypeError("a table of one process cannot be given to another")
        return _attach, (DupFd(self._file), self._secret, self._started)

    def now(self) -> int:
        """Return the ticks since the start, the same in all processes of this machine."""
        return max(0, int((self._clock() - self._started) * TICKS))

    def find(self, key: bytes) -> Debt:
        """Return what `key` owes; where it owes nothing, with the place of the smallest debt."""
        digest = hashlib.blake2b(key, digest_size=8, key=self._secret).digest()
        hashed = int.from_bytes(digest, "little")
        base, tag = hashed % _SETS * _WAYS, hashed >> _TIME_BITS
        smallest, least = base, _LATEST
        for index, word in enumerate(self._words[base : base + _WAYS].tolist(), base):
            until = word & _LATEST
            if word >> _TIME_BITS == tag and until:
                return Debt(index, tag, until)
            if until < least:
                smallest, least = index, until
        return Debt(smallest, tag, 0)

    def owe(self, debt: Debt, until: int) -> None:
        """Write that the key of `debt` owes until that tick."""
        self._words[debt.index] = debt.tag << _TIME_BITS | min(until, _LATEST)


def _nameless_file() -> int:
    """Open a file that only those it is given to can reach: in memory, where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("packhouse-debts")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _attach(handed: Any, secret: bytes, started: float) -> Debts:
    fd = handed.detach()
    try:
        return Debts(mmap.mmap(fd, _BYTES), secret, started)
    finally:
        os.close(fd)  # the mapping has its own


@dataclass(frozen=True, slots=True)
class Counts:
    """What requests are counted in: one pair of tables for all workers of a server."""

    debts: Debts
    known: Debts

    @classmethod
    def alone(cls) -> Self:
        """Count for this process alone."""
        return cls(Debts.alone(), Debts.alone())

    @classmethod
    def shared(cls) -> Self:
        """Count for all processes that are given this one while they are spawned."""
        return cls(Debts.shared(), Debts.shared())
