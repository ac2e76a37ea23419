"""Whole lists, where npm asks for no pages: up to a limit, which it is told of."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from formats.npm.json_bodies import answer
from storage.database import Row

MOST = 10_000
"""What a list holds: people, teams, packages."""
_PAGE = 1000

ReadPage = Callable[[str, int], Awaitable[Sequence[Row]]]
"""Returns up to so many rows whose keys come after a text."""


async def read_all(read: ReadPage, key: str = "name") -> list[Row]:
    """Return the rows of all pages, up to MOST."""
    rows: list[Row] = []
    while len(rows) < MOST:
        page = await read(rows[-1][key] if rows else "", _PAGE)
        rows += page
        if len(page) < _PAGE:
            break
    return rows


def answer_all(content: Sequence[object] | dict[str, str]) -> Response:
    """Return a whole list; where it is cut npm tells its user so."""
    if len(content) < MOST:
        return answer(content)
    return answer(content, notice=f"only the first {MOST} are listed: /api/v1 has all")
