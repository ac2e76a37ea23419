"""Pages by key: a page costs its own rows, whatever the total."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from registry.rest.operation import Page
from storage.database import Row

T = TypeVar("T")


def page_of(rows: Sequence[Row], n: int, key: str, show: Callable[[Row], T]) -> Page[T]:
    """Return the first `n` of up to `n + 1` rows, and the key after which the others come."""
    chosen = rows[:n]
    more = str(chosen[-1][key]) if len(rows) > n else None
    return Page([show(row) for row in chosen], more)
