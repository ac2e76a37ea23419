"""SQLite connections: their settings, statements with `$1` parameters, and errors in our words.

Reading list: sqlite.org/wal.html, sqlite.org/pragma.html, sqlite.org/rescode.html.
"""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from storage.database import Question, Row, Value
from storage.errors import NoSpace, PackhouseError, Unavailable
from storage.values import check_values

WAL_LIMIT = 64 * 1024 * 1024
"""Bytes. A larger write-ahead log is cut back as soon as the writer is idle."""

_WRITER = (
    "pragma page_size = 8192",  # counts on creation only, and before WAL
    "pragma journal_mode = wal",
    "pragma synchronous = full",  # durable before 201; group commit makes it cost 17 %
    "pragma foreign_keys = on",
    "pragma busy_timeout = 5000",  # for foreign processes; ours wait for the write lock
    "pragma wal_autocheckpoint = 1000",  # runs inside COMMIT, so under the write lock
    f"pragma journal_size_limit = {WAL_LIMIT}",
    "pragma cache_size = -16000",  # KiB; the caches of one worker stay below 60 MB together
    "pragma temp_store = memory",
)
_POINT_READER = (
    "pragma query_only = on",
    "pragma busy_timeout = 100",
    "pragma cache_size = -32000",
)
_SCANNER = (
    "pragma query_only = on",
    "pragma busy_timeout = 5000",
    "pragma cache_size = -4000",
)
# No mmap_size: while another process writes, reads took 138 µs instead of 40.

_GONE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p"}


class DatabaseUnsuitable(PackhouseError):
    """This machine cannot keep an SQLite database safely."""


def prepare_directory(directory: Path) -> None:
    """Make the directory where it is missing; refuse it where file locks cannot be trusted.

    Raises DatabaseUnsuitable, for an SQLite that is too old as well.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sqlite3.sqlite_version_info < (3, 35):
        raise DatabaseUnsuitable(
            f"SQLite {sqlite3.sqlite_version} is too old: use a Python with 3.35 or newer"
        )
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return
    kind = file_system(mounts, directory.stat().st_dev)
    if kind in _NETWORK:
        raise DatabaseUnsuitable(
            f"{directory} is on a network file system ({kind}), whose locks cannot be trusted: "
            "use a local disk, or PostgreSQL"
        )


def file_system(mountinfo: str, device: int) -> str | None:
    """The type of the file system with this device number, by proc(5) mountinfo."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == wanted:
            return rest.split()[0]
    return None


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the connection that writes, creating the file when there is none; hold the lock."""
    with suppress(FileExistsError):
        # SQLite gives the WAL and its index the permissions of the database. The file is opened
        # only when it is made here: closing it later would drop SQLite's own locks.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    return _connect(path, "rw", _WRITER, check_same_thread=True)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection for point reads on the event loop."""
    return _connect(path, "ro", _POINT_READER)


def connect_scanner(path: Path) -> sqlite3.Connection:
    """Open a connection for scans in a thread."""
    return _connect(path, "ro", _SCANNER)


def _connect(
    path: Path, mode: str, pragmas: Sequence[str], *, check_same_thread: bool = False
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=check_same_thread,
        cached_statements=512,
    )
    try:
        for pragma in pragmas:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


_PARAMETER = re.compile(r"'(?:[^']|'')*'|\$(\d+)")


@lru_cache(maxsize=4096)
def _numbered(sql: str) -> str:
    """Return a statement with `?1` for `$1`: a sequence would bind `$2, $1` as they appear."""
    return _PARAMETER.sub(lambda found: f"?{found[1]}" if found[1] else found[0], sql)


def _run(connection: sqlite3.Connection, sql: str, args: Sequence[Value]) -> sqlite3.Cursor:
    check_values(args)
    return connection.execute(_numbered(sql), args)


def execute(connection: sqlite3.Connection, sql: str, args: Sequence[Value]) -> int:
    """Run one statement to its end and return the number of rows it changed."""
    cursor = _run(connection, sql, args)
    try:
        cursor.fetchall()
        if cursor.rowcount >= 0:
            return cursor.rowcount
        if sql.lstrip()[:4].lower() != "with":
            return 0
        # The module counts rows only where the text begins with insert, update or delete.
        changed: int = connection.execute("select changes()").fetchone()[0]
        return changed
    finally:
        cursor.close()


def fetch(connection: sqlite3.Connection, sql: str, args: Sequence[Value]) -> list[Row]:
    """Run one statement and return all its rows."""
    return _run(connection, sql, args).fetchall()


def fetch_all(connection: sqlite3.Connection, questions: Sequence[Question]) -> list[list[Row]]:
    """Run statements over one snapshot and return all rows of each."""
    connection.execute("begin")
    try:
        return [fetch(connection, sql, args) for sql, *args in questions]
    finally:
        if connection.in_transaction:  # some errors end it
            connection.execute("rollback")


def fetch_column(connection: sqlite3.Connection, sql: str, args: Sequence[Value]) -> list[Any]:
    """Run one statement and return the first column of its rows."""
    cursor = connection.cursor()
    cursor.row_factory = None  # rows with names cost half as much again
    check_values(args)
    return [row[0] for row in cursor.execute(_numbered(sql), args).fetchall()]


def fetch_one(connection: sqlite3.Connection, sql: str, args: Sequence[Value]) -> Row | None:
    """Run one statement and return its first row, leaving no snapshot open."""
    cursor = _run(connection, sql, args)
    try:
        row: Row | None = cursor.fetchone()
        return row
    finally:
        cursor.close()


def is_busy(error: BaseException) -> bool:
    """Say whether another connection was in the way."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def translate(error: sqlite3.Error) -> Exception:
    """Name what went wrong in our words; a bug in a statement stays what it is."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    ours: PackhouseError
    # On a full disk it is the index of the log that cannot grow, or be made.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        ours = NoSpace("the disk of the database is full: free some space and try again")
    elif code in _GONE:
        ours = Unavailable(f"the database cannot be used now ({error}): try again")
    else:
        return error
    ours.__cause__ = error
    return ours
