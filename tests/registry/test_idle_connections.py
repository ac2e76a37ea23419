"""When a connection that was used ends: one timer for all its answers, on a clock of the test's."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from registry.protocol import GuardedProtocol, guarded
from registry.worker import KEEP_ALIVE_SECONDS

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Timers:
    """An event loop whose timers wait for the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = self._loop.call_later(3600, callback)
        self.waiting.append((self.now + delay, callback, handle))
        return handle

    def go_to(self, now: float) -> None:
        """Let the time pass, and every timer that is due run."""
        self.now = now
        due = [timer for timer in self.waiting if timer[0] <= now]
        self.waiting = [timer for timer in self.waiting if timer[0] > now]
        for _, callback, handle in due:
            if not handle.cancelled():
                handle.cancel()
                callback()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class Connection(asyncio.Transport):
    """A client's end that takes what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.open = True
        self.answers = 0

    def write(self, data: Any) -> None:
        assert bytes(data).startswith(b"HTTP/1.1 200 OK\r\n")
        self.answers += 1

    def is_closing(self) -> bool:
        return not self.open

    def close(self) -> None:
        self.open = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Idle:
    """One connection to an application that answers when it is let."""

    def __init__(self) -> None:
        self.timers, self.connection = Timers(), Connection()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        config = uvicorn.Config(
            self._answer,
            http=guarded(3600),
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        config.load()
        kind: type[GuardedProtocol] = guarded(3600)
        self.protocol = kind(config=config, server_state=ServerState(), app_state={})
        self.protocol.loop = self.timers  # type: ignore[assignment]
        self.protocol.connection_made(self.connection)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.may_answer.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask(self) -> None:
        """Send a request, and wait until nothing more happens."""
        self.protocol.data_received(REQUEST)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def idle_timers(self) -> int:
        return sum(not handle.cancelled() for at, _, handle in self.timers.waiting if at < 3600)


async def test_a_connection_ends_after_its_last_answer() -> None:
    idle = Idle()
    for at in (0, 50, 100):
        idle.timers.go_to(at)
        await idle.ask()
    idle.timers.go_to(100 + KEEP_ALIVE_SECONDS - 1)
    assert idle.connection.open
    assert idle.connection.answers == 3
    idle.timers.go_to(100 + KEEP_ALIVE_SECONDS)
    assert not idle.connection.open


async def test_many_answers_need_one_timer() -> None:
    idle = Idle()
    for _ in range(100):
        await idle.ask()
    assert idle.connection.answers == 100
    assert idle.idle_timers == 1


async def test_an_answer_that_takes_long_is_not_cut() -> None:
    idle = Idle()
    await idle.ask()
    idle.may_answer.clear()
    idle.timers.go_to(50)
    await idle.ask()
    idle.timers.go_to(1000)
    assert idle.connection.open
    idle.may_answer.set()
    await idle.settle()
    assert idle.connection.answers == 2
    idle.timers.go_to(1000 + KEEP_ALIVE_SECONDS - 1)
    assert idle.connection.open
    idle.timers.go_to(1000 + KEEP_ALIVE_SECONDS)
    assert not idle.connection.open


async def test_a_connection_that_is_lost_leaves_no_timer() -> None:
    idle = Idle()
    await idle.ask()
    idle.protocol.connection_lost(None)
    assert idle.idle_timers == 0
