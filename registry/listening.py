"""What the server that runs on a data directory says of itself: who it is, and where it listens."""

import fcntl
from pathlib import Path

import msgspec

from registry.startup import LISTENING, SERVE_LOCK, name_to_type


class Listening(msgspec.Struct, frozen=True):
    """The content of listening.json; `metrics` is "" where there are none."""

    urls: tuple[str, ...]
    pid: int
    metrics: str = ""

    @property
    def site(self) -> str:
        """The base URL of what this machine's clients are told to type."""
        scheme, separator, _ = self.urls[0].partition("://")
        return f"{scheme}{separator}{name_to_type(self.urls[0])}"


def listening(directory: Path) -> Listening | None:
    """Return what a running server says of itself; None where none runs.

    The file may outlive a server that was killed, or come with a copy of the directory, and its
    process id may be another program's by now. The lock ends with the process.
    """
    try:
        told = msgspec.json.decode((directory / LISTENING).read_bytes(), type=Listening)
        return told if _is_held(directory / SERVE_LOCK) else None
    except (OSError, msgspec.MsgspecError):
        return None


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            # For a moment: a server that starts meanwhile waits (registry.startup.LOOKS).
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
