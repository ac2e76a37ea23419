"""Pages by number, with the links between them.

Reading list: GitHub's REST API, "Using pagination in the REST API"; RFC 8288.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from storage.errors import Invalid

MOST_ITEMS = 10_000
MOST_ON_A_PAGE = 100


class Numbered(msgspec.Struct, frozen=True):
    """Which page, counted from 1, and how many items are on each."""

    page: int = 1
    per_page: int = 30


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that a page shows."""

    page: int
    size: int

    @classmethod
    def of(cls, query: Numbered) -> "Window":
        """Bring numbers into their bounds, as GitHub does. Raises Invalid beyond MOST_ITEMS."""
        page, size = max(query.page, 1), min(max(query.per_page, 1), MOST_ON_A_PAGE)
        if page * size > MOST_ITEMS:
            raise Invalid(
                f"page times per_page is more than {MOST_ITEMS}: longer lists are read by key, "
                "with 'after' under /api/v1"
            )
        return cls(page, size)

    @property
    def skip(self) -> int:
        """How many items come before it."""
        return (self.page - 1) * self.size

    def ends_with(self, count: int) -> bool:
        """Whether a page that holds `count` items says by itself how long the list is."""
        return count < self.size and (count > 0 or self.page == 1)


def answer(
    items: Sequence[Any], window: Window, total: int, url: str, query: Mapping[str, object]
) -> Response:
    """Return a page of a list of `total` items at `url`; `query` is what its links repeat."""
    headers = {}
    if said := _links(window, total, url, query):
        headers["Link"] = said
    return Response(msgspec.json.encode(items), headers=headers, media_type="application/json")


def _links(window: Window, total: int, url: str, query: Mapping[str, object]) -> str:
    shown = min(total, MOST_ITEMS)
    last = min(max(-(-shown // window.size), 1), MOST_ITEMS // window.size)
    pages = {}
    if window.page > 1:
        pages = {"prev": min(window.page - 1, last)}
    if window.page < last:
        pages |= {"next": window.page + 1, "last": last}
    if window.page > 1:
        pages |= {"first": 1}
    given = {name: str(value) for name, value in query.items() if value is not None}
    return ", ".join(
        f'<{url}?{urlencode({**given, "per_page": window.size, "page": page})}>; rel="{name}"'
        for name, page in pages.items()
    )
