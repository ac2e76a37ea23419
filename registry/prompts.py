"""What a command is told in secret: a line of standard input, or what a terminal does not show."""

import getpass
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import Invalid


def read_line(what: str) -> str:
    """Return a line of standard input. Raises Invalid for one that is no text."""
    try:
        with _interruptible():
            return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Invalid(f"the {what} is not UTF-8 text") from error


def read_password(name: str, *, stdin: bool, which: str = "Password") -> str:
    """Return a password from standard input, or ask a terminal. Raises Invalid."""
    if stdin:
        return read_line("password")
    if not sys.stdin.isatty():
        raise Invalid("give the password on standard input with --password-stdin")
    with _interruptible():
        return getpass.getpass(f"{which} for {name}: ")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the wait for a person: an event loop would only take note of it."""
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
