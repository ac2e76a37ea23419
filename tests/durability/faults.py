"""Faults from outside: strace attaches to a running worker and makes its system calls fail."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

from tests.clients.pins import SEARCH

TRACEABLE = {"PYTHONPATH": str(Path(__file__).with_name("traceable"))}
"""Settings of a server that strace may attach to."""


class Attached:
    """While the block runs, strace writes down what it is told of one process and its threads."""

    def __init__(self, pid: int, trace: Path, *what: str) -> None:
        self._trace = trace
        self._command = [strace(), "-f", "-p", str(pid), "-o", str(trace), *what]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "attached" in line:
                return self
        self._process.stderr.close()
        self._process.wait()
        return missing("strace may not attach: allow ptrace, or run as root: " + "".join(said))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGINT)  # it lets go of the worker, which runs on
        self._process.communicate()

    @property
    def text(self) -> str:
        """What was written down; whole once the block has ended."""
        return self._trace.read_text(errors="replace")


class Fault(Attached):
    """While the block runs, `calls` of one process fail with `error`, on `path` alone if given.

    `when` is strace's: which of a thread's calls, all of them unless told.
    """

    def __init__(
        self,
        pid: int,
        calls: str,
        error: str,
        trace: Path,
        *,
        path: Path | None = None,
        when: str = "1+",
    ) -> None:
        only = [] if path is None else ["-P", str(path)]
        inject = f"inject={calls}:error={error}:when={when}"
        super().__init__(pid, trace, *only, "-e", f"trace={calls}", "-e", inject)

    @property
    def injected(self) -> int:
        """How many calls failed; known once the block has ended."""
        return self.text.count("(INJECTED)")


def strace() -> str:
    found = shutil.which("strace", path=SEARCH)
    if found is None:
        missing("strace is missing: apt-get install --no-install-recommends strace")
    return found


def missing(cure: str) -> NoReturn:
    """A laptop may do without; the build that decides may not."""
    if os.environ.get("CI"):
        pytest.fail(cure)
    pytest.skip(cure)
