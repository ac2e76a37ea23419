"""A command on a terminal of its own: what it draws there, and the keys that reach it."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.registry.processes import PATIENCE, environment

CTRL_C = b"\x03"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def heed_interrupts() -> None:
    """In a child: let SIGINT end it, which tests that run in the background inherit ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _enter(terminal: int) -> None:
    os.login_tty(terminal)
    heed_interrupts()


class Terminal:
    """Runs one command as the foreground process of a new terminal."""

    def __init__(
        self,
        command: Sequence[object],
        columns: int = 100,
        cwd: Path | None = None,
        **settings: str,
    ) -> None:
        self._command = [str(word) for word in command]
        self._columns = columns
        self._cwd = cwd
        self._settings = {"TERM": "xterm-256color", **settings}
        self._said = b""

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (50, self._columns))
        kept = environment(**self._settings)
        for name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"} - self._settings.keys():
            kept.pop(name, None)
        self.process = subprocess.Popen(
            self._command,
            env=kept,
            cwd=self._cwd,
            preexec_fn=lambda: _enter(theirs),  # noqa: PLW1509 - so Ctrl-C is its SIGINT
            pass_fds=[theirs],
        )
        os.close(theirs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self._ours)
        if error is not None:
            print(self.drawn)

    @property
    def drawn(self) -> str:
        """Everything so far, control sequences and all."""
        return self._said.decode(errors="replace")

    @property
    def text(self) -> str:
        """Everything so far, without control sequences."""
        return _STYLE.sub("", self.drawn)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.replace("\r\n", "\n").splitlines()]

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait_for(self, text: str) -> None:
        """Return once `text` has been drawn."""
        while text not in self.text:
            assert self._read(), f"no {text!r} in:\n{self.text}"

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        assert select.select([self._ours], [], [], PATIENCE)[0], f"nothing after:\n{self.text}"
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the last holder of the other end is gone
            return False
        self._said += piece
        return bool(piece)
