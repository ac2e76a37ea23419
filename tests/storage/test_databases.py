"""The contract of storage.database, kept by every driver."""

import asyncio
import contextvars
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storage.connect import open_database
from storage.database import Database, Transaction
from storage.errors import Invalid, Unavailable

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("another_process.py")
SCHEMA = [
    (
        1,
        """
        -- things; and more
        create table things (
            id {id}, name {text} unique, n bigint, flag smallint not null default 0, bytes {bytes}
        );
        create table counters (
            id bigint primary key, n bigint not null, revision bigint not null
        ) {clustered};
        create table parents (id bigint primary key);
        create table children (
            parent_id bigint references parents (id) deferrable initially deferred
        );
        """,
    ),
    (2, "insert into counters (id, n, revision) values (1, 0, 0)"),
]
INSERT_THING = "insert into things (name, n, bytes) values ($1, $2, $3) returning id"
COUNTER = "select n from counters where id = 1"
NAMES = "select name from things order by name"
MANY = """
with recursive many (n) as (select 1 union all select n + 1 from many where n < 300000)
select count(*) as n from many
"""


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path) -> Iterator[None]:
    """Fail when a test's database leaves threads, files or connections behind."""
    sockets = open_files("socket:")
    yield
    assert [thread.name for thread in threading.enumerate() if "sqlite" in thread.name] == []
    assert open_files(str(tmp_path)) == []
    assert len(open_files("socket:")) == len(sockets)


def open_files(beginning: str) -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:  # the directory's own descriptor
            continue
        if target.startswith(beginning):
            found.append(target)
    return found


@pytest.fixture
async def db(database: Database) -> Database:
    await database.migrate(SCHEMA)
    return database


class Children:
    """Processes that do the same thing at the same moment."""

    def __init__(
        self, count: int, what: str, url: str, data: Path, migrations: Sequence[Any]
    ) -> None:
        order = {"what": what, "url": url, "data": str(data), "migrations": migrations}
        self._processes = [
            subprocess.Popen(
                [sys.executable, CHILD, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for _ in range(count)
        ]

    def start(self) -> None:
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def wait(self) -> None:
        for process in self._processes:
            _, errors = process.communicate()
            assert process.returncode == 0, errors

    def kill_after(self, lines: int) -> list[str]:
        """Read that many lines, kill -9, and return every line that was written."""
        (process,) = self._processes
        assert process.stdout is not None
        written = [process.stdout.readline().strip() for _ in range(lines)]
        process.kill()
        rest, _ = process.communicate()
        return written + rest.splitlines()


async def insert(database: Transaction, name: str, n: int | None = None) -> int:
    row = await database.fetch_one(INSERT_THING, name, n, None)
    assert row is not None
    return int(row["id"])


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch(NAMES)]


async def test_every_value_type_comes_back_as_it_went(db: Database) -> None:
    for name, n, content in [("ä☃𝄞 'q\" %", -1, b"\0\xff"), ("", 0, b""), ("x", None, None)]:
        given = (name, n, content)

        async def work(tx: Transaction, given: Any = given) -> int:
            row = await tx.fetch_one(INSERT_THING, *given)
            assert row is not None
            return int(row["id"])

        number = await db.write(work)
        sql = "select name, n, bytes from things where id = $1"
        row = await db.fetch_one(sql, number)
        assert row is not None
        assert (row["name"], row["n"], row["bytes"]) == (row[0], row[1], row[2]) == given
        (same,) = await db.fetch(sql, number)
        assert (same["name"], same["n"], same["bytes"]) == given


async def test_parameters_bind_by_number_not_by_order(db: Database) -> None:
    sql = "select cast($2 as text) as a, cast($1 as text) as b, cast($2 as text) as c"
    row = await db.fetch_one(sql, "one", "two")
    assert row is not None
    assert (row["a"], row["b"], row["c"]) == ("two", "one", "two")


@pytest.mark.parametrize("values", [(), ("one",), ("one", "two", "three")])
async def test_a_statement_takes_as_many_values_as_it_names(
    db: Database, values: tuple[str, ...]
) -> None:
    with pytest.raises((asyncpg.InterfaceError, sqlite3.ProgrammingError)):
        await db.fetch_one("select cast($1 as text) as a, cast($2 as text) as b", *values)


async def test_a_column_is_the_first_of_every_row(db: Database) -> None:
    for name in ("b", "a", "c"):
        await db.execute("insert into things (name, n) values ($1, $2)", name, 1)
    sql = "select name, n from things where name > $1 order by name"
    assert list(await db.fetch_column(sql, "a")) == ["b", "c"]
    assert list(await db.fetch_column(sql, "c")) == []


async def test_no_row_is_none(db: Database) -> None:
    assert await db.fetch_one("select n from counters where id = $1", 77) is None
    assert list(await db.fetch("select n from counters where id = $1", 77)) == []


@pytest.mark.parametrize("n", [2**63 - 1, -(2**63), 2**31, 0])
async def test_integers_have_64_bits(db: Database, n: int) -> None:
    await db.execute("update counters set n = $1", n)
    row = await db.fetch_one(COUNTER)
    assert row is not None
    assert row["n"] == n


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "a\0b", "\ud800"], ids=ascii)
async def test_a_value_that_one_engine_cannot_keep_is_refused_by_both(
    db: Database, value: int | str
) -> None:
    column = "n" if isinstance(value, int) else "name"
    with pytest.raises(Invalid):
        await db.execute(f"insert into things ({column}) values ($1)", value)
    with pytest.raises(Invalid):
        await db.fetch_one(f"select id from things where {column} = $1", value)
    with pytest.raises(Invalid):
        await db.fetch(f"select id from things where {column} = $1", value)


