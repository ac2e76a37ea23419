"""Answers about what is stored: the same headers again and again, encoded once."""

from collections.abc import Mapping
from functools import lru_cache

from starlette.responses import Response

_REMEMBERED = 1000
"""Answers' headers."""


class StoredResponse(Response):
    """A response whose headers are complete: its length stands in them, if it has one."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Take the headers as they leave (Starlette's way to say them)."""
        self.raw_headers = list(_encoded(tuple((headers or {}).items())))


@lru_cache(_REMEMBERED)
def _encoded(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in fields)
