"""The database contract: exact SQL text in, rows out, one text for both engines.

SQL is written once for SQLite and PostgreSQL, in the subset of docs/decisions/0003: `$1`
parameters, bigint, smallint 0/1, text in C collation, bytes. Statements are module-level constants
so that one test can prepare every one of them on both engines.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar

Value = str | int | bytes | None
"""What binds to a parameter. Sizes are bytes, times are microseconds since 1970 UTC."""

Question = tuple[str, *tuple[Value, ...]]
"""A statement and its parameters."""

T = TypeVar("T")


class Row(Protocol):
    """One result row: columns by name, by position, or all values in turn."""

    def __getitem__(self, key: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


class Transaction(Protocol):
    """Statements inside one transaction."""

    async def execute(self, sql: str, *args: Value) -> int:
        """Run one statement and return the number of rows it changed."""

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        """Run one statement and return all its rows; bound them with LIMIT."""

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        """Run one statement and return its first row."""


Work = Callable[[Transaction], Awaitable[T]]
"""A transaction's body. It awaits nothing but its Transaction, and may run more than once."""


class Database(Transaction, Protocol):
    """A pool of readers and one way to write.

    Outside `write`, `fetch_one` is a point read (a unique index, at most 50 rows examined) and may
    run on the event loop; so may `fetch_column`, for at most 1,000 short rows that lie together in
    one index, and `fetch_few`, for point reads; `fetch` and `fetch_all` may scan and never do;
    `execute` is a transaction of its own.
    Reads see every write that returned before the turn of the event loop in which they are called.
    """

    engine: str
    """"sqlite" or "postgresql"."""

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[Any]:
        """Run one statement and return the first column of its rows."""

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        """Run statements that only read over one snapshot and return the rows of each.

        What is shown together comes from here: it agrees, and many scans cost one turn of a thread.
        """

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        """Do as `fetch_all` does, for at most 50 rows examined by each: no thread's turn is due."""

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction and return its value once the commit is durable.

        `work` may run more than once: it touches nothing but its arguments and its Transaction,
        and catches no database error. Whatever it raises rolls its own statements back and comes
        out here.

        Raises Unavailable when the database is busy beyond patience or gone, NoSpace when the
        disk is full.
        """

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        """Bring the schema up to the last of `migrations`: (number, SQL with engine tokens).

        Raises storage.migrations.SchemaTooNew when the stored schema cannot be read by this code.
        """

    async def close(self) -> None:
        """Finish what runs, then release files and connections. Closing twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
