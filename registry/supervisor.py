"""The supervisor: prepares database, keys and first admin, then keeps the workers running.

It serves nothing itself. A worker that dies is replaced; SIGTERM and SIGINT let running transfers
finish within the grace; if the supervisor is killed, its workers end with it.
"""

import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from registry.config import Config, ConfigError
from registry.sockets import listen, urls
from registry.worker import run_worker

log = logging.getLogger("packhouse.supervisor")

_START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_KILL_AFTER_GRACE = 5.0


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    lifeline: Connection
    started_at: float
    ready: bool = False


class Supervisor:
    """Starts workers on shared sockets and replaces those that die."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._count = config.workers or min(os.cpu_count() or 1, 4)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._stopping = False

    def listen(self) -> list[socket.socket]:
        """Bind the listening sockets. Raises ConfigError."""
        return listen(self._config.host, self._config.port)

    def run(
        self, sockets: Sequence[socket.socket], welcome: Callable[[Sequence[str]], None]
    ) -> int:
        """Serve until a signal; return the exit status. `welcome` is called once it listens."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._workers.append(self._start(sockets))
        self._wait_until_ready()
        scheme = "https" if self._config.tls else "http"
        if not self._stopping:
            found = urls(sockets, scheme)
            self._announce(found)
            welcome(found)
        while not self._stopping:
            self._watch(sockets)
        self._shut_down()
        return 0

    def _start(self, sockets: Sequence[socket.socket]) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_worker, args=(self._config, list(sockets), theirs), name="packhouse-worker"
        )
        process.start()
        theirs.close()
        return _Worker(process, ours, time.monotonic())

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._stopping and not all(worker.ready for worker in self._workers):
            if any(worker.process.exitcode is not None for worker in self._workers):
                self._shut_down()
                raise ConfigError("a worker could not start: the lines above say why")
            if time.monotonic() > deadline:
                self._shut_down()
                raise ConfigError(f"the workers did not start within {_START_SECONDS:.0f} seconds")
            self._listen_to_workers(0.1)

    def _listen_to_workers(self, seconds: float) -> None:
        waiting = {w.lifeline: w for w in self._workers if not w.ready}
        sentinels = [w.process.sentinel for w in self._workers]
        for found in wait([*waiting, *sentinels], seconds):
            if isinstance(found, Connection):
                try:
                    waiting[found].ready = found.recv() == "ready"
                except (EOFError, OSError):
                    time.sleep(0.01)

    def _watch(self, sockets: Sequence[socket.socket]) -> None:
        self._listen_to_workers(0.5)
        for index, worker in enumerate(self._workers):
            if worker.process.exitcode is None or self._stopping:
                continue
            log.error("worker %s ended with %s", worker.process.pid, worker.process.exitcode)
            if time.monotonic() - worker.started_at < _RESTART_SECONDS:
                time.sleep(_RESTART_SECONDS)
            worker.lifeline.close()
            self._workers[index] = self._start(sockets)

    def _announce(self, found: Sequence[str]) -> None:
        ready = self._config.directory / "listening.json"
        draft = ready.with_suffix(".tmp")
        draft.write_text(json.dumps({"urls": list(found), "pid": os.getpid()}) + "\n")
        draft.replace(ready)
        print(f"Packhouse listens on {' and '.join(found)}", file=sys.stderr, flush=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True

    def _shut_down(self) -> None:
        (self._config.directory / "listening.json").unlink(missing_ok=True)
        for worker in self._workers:
            if worker.process.exitcode is None:
                worker.process.terminate()
        deadline = time.monotonic() + self._config.grace_seconds + _KILL_AFTER_GRACE
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                log.error("worker %s did not stop in time: killed", worker.process.pid)
                worker.process.kill()
                worker.process.join()
            worker.lifeline.close()
