"""Request bodies as they come: counted, limited, and cut when they stall.

A body that ends early is not an error here: what came may be kept (uploads resume from it).
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from storage.errors import Invalid, TooLarge


class Body:
    """A request's body. `complete` is true once its last byte came; `received` counts bytes."""

    def __init__(self, receive: Receive, length: int | None, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self.length = length
        self.received = 0
        self.complete = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; ends early when the client leaves or sends nothing for too long."""
        while not self.complete:
            message = await self._next()
            if message is None or message["type"] == "http.disconnect":
                return
            chunk: bytes = message.get("body", b"")
            self.received += len(chunk)
            self.complete = not message.get("more_body", False)
            if chunk:
                yield chunk

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises TooLarge beyond `limit` bytes, Invalid if cut short."""
        if self.length is not None and self.length > limit:
            raise TooLarge(f"the body has {self.length} bytes: at most {limit} are accepted")
        parts = []
        async for chunk in self.chunks():
            if self.received > limit:
                raise TooLarge(f"the body has more than {limit} bytes")
            parts.append(chunk)
        if not self.complete:
            raise Invalid("the body was cut short")
        return b"".join(parts)

    async def _next(self) -> Message | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._receive()
        except TimeoutError:
            return None
