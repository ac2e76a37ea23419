"""Which worker takes a new connection: one that has the fewest, unless it is busy.

All workers wait at the same sockets and wake together, and the first takes what there is: of eight
connections one worker often got six, and once all, while the other had nothing to do.
"""

import os
import socket
import time
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from typing import Any

from registry import congestion

PATIENCE_SECONDS = 0.002
"""How long a worker leaves a connection to others; meanwhile it does whatever else it has."""

ANOTHER_SECONDS = 1.0
"""After so long it is another connection that waits: nobody says who took the last one."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many connections each worker has, in memory of all; `number` is the one that writes."""

    counts: MutableSequence[int]
    number: int

    def say(self, count: int) -> None:
        """Tell the others how many this worker has."""
        self.counts[self.number] = count

    def add(self) -> None:
        """Tell the others of one more."""
        self.counts[self.number] += 1

    @property
    def has_more(self) -> bool:
        """Whether some other worker has fewer."""
        return min(self.counts) < self.counts[self.number]


class FairListener(socket.socket):
    """A listening socket that lets workers with fewer connections go first."""

    def __init__(
        self, bound: socket.socket, shares: Shares, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(fileno=bound.detach())
        self._elsewhere = congestion.begin_unpaced(self)
        self.shares = shares
        self._clock = clock
        self._since: float | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection; BlockingIOError, as if there were none, while others should."""
        if self.shares.has_more:
            now = self._clock()
            if self._since is None or now - self._since >= ANOTHER_SECONDS:
                self._since = now
            if now - self._since < PATIENCE_SECONDS:
                os.sched_yield()
                raise BlockingIOError
        self._since = None
        taken, peer = super().accept()
        self.shares.add()
        if self._elsewhere is not None:
            congestion.settle(taken, peer, self._elsewhere)
        return taken, peer
