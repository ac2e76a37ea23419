"""Documents about packages, rendered once for each revision and kept on each node.

Small ones stay in the memory of a worker, larger ones are files that leave by zero copy. A document
is kept under the bases that most requests come with; for any other host the same bytes get their
base on the way out, and nothing is written.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Self

from registry.config import Config
from registry.open_files import OpenFiles
from registry.packaging.addressed import address
from registry.packaging.bases import Bases
from registry.packaging.document import (
    PLACEHOLDER,
    ROOT,
    Document,
    DocumentKey,
    Made,
    Streamed,
    etag_of,
    make,
    respond,
)
from registry.packaging.document_files import DocumentFiles
from registry.packaging.single_flight import SingleFlight
from storage.filesystem import room

__all__ = ["PLACEHOLDER", "ROOT", "Document", "DocumentKey", "Documents", "respond"]

SMALL = 64 * 1024
"""Bytes of both forms together up to which a document stays in memory."""
MEMORY = 32 * 1024 * 1024
"""Bytes of the documents in a worker's memory."""

Render = Callable[[], Awaitable[bytes]]
"""Renders a document with PLACEHOLDER and ROOT in it, never with a URL of ours: it is kept for
those who call this server otherwise.
"""


Small = Callable[[], Awaitable[bool]]
"""Says, for less than a look at the disk, that a document is small: no file of it is looked for."""


class Documents:
    """Finds and makes them; of many who ask for one at once one renders it."""

    def __init__(self, files: DocumentFiles, bases: Bases) -> None:
        self._files = files
        self._bases = bases
        self._small = _Memory(MEMORY)
        self._flights: SingleFlight[Made | None] = SingleFlight()

    @classmethod
    def over(cls, config: Config, files: OpenFiles) -> Self:
        """Keep large ones below the data directory."""
        reserve = None if config.reserve_bytes < 0 else config.reserve_bytes
        kept = DocumentFiles(
            config.directory / "cache" / "documents",
            config.cache_bytes,
            files,
            partial(room, config.directory, reserve),
        )
        return cls(kept, Bases(config.public_url))

    async def get(self, key: DocumentKey, render: Render, small: Small | None = None) -> Document:
        """Return a document for one answer. Raises what `render` raises."""
        if self._bases.known(key.base):
            return await self._kept(key, render, small)
        document = await self._kept(replace(key, base=""), render, small)
        if isinstance(document.plain, bytes) and len(document.plain) <= SMALL:
            return _rebased(document, key)
        return await asyncio.to_thread(_rebased, document, key)

    async def _kept(self, key: DocumentKey, render: Render, small: Small | None) -> Document:
        found = self._find(key)
        if found is not None:
            return found
        made = await self._flights.once(key, lambda: self._open_or_make(key, render, small))
        if made is not None:
            return _document(key, made)
        # It was opened; between then and now it may have gone.
        return self._find(key) or _document(key, await self._make(key, render))

    def _find(self, key: DocumentKey) -> Document | None:
        made = self._small.find(key)
        return self._files.find(key) if made is None else _document(key, made)

    async def _open_or_make(
        self, key: DocumentKey, render: Render, small: Small | None
    ) -> Made | None:
        if not (small and await small()) and await self._files.open(key):
            return None
        return await self._make(key, render)

    async def _make(self, key: DocumentKey, render: Render) -> Made:
        rendered = await render()
        if len(rendered) <= SMALL:  # compressed in less time than a turn of a thread takes
            made = make(key, rendered, kept=True)
        else:
            made = await asyncio.to_thread(partial(make, kept=True), key, rendered)
        if made.size <= SMALL:
            self._small.keep(key, made)
        else:
            await self._files.keep(key, made)
        return made


class _Memory:
    """Small documents, the last used up to so many bytes; of each the last revision asked for."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[object, ...], tuple[DocumentKey, Made]] = OrderedDict()

    def find(self, key: DocumentKey) -> Made | None:
        kept = self._kept.get(key.place)
        if kept is None or kept[0] != key:
            return None
        self._kept.move_to_end(key.place)
        return kept[1]

    def keep(self, key: DocumentKey, made: Made) -> None:
        before = self._kept.pop(key.place, None)
        self._size += made.size - (before[1].size if before else 0)
        self._kept[key.place] = (key, made)
        while self._size > self._limit:
            _, (_, leaving) = self._kept.popitem(last=False)
            self._size -= leaving.size


def _document(key: DocumentKey, made: Made) -> Document:
    return Document(etag_of(key, made.digest), made.plain, made.zipped, None)


def _rebased(document: Document, key: DocumentKey) -> Document:
    """Return a document that was kept without a base, with one that it is not kept for."""
    if isinstance(document.plain, bytes):
        return _document(key, make(key, document.plain, kept=False))
    if document.file is None or isinstance(document.plain, Streamed):
        raise RuntimeError("a document lies in a file that nobody opened")
    return address(document.file, *document.plain, key)
