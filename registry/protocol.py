"""What the HTTP parser under uvicorn leaves open: how long and how slow a request's head may be.

And how long a connection may idle, with one timer a connection where uvicorn makes one an answer.
Bodies are read in pieces as large as `bulk_reading` thinks good.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from registry.bulk_reading import BulkReading
from registry.requests import log_exchange, unreadable
from registry.zerocopy import ZeroCopyProtocol

HEAD_BYTES = 64 * 1024
"""Request line and headers together; httptools itself has no limit, and would hold them all."""


_TOO_LONG = f"The request line and headers have more than {HEAD_BYTES} bytes."


class GuardedProtocol(ZeroCopyProtocol):
    """Ends connections whose request head is too long, or does not end in time."""

    head_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._came = 0
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._bulk: BulkReading | None = None
        self._receiving: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._in_head = True
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end_head()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._bulk is not None:
            self._bulk.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what does not end a head."""
        self._came, awaited = len(data), self._in_head
        super().data_received(data)
        if not self._in_head:
            self._came_of_body(len(data))
            return
        self._await_head()
        if awaited:  # else it began in this read, behind the end of a body
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            if self._answering:
                self.transport.abort()
            else:
                self.send_400_response(_TOO_LONG)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, with an id and a line like any other's.

        Where another answer has begun nothing may stand among its bytes: then that one is cut.
        """
        exchange = unreadable(self.client[0] if self.client else "", 400)
        if self._answering and self.cycle.response_started:
            self.transport.abort()
        else:
            body = f"{msg} Request {exchange.id}.\n".encode("ascii")
            exchange.sent = len(body)
            fields = (
                *self.server_state.default_headers,
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"x-request-id", exchange.id.encode()),
                (b"connection", b"close"),
            )
            lines = b"".join(b"%b: %b\r\n" % field for field in fields)
            self.transport.write(STATUS_LINE[400] + lines + b"\r\n" + body)
            self.transport.close()
        log_exchange(exchange)

    def on_message_begin(self) -> None:
        """A head begins; most end in the same read, and need no timer."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """A head has ended: what follows is its body, or another head.

        One that came in few reads is measured here; uvicorn answers 400 to what a callback raises.
        """
        if self._head_bytes + self._came > HEAD_BYTES and self._head_size() > HEAD_BYTES:
            raise ValueError(_TOO_LONG)
        self._end_head()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Begin the next request that waits, or wait for one: uvicorn's, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_idle)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _end_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return  # the answer that is being made winds the timer up
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._idle_timer = self.loop.call_later(rest, self._end_idle)
        else:
            self.timeout_keep_alive_handler()

    def _came_of_body(self, size: int) -> None:
        cycle = self.cycle  # None before the first request, and after what is none
        if cycle is None or not cycle.more_body or cycle.response_complete:
            if self._bulk is not None:
                self._bulk.end()
        elif cycle is self._receiving and self._bulk is not None:
            self._bulk.came(size)
        else:
            self._receiving = cycle
            self._bulk = self._bulk or BulkReading(self.transport, self.loop)
            self._bulk.begin(_left(cycle))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    @property
    def _answering(self) -> bool:
        """Whether an answer is on its way: nothing may be written between its bytes."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._in_head, self._head_timer, self._head_bytes = False, None, 0

    def _cut(self) -> None:
        self._head_timer = None
        if self._answering:
            self._await_head()  # the next request may wait for this answer to end
        elif not self.transport.is_closing():
            self.transport.close()


def _left(cycle: RequestResponseCycle) -> int | None:
    """Return how much of a body is to come whose head has just been read; None: nobody said."""
    for name, value in cycle.scope["headers"]:
        if name == b"content-length":
            return int(value) - len(cycle.body)
    return None


def guarded(head_seconds: float) -> type[GuardedProtocol]:
    """Return the protocol with a patience of its own: uvicorn makes its instances itself."""
    return type("GuardedProtocol", (GuardedProtocol,), {"head_seconds": head_seconds})
