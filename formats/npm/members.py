"""JSON objects read strictly, and their members as the bytes they were written in.

Reading list: RFC 8259, sections 4 (names), 8.2 (surrogates) and 9 (limits a parser may set).

What a client published is kept and shown as it was written: order, numbers, unknown fields. So
documents are cut into members and joined again, and values decoded only where we act on them.
What two parsers could read differently is refused before anything is kept.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from storage.digest import quoted
from storage.errors import Invalid

MAX_DEPTH = 64
"""Objects and lists inside each other."""

MAX_TEXT = 4096
"""Characters of a text that we act on."""

Members = dict[str, bytes]
"""The values of an object in its order, each as it was written."""

_ENCODER = msgspec.json.Encoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object decoded, after checking that every parser reads it alike.

    Raises Invalid, in words about `what`, for what is no object, for a key that stands twice, for
    half a surrogate pair, for a number that is none, for NUL and for more than MAX_DEPTH levels.
    """
    try:
        text = data.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
        )
        if "\\u" in text:  # perhaps NUL or half a surrogate pair, which are no text
            _check_escapes(document)
    except Invalid as error:
        raise Invalid(f"{what} {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON: {_short(error)}") from error
    if not isinstance(document, dict):
        raise Invalid(f"{what} is not a JSON object")
    _check_depth(document, what)
    return document


def read_object(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object as npm reads it from a file: of keys that stand twice the last counts.

    Raises Invalid.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON: {_short(error)}") from error
    if not isinstance(document, dict):
        raise Invalid(f"{what} is not a JSON object")
    return document


def text_in(document: Mapping[str, Any], key: str) -> str:
    """Return a member that must be text. Raises Invalid."""
    return check_text(document.get(key), f"'{key}'")


def check_text(value: object, what: str) -> str:
    """Return a text of at most MAX_TEXT characters. Raises Invalid."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Invalid(f"{what} is missing, or no text of at most {MAX_TEXT} characters")
    return value


def members(data: bytes) -> Members:
    """Return the members of an object that parse_object has read."""
    return {key: bytes(raw) for key, raw in _MEMBERS.decode(data).items()}


def write(value: object) -> bytes:
    """Return a value of ours as JSON; the same value gives the same bytes."""
    return _ENCODER.encode(value)


def join(parts: Mapping[str, bytes]) -> bytes:
    """Return the object that has these members."""
    return b"{" + b",".join([write(key) + b":" + value for key, value in parts.items()]) + b"}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid(f"holds the key {quoted(_twice(key for key, _ in pairs))} twice")
    return found


def _twice(keys: Iterable[str]) -> str:
    """Return the first key that was there before; a document may hold a million of them."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return ""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Invalid(f"holds the number {text[:30]}, which is too large to be read alike by all")
    return number


def _no_constant(text: str) -> None:
    raise Invalid(f"holds {text}, which is not a JSON value")


def _check_escapes(document: object) -> None:
    text = "".join(_texts(document))
    if "\0" in text:
        raise Invalid("holds a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid("holds half a surrogate pair, which is no text") from None


def _texts(value: object) -> list[str]:
    """All texts of a value, keys included, without recursion."""
    found, left = [], [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            found += each.keys()
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


def _check_depth(document: object, what: str) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise Invalid(f"{what} holds more than {MAX_DEPTH} objects and lists inside each other")


def _short(error: Exception) -> str:
    return str(error)[:200] if isinstance(error, json.JSONDecodeError) else "it cannot be decoded"
