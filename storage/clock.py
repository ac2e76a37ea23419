"""Time as rows keep it: whole microseconds since 1970 UTC."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]
"""Returns microseconds since 1970 UTC."""

SECOND = 1_000_000


def now() -> int:
    """Return the current time in microseconds."""
    return time.time_ns() // 1000


def rfc3339(at: int) -> str:
    """Render a time as RFC 3339 in UTC with whole seconds: 2026-11-21T09:40:00Z."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
