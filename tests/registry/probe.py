"""A server of the real supervisor and workers, whose application tells about its own process.

Run as `python -m tests.registry.probe DATA WORKERS`: answers {"pid": …, "nodelay": 0 or 1}.
"""

import json
import os
import socket
import sys
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from registry.config import Config
from registry.supervisor import Supervisor


def build(config: Config) -> ASGIApp:
    return answer


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    body = json.dumps({"pid": os.getpid(), "nodelay": nodelay(tuple(scope["client"]))}).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def nodelay(client: tuple[str, int]) -> int:
    """The option on this process's connection to `client`."""
    for name in os.listdir("/dev/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:  # the directory's own descriptor, closed by now
            continue
        try:
            found = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue
        with found:
            if peer(found) == client:
                return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    raise LookupError(f"no connection to {client}")


def peer(connection: socket.socket) -> object:
    try:
        return connection.getpeername()[:2]
    except OSError:
        return None


def main() -> int:
    data, workers = sys.argv[1:]
    Path(data).mkdir(mode=0o700)
    supervisor = Supervisor(
        Config(host=("127.0.0.1",), port=0, data=data, workers=int(workers)), build
    )
    sockets = supervisor.listen()
    return supervisor.run(sockets, lambda _: print("ready", file=sys.stderr, flush=True))


if __name__ == "__main__":
    sys.exit(main())
