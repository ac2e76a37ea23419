"""Logins that are kept: one token for each server, in a file for its user alone."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from storage.errors import Invalid, PackhouseError

FILE = "logins.json"


class Unkept(PackhouseError):
    """The file of logins cannot be read or written."""


class Login(msgspec.Struct, frozen=True):
    """A token of the command line; `made` if a login made it.

    `ca` is a file of authorities that was trusted for it, "" for none.
    """

    user: str
    id: int
    token: str
    ca: str = ""
    made: bool = True

    def __repr__(self) -> str:
        return f"Login({self.user!r}, {self.id})"


class Logins:
    """Keeps them below a directory, which is made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / FILE

    def find(self, url: str) -> Login | None:
        """Return the login of a server. Raises Unkept."""
        return self.all().get(url)

    def all(self) -> dict[str, Login]:
        """Return every login by its server. Raises Unkept."""
        try:
            with self._file.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise Unkept(f"others can read the tokens in {self._file}: chmod 600 it first")
                data = file.read()
            return msgspec.json.decode(data, type=dict[str, Login])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unkept(f"cannot read {self._file}: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unkept(f"{self._file} is damaged: remove it, and log in again") from error

    def prepare(self) -> None:
        """Make sure that a login can be kept, before there is one. Raises Unkept, Invalid."""
        with self._alone():
            self.all()

    def keep(self, url: str, login: Login) -> Login | None:
        """Keep a login; return the one that was kept for this server before. Raises Unkept."""
        with self._alone():
            kept = self.all()
            before = kept.get(url)
            self._write({**kept, url: login})
            return before

    def forget(self, url: str, login: Login) -> None:
        """Forget a login, unless there is a newer one by now. Raises Unkept."""
        with self._alone():
            kept = self.all()
            if kept.get(url) == login:
                del kept[url]
                self._write(kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from writing between reading and writing. Raises Unkept, Invalid."""
        if not self._directory.is_absolute():
            raise Invalid("there is no home directory for a login: set XDG_CONFIG_HOME")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self._directory / "logins.lock", "a", opener=_open_private) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise Unkept(f"cannot write to {self._directory}: {error.strerror}") from error

    def _write(self, logins: dict[str, Login]) -> None:
        """Put another file, with 0600 from its first byte, into the place of the last."""
        number, draft = tempfile.mkstemp(dir=self._directory, prefix=f".{FILE}-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(logins)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._file)
        except BaseException:
            os.unlink(draft)
            raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
