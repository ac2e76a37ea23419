"""Gzip streams of strangers, read once, front to back, in little memory.

Reading list: RFC 1952, 2.2 (members) and 2.3.1; zlib's manual, inflate.
"""

import zlib
from typing import BinaryIO

from storage.errors import Invalid

CHUNK = 256 * 1024
FREE = 64 * 1024 * 1024
"""Unpacked bytes up to which any ratio is fine."""
RATIO = 100
"""Unpacked bytes for one packed byte beyond FREE: text packs 10 to 1, bombs 1,000 to 1."""


class Gunzip:
    """The unpacked bytes of one gzip member that is the whole file.

    Readers differ on what follows a member (another one, padding, anything), so nothing may.
    Every method raises Invalid for what is no such file, or unpacks to more than `most` bytes.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = 0
        self._unpacked = 0
        self._ready = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer where the stream ends."""
        parts = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size: int) -> int:
        """Read past `size` bytes; return how many there were."""
        left = size
        while left and (part := self._some(left)):
            left -= len(part)
        return size - left

    def _some(self, most: int) -> bytes:
        """Return between 1 and `most` bytes, none at the end."""
        if self._at == len(self._ready):
            self._ready, self._at = self._next(), 0
        start = self._at
        self._at = min(start + most, len(self._ready))
        return self._ready[start : self._at]

    def _next(self) -> bytes:
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._more()
            try:
                unpacked = self._inflate.decompress(packed, CHUNK)
            except zlib.error as error:
                raise Invalid("the tarball is not gzip, or is damaged") from error
            self._unpacked += len(unpacked)
            self._check()
            if unpacked:
                return unpacked
        if self._inflate.unused_data or self._file.read(1):
            raise Invalid("the tarball goes on after the end of its gzip stream")
        return b""

    def _more(self) -> bytes:
        packed = self._file.read(CHUNK)
        self._packed += len(packed)
        if not packed:
            raise Invalid("the tarball is cut short: its gzip stream does not end")
        return packed

    def _check(self) -> None:
        if self._unpacked > self._most:
            raise Invalid(f"the tarball unpacks to more than {self._most} bytes")
        if self._unpacked > FREE and self._unpacked > RATIO * self._packed:
            raise Invalid(
                f"the tarball unpacks to more than {RATIO} times its size: "
                "leave out files that hold the same byte again and again"
            )
