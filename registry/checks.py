"""What doctor says of one thing it looked at."""

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ok, warn or fail, and a line about it."""

    name: str
    status: str
    message: str
