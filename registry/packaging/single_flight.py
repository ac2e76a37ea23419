"""Work that several ask for at once, and one does."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from storage.errors import PackhouseError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Gives all who ask for the same meanwhile what the first of them found, or why he did not.

    Where he leaves before the end, the next one begins anew.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, or returned to another. Raises what it raised."""
        flight = self._flights.setdefault(key, _Flight())
        flight.waiting += 1
        try:
            async with flight.lock:
                if not flight.found and flight.error is None:
                    try:
                        flight.found.append(await work())
                    except PackhouseError as error:
                        flight.error = error
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._flights.pop(key, None)
        if flight.error is not None:
            raise flight.error
        return flight.found[0]


class _Flight(Generic[T]):
    """One piece of work, and how many wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.found: list[T] = []
        self.error: PackhouseError | None = None
