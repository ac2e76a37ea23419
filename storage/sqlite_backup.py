"""A consistent copy of a running SQLite database, and the way back.

Reading list: sqlite.org/backup.html, sqlite.org/wal.html.
"""

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from storage import sqlite_connection as sqlite
from storage.errors import Unavailable
from storage.sqlite_writer import FileLock

FILE = "packhouse.db"
_PAGES = 4096


def export(directory: Path, target: Path, objects: Path) -> dict[str, Any]:
    """Copy the database of `directory` into `target`, and list its objects in `objects`.

    The list has a line `key <tab> size in bytes <tab> digest` for each blob that is not damaged, in
    the order of keys. Returns the schema's two numbers and the number of rows by table. Blocking;
    raises Unavailable when the copy is not sound.

    The write lock is held for the whole copy, or each commit of another process would begin it
    anew; readers go on. An open read transaction in its place would let the log grow meanwhile.
    """
    os.close(os.open(target / FILE, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    lock = FileLock(directory / "write.lock")
    source = sqlite.connect_scanner(directory / FILE)
    copy = sqlite3.connect(target / FILE, isolation_level=None)
    try:
        with lock():
            source.backup(copy, pages=_PAGES)
        copy.execute("pragma journal_mode = delete")  # one file, that needs no other beside it
        fault = first_fault(copy)
        if fault is not None:
            raise Unavailable(f"the copy of the database is not sound: {fault}")
        _list_objects(copy, objects)
        return _facts(copy)
    finally:
        copy.close()
        source.close()
        lock.close()


def load(source: Path, directory: Path) -> None:
    """Put the copy in `source` into a data directory that has none; durable. Blocking."""
    draft = directory / f"{FILE}.restoring"
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with (source / FILE).open("rb") as copy, os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(copy, out, 1024 * 1024)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(directory / FILE)


def first_fault(connection: sqlite3.Connection) -> str | None:
    """Return the first thing that SQLite finds wrong with a database, None when it is sound."""
    (line,) = connection.execute("pragma quick_check(1)").fetchone()
    return None if line == "ok" else str(line)


def _list_objects(copy: sqlite3.Connection, objects: Path) -> None:
    rows = copy.execute("select key, size, digest from blobs where damaged_at is null order by key")
    with objects.open("w") as out:
        out.writelines(f"{key}\t{size}\t{digest}\n" for key, size, digest in rows)


def _facts(copy: sqlite3.Connection) -> dict[str, Any]:
    version, oldest_reader = copy.execute("select version, oldest_reader from schema").fetchone()
    tables = [
        name
        for (name,) in copy.execute("select name from sqlite_schema where type = 'table'")
        if not name.startswith("sqlite_")
    ]
    rows = {name: copy.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}
    return {"schema": version, "oldest_reader": oldest_reader, "rows": rows}
