"""One worker process: uvicorn on sockets it was given, until the supervisor says stop or dies."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from registry.config import Config
from registry.logs import configure_logging
from registry.protocol import guarded
from registry.sockets import BACKLOG, raise_descriptor_limit

KEEP_ALIVE_SECONDS = 75

BuildApp = Callable[[Config], ASGIApp]
"""Makes the application, in the worker; importable by name, for that is how it gets there."""


def run_worker(
    build: BuildApp, config: Config, sockets: Sequence[socket.socket], lifeline: Connection
) -> None:
    """Serve until SIGTERM; entry point of a spawned process.

    `lifeline` carries "ready" to the supervisor; when its other end closes the supervisor is
    dead, and so is this worker: at once, for everything it acknowledged is on disk.
    """
    # Ctrl-C reaches the whole process group; what follows from it, the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_supervisor, args=(lifeline,), daemon=True).start()
    configure_logging(config.log_level)
    raise_descriptor_limit()
    asyncio.run(_serve(build, config, list(sockets), lifeline))


async def _serve(
    build: BuildApp, config: Config, sockets: list[socket.socket], lifeline: Connection
) -> None:
    certificate, _, key = config.tls.partition(",")
    server = _AnnouncingServer(
        uvicorn.Config(
            build(config),
            http=guarded(config.idle_seconds),
            loop="asyncio",
            ws="none",
            lifespan="on",
            # One connection a wake-up, so that a burst spreads over the workers.
            backlog=1,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=config.grace_seconds,
            ssl_certfile=certificate or None,
            ssl_keyfile=key or None,
        ),
        lifeline,
    )
    await server.serve(sockets=sockets)


class _AnnouncingServer(uvicorn.Server):
    """Says when it listens, with the queue that uvicorn was not told of."""

    def __init__(self, config: uvicorn.Config, lifeline: Connection) -> None:
        super().__init__(config)
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or []:
            bound.listen(BACKLOG)  # uvicorn has just set it to 1
        if self.started:
            self._lifeline.send("ready")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


def _die_with_supervisor(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
