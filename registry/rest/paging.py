"""Pages by key: a page costs its own rows, whatever the total."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TypeVar

from registry.rest.operation import Page
from storage.database import Row

S = TypeVar("S")
T = TypeVar("T")


def page_of(rows: Sequence[Row], n: int, key: str, show: Callable[[Row], T]) -> Page[T]:
    """Return the first `n` of up to `n + 1` rows, and the key after which the others come."""
    return page_by(rows, n, itemgetter(key), show)


def page_by(
    found: Sequence[S], n: int, key: Callable[[S], object], show: Callable[[S], T]
) -> Page[T]:
    """Return the same of what are no rows."""
    chosen = found[:n]
    more = str(key(chosen[-1])) if len(found) > n else None
    return Page([show(one) for one in chosen], more)
