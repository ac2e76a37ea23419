"""Before the first worker: the data directory, the schema, keys, and the first admin."""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shlex
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from auth.accounts import ANY_ACCOUNT, insert_user
from auth.passwords import hash_password
from auth.signing_keys import PURPOSES, SIGNING_PURPOSES, make_keys
from registry.config import Config, ConfigError
from registry.search_terms import read_older
from storage import migrations
from storage.clock import now
from storage.connect import open_database
from storage.database import Database, Transaction
from storage.errors import PackhouseError

log = logging.getLogger("packhouse.startup")

FIRST_LOGIN = "first-login.txt"
FIRST_USER = "admin"
LISTENING = "listening.json"
"""Where a server that is ready says its URLs and process id."""
SERVE_LOCK = "serve.lock"
LOOKS = (0.01, 0.05, 0.2)
"""Seconds that a start waits before it says that another server has the directory."""
RESTORING = "restoring"
"""The file that a restore leaves in a data directory until it has ended."""

FIXED_SQLITE = (3, 51, 3)
"""The first SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug)."""


def prepare_directory(directory: Path) -> None:
    """Make the data directory, for its owner alone. Raises ConfigError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(
                f"others can write to the data directory {directory}: chmod 700 it first"
            )
        if mode & 0o077:
            directory.chmod(0o700)
        probe = directory / f".probe-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"cannot write to the data directory {directory}: {error.strerror}"
        ) from error
    if (directory / RESTORING).exists():
        raise ConfigError(f"a restore into {directory} was interrupted: empty it, and restore anew")


def lock_directory(directory: Path) -> IO[str]:
    """Take the server's lock on a data directory; it ends with the process. Raises ConfigError."""
    file = open(directory / SERVE_LOCK, "a+", opener=_open_private)  # noqa: SIM115 - kept
    try:
        _lock(file)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip() or "an unknown process"
        file.close()
        raise ConfigError(
            f"another server works on {directory}: process {holder}; stop it first"
        ) from error
    # A killed server's: who waits for the file must not take it for ours.
    (directory / LISTENING).unlink(missing_ok=True)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _lock(file: IO[str]) -> None:
    """Take it; whoever only looks whether a server runs (registry/listening.py) has it shortly."""
    for wait in LOOKS:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(wait)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def prepare_database(config: Config) -> bool:
    """Bring the schema up to date and make keys and first admin. Raises ConfigError.

    Returns whether this was the first start.
    """
    with _one_at_a_time(config.directory):
        try:
            return asyncio.run(_prepare_database(config))
        except PackhouseError as error:
            raise ConfigError(error.message) from error
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"the database in {config.directory} cannot be used ({error}): restore a backup"
            ) from error


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep a second first start out: it would put its password over that of the user made."""
    with open(directory / "start.lock", "a", opener=_open_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _prepare_database(config: Config) -> bool:
    async with await open_database(config.database, config.directory) as database:
        await database.migrate(migrations.load())
        if await database.fetch_one(ANY_ACCOUNT) is not None:
            await _mend_keys(database)
            await _read_older(database)
            return False
        password, at = secrets.token_urlsafe(18), now()
        hashed = hash_password(password)

        async def work(tx: Transaction) -> bool:
            # The unique name decides between replicas that start together: one waits for the other.
            if await insert_user(tx, FIRST_USER, hashed, at, admin=True) is None:
                return False
            await make_keys(tx, at)
            return True

        # The file comes first: a crash in between leaves a password that opens nothing.
        secret = _write_secret(config.directory / FIRST_LOGIN, password)
        first = await database.write(work)
        if not first:
            secret.unlink()
        return first


async def _mend_keys(database: Database) -> None:
    """Make keys where there are none to sign with: a table was restored without the other."""
    there = {row["purpose"] for row in await database.fetch(SIGNING_PURPOSES)}
    if there != set(PURPOSES):
        at = now()
        await database.write(lambda tx: make_keys(tx, at))
        log.warning("there was no key to sign with: a new one was made, clients sign in anew")


async def _read_older(database: Database) -> None:
    """Let search find what was pushed before there was one."""
    count = await read_older(database, now())
    if count:
        log.info("search: %d packages that are older than it were read", count)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_secret(file: Path, text: str) -> Path:
    file.unlink(missing_ok=True)
    with open(file, "x", opener=_open_private) as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    return file


def forget_first_login(config: Config, name: str) -> None:
    """Remove the file with the first password once its user has signed in."""
    if name == FIRST_USER:
        (config.directory / FIRST_LOGIN).unlink(missing_ok=True)


def warn_of_sqlite(config: Config) -> None:
    """Log one line where the embedded database is an SQLite with the WAL-reset bug."""
    if not config.database and sqlite3.sqlite_version_info < FIXED_SQLITE:
        log.warning(
            "SQLite %s can corrupt a database that other programs write to meanwhile (fixed in "
            "%s): Packhouse takes care, but run no sqlite3 shell or Litestream beside it",
            sqlite3.sqlite_version,
            ".".join(map(str, FIXED_SQLITE)),
        )


def program() -> str:
    """Return how this command is called from the shell it was started in."""
    return "packhouse" if shutil.which("packhouse") else shlex.quote(sys.argv[0])


def print_welcome(config: Config, found: Sequence[str]) -> None:
    """Print the lines to try; the first password goes to a terminal only, never to a log."""
    host = name_to_type(config.public_url or found[0])
    secret = config.directory / FIRST_LOGIN
    lines = ["Try it:", f"  docker login {host}"]
    if secret.exists():
        where = "" if config.database else f" --data {shlex.quote(str(config.directory))}"
        lines = [
            f"The first user is '{FIRST_USER}'; the password is in {secret} "
            f"(set your own with: {program()} user password {FIRST_USER}{where})",
            *([f"  password: {secret.read_text().strip()}"] if sys.stderr.isatty() else []),
            "Try it:",
            f"  docker login {host} --username {FIRST_USER} --password-stdin "
            f"< {shlex.quote(str(secret))}",
        ]
    lines += [
        f"  docker tag alpine {host}/{FIRST_USER}/alpine",
        f"  docker push {host}/{FIRST_USER}/alpine",
        f"  docker pull {host}/{FIRST_USER}/alpine",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def name_to_type(url: str) -> str:
    """Return host and port for docker, which speaks plain HTTP to localhost."""
    host, separator, port = url.partition("://")[2].rpartition(":")
    if host in {"127.0.0.1", "[::1]", "0.0.0.0", "[::]"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"{host}{separator}{port}"
