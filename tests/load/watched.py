"""A server like `packhouse serve` on a free port, whose workers tell which tasks they run.

Run as `python -m tests.load.watched DATA`; each worker answers on the socket DATA/tasks.PID.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry.app import build_app
from registry.config import Config, from_environment
from registry.startup import lock_directory, prepare_database, prepare_directory, print_welcome
from registry.supervisor import Supervisor


class Watched:
    """The application, and a socket beside it for as long as it serves."""

    def __init__(self, config: Config) -> None:
        self._app = build_app(config)
        self._path = config.directory / f"tasks.{os.getpid()}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        async with await asyncio.start_unix_server(tell_tasks, self._path):
            await self._app(scope, receive, send)


async def tell_tasks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    names: Counter[str] = Counter()
    for task in asyncio.all_tasks():
        made_by: Callable[..., Awaitable[None]] | None = task.get_coro()  # type: ignore[assignment]
        names[getattr(made_by, "__qualname__", "?")] += 1
    writer.write(json.dumps(names).encode())
    writer.close()


def build(config: Config) -> ASGIApp:
    return Watched(config)


def main() -> int:
    config = from_environment(None, {"data": sys.argv[1], "port": 0})
    prepare_directory(config.directory)
    with lock_directory(config.directory):
        supervisor = Supervisor(config, build)
        sockets = supervisor.listen()
        prepare_database(config)
        return supervisor.run(sockets, lambda found: print_welcome(config, found))


if __name__ == "__main__":
    sys.exit(main())
