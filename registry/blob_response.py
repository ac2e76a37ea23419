"""The body of a blob: by zero copy where server and store allow it, else in chunks."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.blobs import Blob
from registry.negotiation import etag_matches
from registry.open_files import OpenFile, OpenFiles
from registry.ranges import ByteRange, parse_range
from registry.stored_response import StoredResponse
from registry.zerocopy import EXTENSION, WINDOW
from storage.blobs import PIECE, BlobStore
from storage.errors import BlobMissing


class BlobResponse(StoredResponse):
    """Bytes [start, stop) of a stored object.

    `open` takes a local object's file before any header leaves; an open file survives its
    deletion, so whoever began to read may finish.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes] | OpenFile,
        start: int,
        stop: int,
        status_code: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(status_code=status_code, headers=headers)
        self._source = chunks
        self._start = start
        self._stop = stop

    @classmethod
    async def open(
        cls,
        files: OpenFiles,
        store: BlobStore,
        blob: Blob,
        start: int,
        stop: int,
        status_code: int,
        headers: Mapping[str, str],
    ) -> Self:
        """Return a response whose bytes are there and whole. Raises BlobMissing."""
        file = files.find(blob.key, blob.size)
        path = store.path(blob.key) if file is None else None
        if path is not None:
            file = await _open(files, path, blob)
        if file is not None:
            return cls(file, start, stop, status_code, headers)
        if await store.size(blob.key) != blob.size:
            raise _damaged(blob)
        return cls(store.read(blob.key, start, stop), start, stop, status_code, headers)

    @classmethod
    async def of(
        cls,
        files: OpenFiles,
        store: BlobStore,
        blob: Blob,
        asked: Mapping[str, str],
        said: Mapping[str, str],
        *,
        head: bool = False,
    ) -> Response:
        """Return the answer to a request with the headers `asked`, in which `said` stand already.

        It is the whole blob, one range of it, 304, or without a body for HEAD. Raises BlobMissing,
        RangeInvalid.
        """
        if etag_matches(asked.get("if-none-match"), said["ETag"]):
            return StoredResponse(status_code=304, headers=said)
        span = _range(asked, said["ETag"], blob.size)
        start, stop = (0, blob.size) if span is None else (span.start, span.stop)
        headers = {**said, "Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
        if span is not None:
            headers["Content-Range"] = span.content_range(blob.size)
        status = 200 if span is None else 206
        if head:
            return StoredResponse(status_code=status, headers=headers)
        return await cls.open(files, store, blob, start, stop, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers and bytes (ASGI)."""
        del receive
        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        if isinstance(self._source, AsyncIterator):
            await self._send_chunks(self._source, head, send)
            return
        start, stop = self._start, self._stop
        with self._source as file:
            if EXTENSION not in scope.get("extensions", {}):
                await self._send_chunks(_read(file, start, stop), head, send)
                return
            await send(head)
            part = {"type": EXTENSION, "file": file, "offset": start, "count": stop - start}
            if 0 < stop - start <= WINDOW:  # of more the sender asks, window by window
                part["cached"] = file.is_cached(start, stop - start)
            await send(part)

    @staticmethod
    async def _send_chunks(
        chunks: AsyncIterator[bytes], head: dict[str, object], send: Send
    ) -> None:
        await send(head)
        async with aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _range(asked: Mapping[str, str], etag: str, size: int) -> ByteRange | None:
    condition = asked.get("if-range")
    if condition is not None and condition != etag:
        return None
    return parse_range(asked.get("range"), size)


async def _open(files: OpenFiles, path: Path, blob: Blob) -> OpenFile:
    try:
        file = await files.open(blob.key, path, blob.size)
    except FileNotFoundError as error:
        raise _damaged(blob) from error
    if file is None:
        raise _damaged(blob)
    return file


def _damaged(blob: Blob) -> BlobMissing:
    return BlobMissing(
        f"no whole copy of blob {blob.digest} is here: push it again",
        detail={"digest": str(blob.digest)},
    )


async def _read(file: OpenFile, start: int, stop: int) -> AsyncIterator[bytes]:
    while start < stop:
        chunk = await asyncio.to_thread(os.pread, file.fileno(), min(PIECE, stop - start), start)
        if not chunk:
            return
        start += len(chunk)
        yield chunk