@pytest.mark.parametrize("value", [True, 1.5, ["a"]])
async def test_a_type_that_does_not_bind_is_a_bug(db: Database, value: Any) -> None:
    with pytest.raises(TypeError, match=r"\$1 is"):
        await db.fetch_one(COUNTER + " and n = $1", value)


async def test_execute_counts_changed_rows(db: Database) -> None:
    assert await db.execute("insert into things (name) values ('a'), ('b'), ('c')") == 3
    assert await db.execute("update things set n = 1 where name < 'c'") == 2
    cte = "with few as (select id from things where name = 'a') "
    assert await db.execute(cte + "update things set n = 2 where id in (select id from few)") == 1
    assert await db.execute("delete from things where name = 'none'") == 0
    assert await db.execute("create table more (id bigint)") == 0
    assert await db.execute("delete from things where n = 1 returning id") == 1


async def test_a_work_that_fails_takes_back_only_its_own_statements(db: Database) -> None:
    async def work(tx: Transaction, number: int) -> int:
        await insert(tx, f"{number:03}")
        if number % 3 == 0:
            raise KeyError(number)
        if number % 3 == 1:
            await insert(tx, f"{number:03}")  # breaks the unique name
        return number

    async def run(number: int) -> int:
        return await db.write(lambda tx: work(tx, number))

    results = await asyncio.gather(*(run(n) for n in range(150)), return_exceptions=True)
    assert [type(result) for result in results[0::3]] == [KeyError] * 50
    assert all(isinstance(result, Exception) for result in results[1::3])
    assert results[2::3] == list(range(2, 150, 3))
    assert await names(db) == [f"{number:03}" for number in range(2, 150, 3)]


async def test_a_commit_that_fails_hits_only_the_work_that_caused_it(db: Database) -> None:
    async def run(number: int) -> None:
        if number % 10 == 5:
            await db.execute("insert into children (parent_id) values ($1)", number)
        else:
            await db.execute("insert into parents (id) values ($1)", 1000 + number)

    results = await asyncio.gather(*(run(n) for n in range(100)), return_exceptions=True)
    failed = [number for number, result in enumerate(results) if result is not None]
    assert failed == list(range(5, 100, 10))
    assert len(await db.fetch("select id from parents")) == 90
    assert len(await db.fetch("select parent_id from children")) == 0


async def test_a_work_runs_in_the_context_of_its_caller(db: Database) -> None:
    request = contextvars.ContextVar("request", default="none")
    request.set("r-17")

    async def work(tx: Transaction) -> str:
        return request.get()

    assert await db.write(work) == "r-17"


async def test_concurrent_tasks_never_lose_an_increment(db: Database) -> None:
    from tests.storage.another_process import increment_often

    await increment_often(db, tasks=20, times=10)
    row = await db.fetch_one(COUNTER)
    assert row is not None
    assert row["n"] == 200


