"""The choice of a database driver from one line of configuration."""

from pathlib import Path

from storage.database import Database
from storage.errors import Invalid
from storage.sqlite import SqliteDatabase


async def open_database(url: str, data: Path) -> Database:
    """Open the PostgreSQL database of `url`, or with '' the SQLite database in `data`.

    Raises Invalid for any other URL, Unavailable when the database cannot be opened.
    """
    if not url:
        return await SqliteDatabase.open(data)
    if url.startswith(("postgresql://", "postgres://")):
        # Here: a worker on SQLite has no use for the driver, and it is large.
        from storage.postgres import PostgresDatabase  # noqa: PLC0415

        return await PostgresDatabase.open(url)
    scheme = url.partition(":")[0]
    raise Invalid(
        f"database URL with scheme '{scheme}' is not known: "
        "use postgresql://user@host/name, or leave it empty for SQLite"
    )
