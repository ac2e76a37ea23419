"""One worker process: uvicorn on sockets it was given, until the supervisor says stop or dies."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from registry.accepting import FairListener, Shares
from registry.config import Config
from registry.logs import configure_logging
from registry.protocol import guarded
from registry.sockets import BACKLOG, raise_descriptor_limit
from registry.stalled import LOOK_SECONDS, Stalled
from registry.tls import Certificates, Pair

log = logging.getLogger("packhouse.worker")

KEEP_ALIVE_SECONDS = 75
_TICKS_A_SECOND = 10  # uvicorn's

BuildApp = Callable[..., ASGIApp]
"""Makes the application of a Config, in the worker; importable by name, as it gets there by that.

Where metrics are on it takes `scrapes` too: the Connection on which they are asked for.
"""


def run_worker(
    build: BuildApp,
    config: Config,
    sockets: Sequence[socket.socket],
    shares: Shares,
    lifeline: Connection,
    pair: Pair | None,
) -> None:
    """Serve until SIGTERM, over TLS with a pair; entry point of a spawned process.

    `lifeline` carries "ready" to the supervisor, and newer pairs from it; when its other end closes
    the supervisor is dead, and so is this worker: at once, for everything it acknowledged is on
    disk.
    """
    # Ctrl-C and a closed terminal reach the whole group; what follows, the supervisor decides.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    certificates = None if pair is None else Certificates(pair)
    threading.Thread(target=_listen_to, args=(lifeline, certificates), daemon=True).start()
    configure_logging(config.log_level)
    raise_descriptor_limit()
    asyncio.run(_serve(build, config, sockets, shares, lifeline, certificates))


async def _serve(
    build: BuildApp,
    config: Config,
    sockets: Sequence[socket.socket],
    shares: Shares,
    lifeline: Connection,
    certificates: Certificates | None,
) -> None:
    server = _AnnouncingServer(
        uvicorn.Config(
            build(config),
            http=guarded(config.idle_seconds),
            loop="asyncio",
            ws="none",
            lifespan="on",
            # One connection a wake-up, so that the others may take the next.
            backlog=1,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=config.grace_seconds,
            ssl_context_factory=None if certificates is None else certificates.give,
        ),
        lifeline,
        shares,
    )
    await server.serve(sockets=[FairListener(bound, shares) for bound in sockets])


class _AnnouncingServer(uvicorn.Server):
    """Says when it listens, with the queue that uvicorn was not told of; ends stalled answers."""

    def __init__(self, config: uvicorn.Config, lifeline: Connection, shares: Shares) -> None:
        super().__init__(config)
        self._lifeline = lifeline
        self._shares = shares
        self._stalled = Stalled()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or []:
            bound.listen(BACKLOG)  # uvicorn has just set it to 1
        if self.started:
            self._lifeline.send("ready")

    async def on_tick(self, counter: int) -> bool:
        self._shares.say(len(self.server_state.connections))
        if counter % (LOOK_SECONDS * _TICKS_A_SECOND) == 0:
            self._stalled.look(self.server_state.connections)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)


def _listen_to(lifeline: Connection, certificates: Certificates | None) -> None:
    """Take what the supervisor sends; die with it."""
    while True:
        try:
            pair = lifeline.recv()
        except (EOFError, OSError):
            os._exit(1)
        try:
            if certificates is not None:
                certificates.take(pair)
        except OSError:
            log.exception("a new certificate could not be taken: the old one stays in use")