async def test_concurrent_processes_never_lose_an_increment(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    children = Children(2, "increment", database_url, tmp_path, SCHEMA)
    children.start()
    children.wait()
    row = await db.fetch_one(COUNTER)
    assert row is not None
    assert row["n"] == 400


async def test_processes_that_start_at_once_on_nothing_make_one_schema(
    database_url: str, tmp_path: Path
) -> None:
    data = tmp_path / "new" / "data"
    children = Children(4, "increment", database_url, data, SCHEMA)
    children.start()
    children.wait()
    async with await open_database(database_url, data) as db:
        row = await db.fetch_one(COUNTER)
        assert row is not None
        assert row["n"] == 800
        assert len(await db.fetch("select version from schema")) == 1


async def test_a_read_sees_every_write_that_returned(db: Database) -> None:
    for number in range(50):
        await db.execute("update counters set n = $1", number)
        row = await db.fetch_one(COUNTER)
        assert row is not None
        assert row["n"] == number
        assert (await db.fetch(COUNTER))[0]["n"] == number


async def test_a_long_fetch_leaves_the_event_loop_free(db: Database) -> None:
    task = asyncio.ensure_future(db.fetch(MANY))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert task.result()[0]["n"] == 300000
    assert turns > 10


@pytest.mark.parametrize("verb", ["fetch_all", "fetch_few"])
async def test_statements_asked_together_answer_in_turn(db: Database, verb: str) -> None:
    await db.write(lambda tx: insert(tx, "a", 1))
    await db.write(lambda tx: insert(tx, "b", 2))
    ask = getattr(db, verb)
    one = "select n from things where name = $1"
    assert await ask() == []
    found = await ask((one, "b"), (NAMES,), (one, "c"))
    assert [[row[0] for row in rows] for rows in found] == [[2], ["a", "b"], []]
    with pytest.raises(Invalid, match="NUL"):
        await ask((NAMES,), (one, "\0"))
    for name in ("c", "d", "e"):  # no connection stays where it was
        await db.write(partial(insert, name=name))
        (rows,) = await ask((NAMES,))
        assert [row["name"] for row in rows][-1] == name


async def test_statements_asked_together_see_one_moment(db: Database) -> None:
    done = asyncio.Event()

    async def increment(tx: Transaction) -> None:
        await tx.execute("update counters set n = n + 1 where id = 1")

    async def write() -> None:
        while not done.is_set():
            await db.write(increment)

    writing = asyncio.ensure_future(write())
    try:
        first, _, last = await db.fetch_all((COUNTER,), (MANY,), (COUNTER,))
        assert first[0]["n"] == last[0]["n"]
    finally:
        done.set()
        await writing


async def test_a_list_is_one_parameter(db: Database) -> None:
    insert_all = "insert into things (name) select value from json_each(cast($1 as text))"
    assert await db.execute(insert_all, json.dumps(["a", "b c", "ü'\""])) == 3
    some = "select name from things where name in (select value from json_each(cast($1 as text)))"
    found = await db.fetch(some + " order by name", json.dumps(["ü'\"", "a", "z"]))
    assert [row["name"] for row in found] == ["a", "ü'\""]
    assert len(await db.fetch(some, "[]")) == 0
    assert len(await db.fetch(some, None)) == 0
    numbers = """select n from counters where id in
                 (select cast(value as bigint) from json_each(cast($1 as text)))"""
    assert len(await db.fetch(numbers, json.dumps([1, 2**63 - 1]))) == 1


async def test_upserts_return_what_they_changed(db: Database) -> None:
    upsert = """insert into things (name, n) values ($1, $2)
                on conflict (name) do update set n = excluded.n returning id, n"""
    keep = "insert into things (name) values ($1) on conflict (name) do nothing returning id"

    async def work(tx: Transaction) -> tuple[Any, Any, Any]:
        return (
            await tx.fetch_one(upsert, "a", 1),
            await tx.fetch_one(upsert, "a", 2),
            await tx.fetch_one(keep, "a"),
        )

    first, second, third = await db.write(work)
    assert (first["id"], first["n"], second["n"], third) == (second["id"], 1, 2, None)


async def test_text_sorts_by_its_bytes(db: Database) -> None:
    given = ["a", "B", "_b", "-c", "ä", "Z", "1", "é", "~", "a-", "a_"]
    insert_all = "insert into things (name) select value from json_each(cast($1 as text))"
    await db.execute(insert_all, json.dumps(given))
    assert await names(db) == sorted(given)
    page = await db.fetch("select name from things where name > $1 order by name limit 2", "_b")
    assert [row["name"] for row in page] == ["a", "a-"]


async def test_an_id_is_never_given_twice(db: Database) -> None:
    first = await db.write(lambda tx: insert(tx, "a"))
    await db.execute("delete from things")
    assert await db.write(lambda tx: insert(tx, "b")) > first


async def test_a_blob_of_4_mib_comes_back(db: Database) -> None:
    content = os.urandom(4 * 1024 * 1024)
    await db.execute("insert into things (bytes) values ($1)", content)
    row = await db.fetch_one("select bytes from things")
    assert row is not None
    assert row["bytes"] == content


async def test_close_finishes_what_runs_and_refuses_what_comes(
    database_url: str, tmp_path: Path
) -> None:
    db = await open_database(database_url, tmp_path)
    await db.migrate(SCHEMA)
    write = "insert into things (name) values ($1)"
    writes = [asyncio.ensure_future(db.execute(write, str(n))) for n in range(9)]
    reads = [asyncio.ensure_future(db.fetch(NAMES)) for _ in range(9)]
    await asyncio.sleep(0)
    await db.close()
    await db.close()
    await asyncio.gather(*writes, *reads)
    for late in (db.fetch_one(NAMES), db.fetch(NAMES), db.execute("delete from things")):
        with pytest.raises(Unavailable, match="closed"):
            await late
    async with await open_database(database_url, tmp_path) as again:
        assert await names(again) == [str(n) for n in range(9)]


async def test_what_was_acknowledged_survives_kill_9(database_url: str, tmp_path: Path) -> None:
    children = Children(1, "acknowledge", database_url, tmp_path, SCHEMA)
    children.start()
    acknowledged = children.kill_after(lines=300)
    async with await open_database(database_url, tmp_path) as db:
        await db.migrate(SCHEMA)
        rows = await db.fetch("select name, bytes from things")
        kept = {row["name"] for row in rows}
        assert set(acknowledged) <= kept
        assert all(row["bytes"] == row["name"].encode() * 500 for row in rows)
        await db.write(lambda tx: insert(tx, "still works"))


async def test_an_unknown_database_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'mysql'"):
        await open_database("mysql://localhost/packhouse", tmp_path)
