"""The schema, as numbered files of SQL, and the one way to bring a database up to it.

A file `NNNN_what.sql` is written once, with the engine's own words as tokens:

    {id}         the number of a row, never used twice
    {text}       text that sorts by its bytes
    {bytes}      a blob
    {clustered}  after the closing parenthesis: rows are kept in the order of the primary key

Two numbers say who may use the schema: `version`, the last file applied, and `oldest_reader`, the
oldest version of this code that can work with it. A migration expands now and contracts one release
later, so releases N-1 and N run side by side; the file that contracts says so in a line

    -- oldest reader: 12
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from storage.database import Transaction
from storage.errors import PackhouseError

TOKENS = {
    "sqlite": {
        # Without autoincrement SQLite gives the highest id again once its row is deleted. Ids stand
        # in cached documents, tokens, events and other people's bookmarks: a new row must not
        # answer for a dead one. PostgreSQL's sequences never repeat.
        "{id}": "integer primary key autoincrement",
        "{text}": "text",  # SQLite compares bytes unless told otherwise
        "{bytes}": "blob",
        "{clustered}": "without rowid",
    },
    "postgresql": {
        # "always": a statement that sets an id itself fails on this engine instead of colliding.
        "{id}": "bigint generated always as identity primary key",
        # Other collations sort `_b, -c, a, B`; OCI wants ASCIIbetical, and keyset pages need it.
        "{text}": 'text collate "C"',
        "{bytes}": "bytea",
        "{clustered}": "",
    },
}
_OLDEST_READER = re.compile(r"^-- oldest reader: (\d+)$", re.MULTILINE)
_PIECES = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"|;")

CREATE_SCHEMA = """
    create table if not exists schema (version bigint not null, oldest_reader bigint not null)
"""
# scan: the table has one row
SELECT_SCHEMA = "select version, oldest_reader from schema"
INSERT_SCHEMA = "insert into schema (version, oldest_reader) values ($1, $2)"
# scan: the table has one row
UPDATE_SCHEMA = "update schema set version = $1, oldest_reader = $2"


class SchemaTooNew(PackhouseError):
    """A newer Packhouse has changed the database in a way this one cannot read."""


def load() -> list[tuple[int, str]]:
    """Return the migrations of this release in order: (number, SQL with tokens)."""
    found = [
        (int(file.name[:4]), file.read_text(encoding="utf-8"))
        for file in files(__name__).iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", file.name)
    ]
    return sorted(found)


def latest(migrations: Sequence[tuple[int, str]]) -> int:
    """The schema version this code was written for."""
    return max((number for number, _ in migrations), default=0)


def render(sql: str, engine: str) -> list[str]:
    """Return the statements of one migration in the words of `engine`, without comments."""
    for token, words in TOKENS[engine].items():
        sql = sql.replace(token, words)
    return list(_statements(sql))


def _statements(sql: str) -> Iterator[str]:
    statement, end = "", 0
    for piece in _PIECES.finditer(sql + "\n;"):
        statement += sql[end : piece.start()]
        end = piece.end()
        if piece[0] == ";":
            if statement.strip():
                yield statement.strip()
            statement = ""
        elif not piece[0].startswith("--"):
            statement += piece[0]


@dataclass(frozen=True, slots=True)
class Step:
    """One migration, in one transaction that finds out by itself whether it is needed."""

    engine: str
    number: int
    sql: str
    code_version: int

    async def run(self, tx: Transaction) -> None:
        """Apply the migration unless the schema already has it.

        The caller keeps other processes out: by SQLite's write lock, PostgreSQL's advisory lock.

        Raises SchemaTooNew.
        """
        version, oldest_reader = await _stored(tx)
        if oldest_reader > self.code_version:
            raise SchemaTooNew(
                f"the database has schema {version}, which needs Packhouse with schema "
                f"{oldest_reader} or newer, and this one has {self.code_version}: "
                "install the newer release, or restore a backup from before the upgrade"
            )
        if version >= self.number:
            return
        for statement in render(self.sql, self.engine):
            await tx.execute(statement)
        contracted = _OLDEST_READER.search(self.sql)
        reader = int(contracted[1]) if contracted else oldest_reader
        await tx.execute(UPDATE_SCHEMA, self.number, reader)


async def _stored(tx: Transaction) -> tuple[int, int]:
    await tx.execute(CREATE_SCHEMA)
    row = await tx.fetch_one(SELECT_SCHEMA)
    if row is None:
        await tx.execute(INSERT_SCHEMA, 0, 0)
        return 0, 0
    return row["version"], row["oldest_reader"]
