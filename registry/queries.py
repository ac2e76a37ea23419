"""What query parameters may be: printable text, and whole numbers that a database takes."""

from starlette.datastructures import QueryParams

from storage.errors import Invalid

_MAX_NUMBER = 2**31


def query_text(query: QueryParams, name: str, default: str = "") -> str:
    """Return a query parameter. Raises Invalid for control characters."""
    value = query.get(name, default)
    if not value.isprintable():
        raise Invalid(f"the query parameter {name!r} holds control characters")
    return value


def query_number(query: QueryParams, name: str) -> int | None:
    """Return a query parameter as a whole number, clamped. Raises Invalid."""
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Invalid(f"the query parameter {name!r} is not a whole number")
    return _MAX_NUMBER if len(value) > 10 else min(int(value), _MAX_NUMBER)
