"""A large document for a host that it is not kept for: URLs are put in as it leaves.

Anybody can make up hosts and read slowly: each reader holds a piece of the document, never all.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator

from registry.open_files import OpenFile
from registry.packaging.document import PLACEHOLDER, ROOT, Document, DocumentKey, Streamed, etag_of

PIECE = 256 * 1024
_STANDS = re.compile(b"%b|%b" % (re.escape(PLACEHOLDER), re.escape(ROOT)))
_LONGEST = max(len(PLACEHOLDER), len(ROOT))


def address(file: OpenFile, start: int, stop: int, key: DocumentKey) -> Document:
    """Return what lies at [start, stop) of a file, with the URLs of a key.

    All of it is read once, for its size and tag: call this in a thread.
    """
    package, root = f"{key.base}{key.path}".encode(), key.base.encode()
    hasher = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in _pieces(file, start, stop):
            hasher.update(piece)
            yield piece

    size = sum(len(piece) for piece in put_in(hashed(), package, root))
    leaving = _leave(file, start, stop, package, root)
    return Document(etag_of(key, hasher.hexdigest()), Streamed(size, leaving), None)


async def _leave(
    file: OpenFile, start: int, stop: int, package: bytes, root: bytes
) -> AsyncIterator[bytes]:
    with file:
        pieces = put_in(_pieces(file, start, stop), package, root)
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


def put_in(pieces: Iterator[bytes], package: bytes, root: bytes) -> Iterator[bytes]:
    """Yield pieces, none of them empty, with URLs where placeholders stand. Pure."""
    urls, rest = {PLACEHOLDER: package, ROOT: root}, b""
    for piece in pieces:
        data = rest + piece
        ends = [found.end() for found in _STANDS.finditer(data)]
        end = max([0, len(data) - _LONGEST + 1, *ends])  # a placeholder may be cut behind it
        rest = data[end:]
        if end:
            yield _STANDS.sub(lambda each: urls[each[0]], data[:end])
    if rest:
        yield rest


def _pieces(file: OpenFile, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, PIECE):
        yield os.pread(file.fileno(), min(PIECE, stop - at), at)
