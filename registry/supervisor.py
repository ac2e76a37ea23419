"""The supervisor: prepares database, keys and first admin, then keeps the workers running.

It serves no clients, only scrapes of metrics. A worker that dies is replaced; SIGTERM and SIGINT
let running transfers finish within the grace; if the supervisor is killed, its workers end with it.
A certificate that was replaced goes to the workers within seconds, and at once on SIGHUP.
"""

import contextlib
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
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from registry.accepting import Shares
from registry.config import Config, ConfigError
from registry.self_signed import renew_on_last_day
from registry.sockets import listen, urls
from registry.tls import CertificateFiles, Pair
from registry.worker import BuildApp, run_worker

if TYPE_CHECKING:
    from registry.metrics_listener import MetricsListener

log = logging.getLogger("packhouse.supervisor")

_START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_KILL_AFTER_GRACE = 5.0
_LOOK_SECONDS = 5.0


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    lifeline: Connection
    started_at: float
    ready: bool = False


class Supervisor:
    """Starts workers on shared sockets and replaces those that die."""

    def __init__(self, config: Config, build: BuildApp) -> None:
        self._config = config
        self._build = build
        self._count = config.workers or min(os.cpu_count() or 1, 4)
        self._context = multiprocessing.get_context("spawn")
        self._connections = self._context.RawArray("i", self._count)
        self._workers: list[_Worker] = []
        self._certificate = CertificateFiles(config.tls) if config.tls else None
        self._metrics: MetricsListener | None = None
        self._stopping = False
        self._asked_to_look = False
        self._on_terminal = False
        self._woken, self._waker = self._context.Pipe(duplex=False)

    def listen(self) -> list[socket.socket]:
        """Open the listening sockets, those of metrics too. Raises ConfigError."""
        if self._config.metrics:
            # Here: no other command needs what it draws its pages with.
            from registry.metrics_listener import MetricsListener  # noqa: PLC0415

            self._metrics = MetricsListener(self._config)
        return listen(self._config.host, self._config.port)

    def run(
        self, sockets: Sequence[socket.socket], welcome: Callable[[Sequence[str]], None]
    ) -> int:
        """Serve until a signal; return the exit status. `welcome` is called once it listens.

        Raises ConfigError when the workers cannot start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        before = signal.signal(signal.SIGHUP, self._hang_up)
        self._on_terminal = before != signal.SIG_IGN and _has_terminal()  # nohup: never mind it
        if self._metrics is not None:
            self._metrics.start()
        try:
            for index in range(self._count):
                self._workers.append(self._start(index, sockets))
            self._wait_until_ready()
            if not self._stopping:
                found = urls(sockets, "https" if self._config.tls else "http")
                self._announce(found)
                welcome(found)
            while not self._stopping:
                self._watch(sockets)
        finally:
            self._shut_down(sockets)
        return 0

    def _start(self, number: int, sockets: Sequence[socket.socket]) -> _Worker:
        if self._metrics is None:
            return self._spawn(number, self._build, sockets)
        ours, theirs = self._context.Pipe()
        worker = self._spawn(number, partial(self._build, scrapes=theirs), sockets)
        theirs.close()
        self._metrics.join(number, worker.process.pid or 0, ours)
        return worker

    def _spawn(self, number: int, build: BuildApp, sockets: Sequence[socket.socket]) -> _Worker:
        self._connections[number] = 0  # its predecessor's are closed
        shares = Shares(self._connections, number)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_worker,
            args=(build, self._config, list(sockets), shares, theirs, self._pair),
            name="packhouse-worker",
        )
        process.start()
        theirs.close()
        return _Worker(process, ours, time.monotonic())

    @property
    def _pair(self) -> Pair | None:
        return None if self._certificate is None else self._certificate.pair

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._stopping and not all(worker.ready for worker in self._workers):
            if any(worker.process.exitcode is not None for worker in self._workers):
                raise ConfigError("a worker could not start: the lines above say why")
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConfigError(f"the workers did not start within {_START_SECONDS:.0f} seconds")
            self._wait(left)

    def _wait(self, seconds: float | None) -> None:
        """Wait until a worker is ready or ends, a signal comes, or the time is over."""
        waiting = {w.lifeline: w for w in self._workers if not w.ready}
        sentinels = [w.process.sentinel for w in self._workers]
        for found in wait([self._woken, *waiting, *sentinels], seconds):
            if found is self._woken and not self._stopping:
                self._woken.recv_bytes()
            if isinstance(found, Connection) and found in waiting:
                worker = waiting[found]
                with contextlib.suppress(EOFError, OSError):
                    worker.ready = found.recv() == "ready"
                if not worker.ready:  # its end of the line is closed: it dies
                    worker.process.join(_KILL_AFTER_GRACE)

    def _watch(self, sockets: Sequence[socket.socket]) -> None:
        self._wait(None if self._certificate is None else _LOOK_SECONDS)
        self._look_at_certificate()
        for index, worker in enumerate(self._workers):
            if worker.process.exitcode is None or self._stopping:
                continue
            log.error("worker %s ended with %s", worker.process.pid, worker.process.exitcode)
            if time.monotonic() - worker.started_at < _RESTART_SECONDS:
                wait([self._woken], _RESTART_SECONDS)
            worker.lifeline.close()
            self._workers[index] = self._start(index, sockets)

    def _look_at_certificate(self) -> None:
        asked, self._asked_to_look = self._asked_to_look, False
        if self._certificate is None:
            if asked:
                log.info("SIGHUP: no certificate file is served; other keys need a restart")
            return
        renew_on_last_day(self._config.directory / "tls", self._certificate.pair)
        pair = self._certificate.look(asked=asked)
        for worker in self._workers if pair else ():
            with contextlib.suppress(OSError):  # it dies, and its successor gets the new pair
                worker.lifeline.send(pair)

    def _announce(self, found: Sequence[str]) -> None:
        draft = self._ready_file().with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        said = {"urls": list(found), "pid": os.getpid()}
        if self._metrics is not None:
            said["metrics"] = self._metrics.url
        draft.write_text(json.dumps(said) + "\n")
        draft.replace(self._ready_file())
        print(f"Packhouse listens on {' and '.join(found)}", file=sys.stderr, flush=True)

    def _ready_file(self) -> Path:
        return self._config.directory / "listening.json"

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._stopping:
            self._stopping = True
            self._waker.send_bytes(b"stop")

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP: an operator asks to look at the certificate, or the terminal is gone."""
        if self._on_terminal and not _has_terminal():
            self._stop(number, frame)
        elif not self._asked_to_look:
            self._asked_to_look = True
            self._waker.send_bytes(b"look")

    def _shut_down(self, sockets: Sequence[socket.socket]) -> None:
        try:
            self._ready_file().unlink(missing_ok=True)
        except OSError as error:  # a disk that is gone keeps nobody running
            log.warning("listening.json stays: %s", error)
        for bound in sockets:
            bound.close()  # while one process holds it, clients are let in and never answered
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
        if self._metrics is not None:
            self._metrics.stop()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
