"""Rows that were read a moment ago, for as long as nobody writes.

SQLite says in one cheap question whether anything was committed since
(sqlite.org/pragma.html#pragma_data_version), by this process or another; so an answer kept here is
the one that the statement would give, and a change holds for the next read.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from storage import sqlite_connection as sqlite
from storage.database import Row, Value

MOST = 1024
"""Answers kept; with ROW_BYTES at most 16 MB, and in practice below 1 MB."""

ROW_BYTES = 16 * 1024
"""Bytes of text and blobs in a row that is kept."""

COLUMNS_BYTES = 8 * 1024 * 1024
"""Bytes of all columns that are kept: some hundred pages of a thousand names."""

_OBJECT_BYTES = 64


class Answers:
    """First rows or columns of statements, over a connection that reads and is in no transaction.

    One look at the version serves one turn of the event loop: what runs in it was asked before the
    look, so a commit after the look need not be seen, and whoever is told of it runs in a later
    turn. A statement that had to run may have seen more, so the next one looks again.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version = connection.cursor()
        self._version.row_factory = None
        self._seen = -1
        self._looked = False
        self._kept: dict[tuple[str, Sequence[Value]], Row | None] = {}
        self._columns: dict[tuple[str, Sequence[Value]], Sequence[Any]] = {}
        self._columns_bytes = 0

    def fetch_one(self, sql: str, args: tuple[Value, ...]) -> Row | None:
        """Return the first row of a statement as it is now. Raises sqlite3.Error."""
        if not self._looked:
            self._look()
        asked = (sql, args)
        try:
            return self._kept[asked]
        except (KeyError, TypeError):  # what cannot be a key does not bind either
            row = sqlite.fetch_one(self._connection, sql, args)
            self._looked = False
        if row is None or _size(row) <= ROW_BYTES:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[asked] = row
        return row

    def fetch_column(self, sql: str, args: tuple[Value, ...]) -> Sequence[Any]:
        """Return the first column of a statement's rows as they are now. Raises sqlite3.Error."""
        if not self._looked:
            self._look()
        asked = (sql, args)
        try:
            return self._columns[asked]
        except (KeyError, TypeError):
            column = tuple(sqlite.fetch_column(self._connection, sql, args))  # shared from now on
            self._looked = False
        size = _size(column) + _size(args) + _OBJECT_BYTES * len(column)
        if self._columns_bytes + size > COLUMNS_BYTES:
            self._forget_columns()
        if size <= COLUMNS_BYTES:
            self._columns[asked] = column
            self._columns_bytes += size
        return column

    def _forget_columns(self) -> None:
        self._columns.clear()
        self._columns_bytes = 0

    def _look(self) -> None:
        # All rows are fetched, for an open statement would hold its snapshot.
        version = self._version.execute("pragma data_version").fetchall()[0][0]
        if version != self._seen:
            self._seen = version
            self._kept.clear()
            self._forget_columns()
        self._looked = True
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._looked = False


def _size(values: Iterable[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str | bytes))
