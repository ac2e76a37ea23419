"""Takes one kind of sync out of a server: for the tests of the tests, and never installed.

DROP_SYNC is `file`, `directory` (the one an object is in), `parents` (new directories above it) or
`database`. On the path of a server process, Python imports this module before anything else.
"""

import os
import re
import sqlite3
from collections.abc import Callable
from typing import Any

DROPPED = os.environ.get("DROP_SYNC", "")
_LEAF = re.compile(r"/blobs/[0-9a-f]{2}/[0-9a-f]{2}$")


def kind_of(descriptor: int) -> str:
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if not os.path.isdir(path):
        return "file"
    return "directory" if _LEAF.search(path) else "parents"


def dropping(sync: Callable[[int], None]) -> Callable[[int], None]:
    def maybe(descriptor: int) -> None:
        if kind_of(descriptor) != DROPPED:
            sync(descriptor)

    return maybe


class Careless(sqlite3.Connection):
    """A connection that syncs nothing."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = full", "synchronous = off"), *args)


os.fsync = dropping(os.fsync)
os.fdatasync = dropping(os.fdatasync)
if DROPPED == "database":
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, **{"factory": Careless, **options})
