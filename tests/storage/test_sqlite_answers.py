"""Rows that are kept for as long as nobody writes: they are those that the statement would give."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from storage import sqlite_answers
from storage.sqlite import SqliteDatabase
from storage.sqlite_connection import connect_reader

NAMED = "select name from things where id = $1"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with await SqliteDatabase.open(tmp_path) as opened:
        await opened.execute("create table things (id integer primary key, name text)")
        await opened.execute("insert into things (id, name) values (1, 'a'), (2, 'b')")
        yield opened


class Asked:
    """Answers over a connection of its own, which counts the statements it ran."""

    def __init__(self, directory: Path) -> None:
        self.statements: list[str] = []
        connection = connect_reader(directory / "packhouse.db")
        connection.set_trace_callback(self.statements.append)
        self.answers = sqlite_answers.Answers(connection)
        self.connection = connection

    def name(self, number: int) -> str | None:
        """Return the name of a thing."""
        row = self.answers.fetch_one(NAMED, (number,))
        return None if row is None else str(row["name"])

    def names(self) -> Sequence[str]:
        """Return the names of all things."""
        return self.answers.fetch_column("select name from things order by id", ())

    @property
    def ran(self) -> int:
        return sum("things" in statement for statement in self.statements)


@pytest.fixture
async def asked(db: SqliteDatabase, tmp_path: Path) -> AsyncIterator[Asked]:
    made = Asked(tmp_path)
    yield made
    made.connection.close()


def commit_elsewhere(directory: Path, sql: str) -> None:
    with closing(sqlite3.connect(directory / "packhouse.db")) as other, other:
        other.execute(sql)


async def test_what_nobody_changed_is_read_once(asked: Asked) -> None:
    for _ in range(3):
        assert [asked.name(1), asked.name(2), asked.name(3)] == ["a", "b", None]
        await asyncio.sleep(0)
    assert asked.ran == 3


async def test_a_commit_holds_for_the_next_read(db: SqliteDatabase, asked: Asked) -> None:
    for name in ("c", "d", "e"):
        assert asked.name(2) == "b"
        await db.execute("update things set name = $1 where id = 1", name)
        assert asked.name(1) == name
        await asyncio.sleep(0)
        assert asked.name(1) == name


async def test_a_commit_of_another_connection_holds_in_the_next_turn(
    asked: Asked, tmp_path: Path
) -> None:
    for name in ("c", "d", "e"):
        asked.name(1)
        await asyncio.sleep(0)
        asked.name(1)  # kept, and looked at in this turn
        commit_elsewhere(tmp_path, f"update things set name = '{name}' where id = 1")
        await asyncio.sleep(0)
        assert asked.name(1) == name


async def test_what_was_not_there_is_there_after_a_commit(asked: Asked, tmp_path: Path) -> None:
    assert asked.name(3) is None
    await asyncio.sleep(0)
    commit_elsewhere(tmp_path, "insert into things (id, name) values (3, 'c')")
    assert asked.name(3) == "c"


async def test_no_read_goes_back_behind_another(asked: Asked, tmp_path: Path) -> None:
    assert asked.name(1) == "a"
    await asyncio.sleep(0)
    assert asked.name(1) == "a"
    commit_elsewhere(tmp_path, "update things set name = 'c'")
    assert asked.name(2) == "c"  # had to be read
    assert asked.name(1) == "c"


async def test_no_snapshot_stays_open(db: SqliteDatabase, asked: Asked, tmp_path: Path) -> None:
    for _ in range(2):
        asked.name(1)
        await asyncio.sleep(0)
    await db.execute("insert into things (name) values ('c')")
    with closing(sqlite3.connect(tmp_path / "packhouse.db", isolation_level=None)) as other:
        busy, _, _ = other.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert busy == 0  # a reader in a transaction keeps the log from beginning anew


async def test_a_column_is_read_once_until_somebody_commits(asked: Asked, tmp_path: Path) -> None:
    for name in ("c", "d"):
        first = asked.names()
        await asyncio.sleep(0)
        assert asked.names() is first
        commit_elsewhere(tmp_path, f"insert into things (name) values ('{name}')")
        await asyncio.sleep(0)
        assert asked.names() == (*first, name)
    assert asked.ran == 3
    assert asked.answers.fetch_column(NAMED, (1,)) == ("a",)
    assert asked.answers.fetch_column(NAMED, (2,)) == ("b",)


async def test_columns_that_are_kept_have_so_many_bytes(db: SqliteDatabase, asked: Asked) -> None:
    page = 100_000
    await db.execute("update things set name = $1 where id = 1", "x" * page)
    for number in range(sqlite_answers.COLUMNS_BYTES // page + 2):
        assert len(asked.answers.fetch_column(f"{NAMED} -- {number}", (1,))[0]) == page
    assert 0 < len(asked.answers._columns) < 10
    await db.execute("update things set name = $1 where id = 1", "x" * sqlite_answers.COLUMNS_BYTES)
    ran = asked.ran
    assert [len(asked.names()[0]) for _ in range(2)] == [sqlite_answers.COLUMNS_BYTES] * 2
    assert asked.ran == ran + 2


async def test_large_rows_are_read_each_time(db: SqliteDatabase, asked: Asked) -> None:
    await db.execute("update things set name = $1", "x" * (sqlite_answers.ROW_BYTES + 1))
    for _ in range(3):
        assert len(asked.name(1) or "") == sqlite_answers.ROW_BYTES + 1
    assert asked.ran == 3


async def test_only_so_many_are_kept(asked: Asked) -> None:
    for number in range(sqlite_answers.MOST * 2 + 1):
        asked.name(-number)
    assert len(asked.answers._kept) <= sqlite_answers.MOST
