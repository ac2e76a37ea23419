"""The body of a publish: JSON that holds a tarball as base64, read as it comes.

Reading list: libnpmpublish lib/publish.js (buildMetadata); pnpm, yarn and lerna write the same keys
in other orders. RFC 8259, 7 (strings may be escaped anywhere); RFC 4648, 4.

What an attachment's `data` decodes to goes straight to where it is kept. Everything else is a small
document, left for others to read: what is found here of a body that is no JSON is refused there.
"""

import binascii
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from formats.npm.body_scan import MAX_DOCUMENT, BodyScan
from storage.digest import quoted
from storage.errors import Invalid, TooLarge

T = TypeVar("T")
Sink = Callable[[str, str, AsyncIterator[bytes]], Awaitable[T]]
"""Keeps an attachment: its name, its content_type ("" where that comes later), its bytes."""

MAX_TEXT = 4 * 1024 * 1024
"""Bytes of an attachment that is text, as they are escaped in the body."""
MAX_ATTACHMENTS = 4
PIECE = 64 * 1024
"""Bytes of a body that are looked at in one go."""

_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_ESCAPES = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u[0-9a-fA-F]{4})*+', re.DOTALL)
_LONGEST_ESCAPE = 6


@dataclass(frozen=True, slots=True)
class Attached(Generic[T]):
    """An attachment: what the sink made of its bytes, or itself where it is text and no base64.

    `size` counts the decoded bytes; the `length` that the document announces is not looked at.
    """

    name: str
    size: int
    kept: T | None
    text: bytes | None


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A body: the document, in which every attachment's `data` is "", and what was attached."""

    document: bytes
    attached: dict[str, Attached[T]]


class PublishBody(Generic[T]):
    """Reads one body, with a document of `most` bytes.

    Where that fails, what the sink has kept is its caller's to discard.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], sink: Sink[T], most: int = MAX_DOCUMENT
    ) -> None:
        self._pieces = _pieces(chunks)
        self._sink = sink
        self._scan = BodyScan(most)
        self._attached: dict[str, Attached[T]] = {}

    async def read(self) -> Received[T]:
        """Read to the end. Raises Invalid, TooLarge, and what the sink raises."""
        async for piece in self._pieces:
            self._scan.add(piece)
            while (name := self._scan.attachment()) is not None:
                await self._attach(name)
        return Received(self._scan.finish(), self._attached)

    async def _attach(self, name: str) -> None:
        if name in self._attached:
            raise Invalid(f"attachment {quoted(name)} is there twice")
        if len(self._attached) == MAX_ATTACHMENTS:
            raise Invalid(f"a version has at most {MAX_ATTACHMENTS} attachments")
        first = self._scan.cut() or await self._more()
        if first.startswith(b"{"):  # npm attaches a sigstore bundle as it is
            text = await self._text(name, first)
            self._attached[name] = Attached(name, len(text), None, text)
            return
        decoder = Base64Text(f"attachment {quoted(name)}")
        async with aclosing(self._decoded(decoder, first)) as chunks:
            kept = await self._sink(name, self._scan.content_type, chunks)
        if not decoder.finished:
            raise RuntimeError("the sink did not read its attachment to the end")
        self._attached[name] = Attached(name, decoder.size, kept, None)

    async def _decoded(self, decoder: "Base64Text", first: bytes) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._string(first)) as parts:
            async for raw in parts:
                if decoded := decoder.decode(raw):
                    yield decoded
        decoder.finish()

    async def _text(self, name: str, first: bytes) -> bytes:
        raw = bytearray(b'"')
        async for part in self._string(first):
            raw += part
            if len(raw) > MAX_TEXT:
                raise TooLarge(f"attachment {quoted(name)} is larger than {MAX_TEXT} bytes")
        try:
            text: str = json.loads(raw + b'"')
            return text.encode("utf-8")
        except ValueError as error:
            raise Invalid(f"attachment {quoted(name)} is no text") from error

    async def _string(self, piece: bytes) -> AsyncGenerator[bytes, None]:
        """Yield a string of JSON as it is written, from behind its first quote to its last."""
        while (end := _end(piece)) == len(piece) or piece[end] != ord('"'):
            if end:
                yield piece[:end]
            piece = piece[end:] + await self._more()
        if end:
            yield piece[:end]
        self._scan.resume(piece[end:])

    async def _more(self) -> bytes:
        async for piece in self._pieces:
            return piece
        raise Invalid("the body ends before its JSON does: publish again")


class Base64Text:
    """Decodes base64 that stands in a JSON string, in parts that are cut anywhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._escape = b""
        self._rest = b""
        self._padded = False
        self.finished = False
        self.size = 0

    def decode(self, raw: bytes) -> bytes:
        """Return what can be decoded so far. Raises Invalid for all but strict, padded base64."""
        text = self._rest + self._plain(raw)
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        if self._padded and text:
            raise self._refused()
        try:
            decoded = binascii.a2b_base64(memoryview(text)[:whole], strict_mode=True)
        except binascii.Error as error:
            raise self._refused() from error
        self._padded = text.endswith(b"=", 0, whole)
        self.size += len(decoded)
        return decoded

    def finish(self) -> None:
        """Say that nothing follows. Raises Invalid where something should."""
        if self._escape or self._rest:
            raise self._refused()
        self.finished = True

    def _plain(self, raw: bytes) -> bytes:
        """Return a part without escapes: some clients write '/' and '=' with one."""
        raw = self._escape + raw
        self._escape = b""
        if b"\\" not in raw:
            return raw
        plain = raw.replace(b"\\/", b"/")
        if b"\\" not in plain:
            return plain
        found = _ESCAPES.match(raw)
        end = found.end() if found else 0
        self._escape = raw[end:]
        if len(self._escape) >= _LONGEST_ESCAPE:
            raise self._refused()
        try:
            text: str = json.loads(b'"%b"' % raw[:end])
            return text.encode("ascii")
        except ValueError as error:
            raise self._refused() from error

    def _refused(self) -> Invalid:
        return Invalid(f"{self._what} is not base64: write it with padding and without spaces")


def _end(raw: bytes) -> int:
    """Return where the quote is that ends a string, else where an escape is cut, else the end."""
    quote = raw.find(b'"')
    end = len(raw) if quote < 0 else quote
    if not raw.endswith(b"\\", 0, end):
        return end
    found = _INSIDE.match(raw)  # behind a backslash, a quote may be part of the string
    return found.end() if found else 0


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk if len(chunk) <= PIECE else chunk[start : start + PIECE]
