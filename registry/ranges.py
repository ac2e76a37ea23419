"""Ranges of bytes: what a download asks for, and where an upload's chunk lies.

Reading list: RFC 9110 section 14 (Range, Content-Range); OCI distribution-spec, "Pushing a blob in
chunks" (its Content-Range is not HTTP's), "Pulling blobs".
"""

import re
from dataclasses import dataclass

from storage.digest import quoted
from storage.errors import Invalid, RangeInvalid

MAX_OFFSET = 2**63 - 1
"""The largest offset that a row can hold, in bytes."""

_RANGE = re.compile(r"bytes=[ \t]*+([0-9]*+)-([0-9]*+)[ \t]*+", re.IGNORECASE | re.ASCII)
_CONTENT_RANGE = re.compile(r"([0-9]++)-([0-9]++)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of a representation: at least one."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Spell the Content-Range of a 206 answer, out of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Read a Range header against `size` bytes, the end clipped; None means to send everything.

    Ignored, as RFC 9110 section 14.2 allows: another unit, several ranges, bad syntax, and the end
    of nothing (`bytes=-5` of an empty representation is satisfiable, but no 206 can say so).
    `500-0` should be ignored too; the OCI conformance suite wants 416, and gets it.

    Raises RangeInvalid, which carries the Content-Range of a 416 answer.
    """
    match = _RANGE.fullmatch(header or "")
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - _offset(last)), size
        if size == 0 and _offset(last) > 0:
            return None
    else:
        start = _offset(first)
        stop = min(size, _offset(last) + 1) if last else size
    if start >= stop:
        raise RangeInvalid(
            f"range {quoted(header or '')} holds none of these {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(start, stop)


def parse_content_range(header: str) -> tuple[int, int]:
    """Read an upload chunk's Content-Range: its first and last offset, both inclusive.

    The specification's form is `<first>-<last>`: no unit, no size. Raises Invalid for another
    form, RangeInvalid for offsets in the wrong order or beyond MAX_OFFSET.
    """
    match = _CONTENT_RANGE.fullmatch(header)
    if not match:
        raise Invalid(
            f"Content-Range {quoted(header)} is not valid: write <first>-<last>, such as 0-1023"
        )
    first, last = _offset(match[1]), _offset(match[2])
    if not first <= last < MAX_OFFSET:
        raise RangeInvalid(
            f"Content-Range {quoted(header)} is not valid: the last offset is at least the first "
            f"and below {MAX_OFFSET}"
        )
    return first, last


def _offset(digits: str) -> int:
    """Convert digits, as many as came, to an offset of at most MAX_OFFSET."""
    digits = digits.lstrip("0")
    return MAX_OFFSET if len(digits) > 19 else min(int(digits or "0"), MAX_OFFSET)
