"""A rendered document of a package, and how it leaves: whole, compressed, or not at all.

Reading list: RFC 9110 sections 8.8.3 (strong entity tags), 12.5.3 (Accept-Encoding), 13.1.2
(If-None-Match); RFC 9111 section 5.2.2.4 (no-cache).
"""

import gzip
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from registry.blob_response import BlobResponse
from registry.negotiation import etag_matches, takes_gzip
from registry.open_files import OpenFile

PLACEHOLDER = b"https://packhouse.invalid"
ROOT = b"https://root.packhouse.invalid"
"""What stands in a rendered document where URLs belong: its package's, and that of the mount."""

COMPRESSED_ABOVE = 1024
LEVEL = 6
_PIECE = 256 * 1024

Span = tuple[int, int]
"""Bytes [start, stop) of a file."""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """Which document: what is rendered for it depends on nothing else.

    `base` is the URL of the mount that a request came to, `path` what follows it where the document
    names its package: `/@acme/pad`. With a new revision of the package it is another document.
    """

    package_id: int
    kind: str
    revision: int
    base: str
    path: str = ""

    @property
    def place(self) -> tuple[int, str, str, str]:
        """What stays the same over revisions."""
        return self.package_id, self.kind, self.base, self.path


@dataclass(frozen=True, slots=True)
class Made:
    """A document in memory: `digest` is that of the bytes as they were rendered, for any base."""

    digest: str
    plain: bytes
    zipped: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of both forms."""
        return len(self.plain) + len(self.zipped or b"")


@dataclass(frozen=True, slots=True)
class Streamed:
    """A form that is made as it leaves, of a size that is known before."""

    size: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Document:
    """A document to be sent once: its forms are bytes, spans of an open file, or streamed."""

    etag: str
    plain: bytes | Span | Streamed
    zipped: bytes | Span | None
    file: OpenFile | None = None


def make(key: DocumentKey, rendered: bytes, *, kept: bool) -> Made:
    """Put the URL where it belongs; what will be kept is compressed too, if that is worth it.

    A key without a base leaves the placeholders. It takes long for a large one.
    """
    digest, plain = hashlib.sha256(rendered).hexdigest(), rendered
    if key.base:
        plain = rendered.replace(PLACEHOLDER, f"{key.base}{key.path}".encode())
        plain = plain.replace(ROOT, key.base.encode())
    zipped = None
    if kept and key.base and len(plain) > COMPRESSED_ABOVE:
        zipped = gzip.compress(plain, LEVEL, mtime=0)
    return Made(digest, plain, zipped if zipped is None or len(zipped) < len(plain) else None)


def etag_of(key: DocumentKey, digest: str) -> str:
    """Return the entity tag of a document: of its bytes and of the URL in it, on every node."""
    return hashlib.sha256(f"{digest} {key.base}{key.path}".encode()).hexdigest()[:32]


def respond(
    document: Document, headers: Mapping[str, str], media_type: str, *, public: bool
) -> Response:
    """Return the answer to a GET with these headers; what is `public` a shared cache may keep.

    Every cache asks again each time: a document is as new as its package.
    """
    gzipped = document.zipped is not None and takes_gzip(headers.get("accept-encoding"))
    tags = [f'"{document.etag}-gzip"', f'"{document.etag}"']
    tag = tags[0] if gzipped else tags[1]
    said = {
        "ETag": tag,
        "Cache-Control": "public, no-cache" if public else "private, no-cache",
        "Vary": "Accept, Accept-Encoding, Authorization",
    }
    wanted = headers.get("if-none-match")
    if wanted is not None:
        for known in (tag, *tags):
            if etag_matches(wanted, known):
                return Response(status_code=304, headers={**said, "ETag": known})
    said["Content-Type"] = media_type
    form = document.plain
    if gzipped and document.zipped is not None:
        form, said["Content-Encoding"] = document.zipped, "gzip"
    return _whole(form, document.file, said)


def _whole(
    form: bytes | Span | Streamed, file: OpenFile | None, said: Mapping[str, str]
) -> Response:
    if isinstance(form, Streamed):
        length = {"Content-Length": str(form.size)}
        return BlobResponse(form.chunks, 0, form.size, 200, {**said, **length})
    if isinstance(form, bytes):
        if len(form) <= _PIECE:
            return Response(form, headers=said)
        length = {"Content-Length": str(len(form))}
        return BlobResponse(_pieces(form), 0, len(form), 200, {**said, **length})
    if file is None:
        raise RuntimeError("a document lies in a file that nobody opened")
    start, stop = form
    return BlobResponse(file, start, stop, 200, {**said, "Content-Length": str(stop - start)})


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]
