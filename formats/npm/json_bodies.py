"""What npm's clients send as JSON, and how they are answered."""

from typing import TypeVar

import msgspec
from starlette.responses import JSONResponse

from registry.packaging.surface import Call
from storage.errors import Invalid

T = TypeVar("T")

BODY_BYTES = 64 * 1024


async def read_json(call: Call, kind: type[T]) -> T:
    """Return the body as `kind`. Raises Invalid, TooLarge, TransferCut."""
    return parse_json(await call.read(BODY_BYTES), kind)


def parse_json(data: bytes, kind: type[T]) -> T:
    """Read JSON; no body is an empty object. Raises Invalid."""
    if b"\\u0000" in data:
        raise Invalid("the body holds NUL, which no name or text here does")
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body is not what is expected: {error}") from error


def answer(content: object, status: int = 200, *, notice: str = "") -> JSONResponse:
    """Return what concerns one caller, with a notice that npm shows its user.

    Nobody keeps it: the frame says so.
    """
    return JSONResponse(content, status, {"npm-notice": notice} if notice else None)
