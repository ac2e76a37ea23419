"""One worker process: uvicorn on sockets it was given, until the supervisor says stop or dies."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

import uvicorn

from registry.app import build_app
from registry.config import Config
from registry.logs import configure_logging
from registry.sockets import BACKLOG

log = logging.getLogger("packhouse.worker")

KEEP_ALIVE_SECONDS = 75


def run_worker(config: Config, sockets: Sequence[socket.socket], lifeline: Connection) -> None:
    """Serve until SIGTERM; entry point of a spawned process.

    `lifeline` carries "ready" to the supervisor; when its other end closes the supervisor is
    dead, and so is this worker: at once, for everything it acknowledged is on disk.
    """
    configure_logging(config.log_level)
    threading.Thread(target=_die_with_supervisor, args=(lifeline,), daemon=True).start()
    asyncio.run(_serve(config, list(sockets), lifeline))


async def _serve(config: Config, sockets: list[socket.socket], lifeline: Connection) -> None:
    certificate, _, key = config.tls.partition(",")
    server = _AnnouncingServer(
        uvicorn.Config(
            build_app(config),
            http="httptools",
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
            bound.listen(BACKLOG)
        self._lifeline.send("ready")


def _die_with_supervisor(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
