"""How a row keeps the bytes of a manifest: as they came, or packed where they are many."""

import zlib

from storage.database import Row

_COMPRESS_ABOVE = 64 * 1024
_PLAIN, _ZLIB = 0, 1


def encode(data: bytes) -> tuple[int, bytes]:
    """Return the encoding and bytes that a row keeps of a manifest."""
    if len(data) > _COMPRESS_ABOVE:
        packed = zlib.compress(data, 1)
        if len(packed) < len(data):
            return _ZLIB, packed
    return _PLAIN, data


def decode(row: Row) -> bytes:
    """Return a manifest's bytes from a row with `encoding` and `bytes`."""
    data: bytes = row["bytes"]
    return zlib.decompress(data) if row["encoding"] == _ZLIB else data
