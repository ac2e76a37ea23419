"""What both engines keep alike, checked before either sees it.

SQLite would store a NUL inside text, and a float in a bigint column; PostgreSQL refuses both. A
value that only one engine takes is a bug that waits for the other, so the drivers share one door.
"""

from collections.abc import Sequence

from storage.database import Value
from storage.errors import Invalid

SMALLEST, LARGEST = -(2**63), 2**63 - 1


def check_values(values: Sequence[Value]) -> None:
    """Pass what a statement may be given: 64-bit integers, text without NUL, bytes and None.

    Raises Invalid for a value that came from a client, TypeError for a type that never binds.
    """
    for value in values:
        if isinstance(value, str):
            if "\0" in value or not value.isascii():
                _check_text(values, value)
        elif isinstance(value, int) and value is not True and value is not False:
            if not SMALLEST <= value <= LARGEST:
                raise Invalid(f"a number is out of range: use {SMALLEST} to {LARGEST}")
        elif value is not None and not isinstance(value, bytes):
            place = next(at for at, each in enumerate(values, 1) if each is value)
            raise TypeError(f"${place} is {type(value).__name__}: bind str, int, bytes or None")


def _check_text(values: Sequence[Value], text: str) -> None:
    place = next(at for at, each in enumerate(values, 1) if each is text)
    if "\0" in text:
        raise Invalid(f"text {place} contains a NUL character: remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(
            f"text {place} contains half of a surrogate pair at {error.start}: send UTF-8"
        ) from error
