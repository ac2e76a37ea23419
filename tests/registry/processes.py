"""`packhouse` as an operator runs it: a process, its lines on standard error, its workers."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.registry.forked import forks

PACKHOUSE = Path(sys.executable).with_name("packhouse")
PATIENCE = 120
"""Seconds until a test gives up on a process: none takes this long that is well."""


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of its own, and with `settings`."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PACKHOUSE_")}
    return {**kept, **settings}


def run(*arguments: object, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    words, chosen = [*map(str, arguments)], environment(**settings)
    if not any(name.startswith("PYTHON") for name in settings):
        return forks().run(words, stdin, chosen, PATIENCE)
    return subprocess.run(  # Python reads those at its beginning
        [PACKHOUSE, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=chosen,
        check=False,
    )


def wait_for_end(pids: Sequence[int]) -> None:
    """Return when these processes, anybody's children, have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                assert select.select([handle], [], [], PATIENCE)[0], f"process {pid} still runs"
            finally:
                os.close(handle)


class Process:
    """A server process and what it says."""

    def __init__(self, command: Sequence[object], **settings: str) -> None:
        self._command = [str(word) for word in command]
        self._settings = settings
        self._changed = threading.Condition()
        self._workers: set[int] = set()
        self.lines: list[str] = []
        self.process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(**self._settings),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGTERM if error is None else signal.SIGKILL)
        for pid in self._workers:  # a failed test may have left them; they hold our pipe
            if b"spawn_main" in _command_line(str(pid)):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if error is not None:
            print(self.text)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found = [int(pid) for pid in children if b"spawn_main" in _command_line(pid)]
        self._workers.update(found)
        return found

    def wait_for(self, text: str) -> str:
        """Return the first line with `text`, once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._find(text) or self._ended, PATIENCE)
        found = self._find(text)
        assert found, f"no {text!r} in:\n{self.text}"
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def pause(self) -> None:
        """Give the process a moment; it must not end."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)
            raise AssertionError(f"the process has ended:\n{self.text}")

    _ended = False

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _find(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Server(Process):
    """`packhouse serve` on a free port of 127.0.0.1; ready when the block begins, unless told."""

    def __init__(
        self, data: Path, *options: object, port: int = 0, wait: bool = True, **settings: str
    ) -> None:
        settings.setdefault("PACKHOUSE_HOST", "127.0.0.1")
        settings.setdefault("PACKHOUSE_RESERVE_BYTES", "0")
        command = [PACKHOUSE, "serve", "--data", data, "--port", port, *options]
        super().__init__(command, **settings)
        self.data = data
        self._wait = wait

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            if self._wait:
                self.wait_for("docker pull")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    @property
    def urls(self) -> list[str]:
        found: list[str] = json.loads((self.data / "listening.json").read_text())["urls"]
        return found

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE, **options)

    def token(self, *options: object) -> str:
        """A token of admin's that may do everything."""
        scope = ("--scope", "read,write,delete,admin")
        database = {k: v for k, v in self._settings.items() if k == "PACKHOUSE_DATABASE"}
        made = run("token", "create", "--data", self.data, *scope, *options, **database)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def client(self) -> httpx.Client:
        """A client that signs in as admin."""
        auth = ("admin", self.token())
        return httpx.Client(base_url=self.url, auth=auth, timeout=PATIENCE)
