"""Answers scrapes on an address of their own: a thread of the supervisor, which has the time.

Plain HTTP, without sign-in, and nothing but /metrics: bind it where only Prometheus comes.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from registry.config import Config, ConfigError
from registry.protocol import guarded
from registry.scrapes import Scrapes
from registry.sockets import listen, urls

log = logging.getLogger("packhouse.metrics")

PATH = "/metrics"
_HEAD_SECONDS = 10.0
_CONNECTIONS = 32
_STOP_SECONDS = 5.0


class MetricsListener:
    """A server in a thread; the supervisor tells it of every worker that begins."""

    def __init__(self, config: Config) -> None:
        host, _, port = config.metrics.rpartition(":")
        try:
            self._sockets = listen([host.strip("[]")], int(port))
        except ConfigError as error:
            raise ConfigError(f"metrics: {str(error).partition(' with --port')[0]}") from error
        self.url = urls(self._sockets, "http")[0] + PATH
        self._config = config
        self._thread = threading.Thread(target=self._main, name="metrics", daemon=True)
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._scrapes: Scrapes

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._begun.wait()

    def join(self, number: int, pid: int, line: Connection) -> None:
        """Know a worker that has begun, by its number; `line` is its to answer on."""
        self._call(self._scrapes.join, number, pid, line)

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._call(setattr, self._server, "should_exit", True)
            self._thread.join(_STOP_SECONDS)
        for bound in self._sockets:
            bound.close()

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.error("metrics: the listener has ended; the server goes on without it")

    def _main(self) -> None:
        try:
            asyncio.run(self._serve(self._sockets))
        finally:
            self._begun.set()

    async def _serve(self, sockets: Sequence[socket.socket]) -> None:
        self._loop, self._scrapes = asyncio.get_running_loop(), Scrapes(self._config)
        router = Router([Route(PATH, self._answer, methods=["GET"])], redirect_slashes=False)
        self._server = uvicorn.Server(
            uvicorn.Config(
                router,
                http=guarded(_HEAD_SECONDS),
                loop="asyncio",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )
        self._begun.set()
        await self._server.serve(sockets=list(sockets))

    async def _answer(self, request: Request) -> Response:
        """GET /metrics."""
        page, media_type = await self._scrapes.page(request.headers.get("accept", ""))
        headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
        return Response(page, headers=headers)
