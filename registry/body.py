"""Request bodies as they come: counted, limited, and cut when they stall.

A body that ends early is not an error here: what came may be kept (uploads resume from it).
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from registry.errors import TransferCut
from storage.errors import TooLarge


class Body:
    """A request's body. `complete` is true once its last byte came; `received` counts bytes."""

    def __init__(self, receive: Receive, length: int | None, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._limit: int | None = None
        self.length = length
        self.received = 0
        self.complete = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; ends early when the client leaves or sends nothing for too long.

        Raises TooLarge beyond the limit, if one was set.
        """
        while not self.complete:
            message = await self._next()
            if message is None or message["type"] == "http.disconnect":
                return
            chunk: bytes = message.get("body", b"")
            self.received += len(chunk)
            if self._limit is not None and self.received > self._limit:
                raise too_large(self._limit)
            self.complete = not message.get("more_body", False)
            del message
            if chunk:
                yield chunk
            del chunk

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises TooLarge beyond `limit` bytes, TransferCut if cut short."""
        self.require_at_most(limit)
        parts = [chunk async for chunk in self.chunks()]
        if not self.complete:
            raise TransferCut("the body was cut short: send it again")
        return b"".join(parts)

    def require_at_most(self, limit: int) -> None:
        """Limit what may still come. Raises TooLarge if more was announced."""
        self._limit = limit
        if self.length is not None and self.length > limit:
            raise too_large(limit)

    async def _next(self) -> Message | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._receive()
        except TimeoutError:
            return None


def content_length(headers: Headers) -> int | None:
    """Return the announced length of a body, 0 for none, None for a chunked one."""
    if "transfer-encoding" in headers:
        return None
    value = headers.get("content-length", "0")
    return int(value) if value.isascii() and value.isdigit() else None


def too_large(limit: int) -> TooLarge:
    """Return the answer to a body over its limit."""
    return TooLarge(f"at most {limit} bytes are accepted here")
