"""What only the PostgreSQL driver promises: retries, lost connections, pgbouncer."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.database import Transaction
from storage.errors import Unavailable
from storage.postgres import PostgresDatabase, split_url

UPDATE = "update counters set n = n + 1 where id = $1"
INSERT = "insert into counters (id, n) values ($1, 0)"
SELECT = "select n from counters where id = $1"


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    async with await PostgresDatabase.open(postgres_url, pool_size=3) as opened:
        await opened.execute("create table counters (id bigint primary key, n bigint not null)")
        await opened.execute("insert into counters (id, n) values (1, 0), (2, 0)")
        yield opened


async def counter(db: PostgresDatabase, number: int) -> int:
    row = await db.fetch_one(SELECT, number)
    assert row is not None
    return int(row["n"])


async def test_a_serialization_failure_runs_the_work_again(db: PostgresDatabase) -> None:
    runs = []

    async def work(tx: Transaction) -> int:
        runs.append(1)
        await tx.execute("set transaction isolation level repeatable read")
        row = await tx.fetch_one(SELECT, 1)
        if len(runs) == 1:
            await db.execute(UPDATE, 1)  # another connection commits in between
        await tx.execute(UPDATE, 1)
        assert row is not None
        return int(row["n"])

    assert await db.write(work) == 1
    assert len(runs) == 2
    assert await counter(db, 1) == 2


async def test_a_deadlock_runs_one_of_the_works_again(db: PostgresDatabase) -> None:
    together = asyncio.Barrier(2)
    runs = []

    async def work(tx: Transaction, first: int, second: int) -> None:
        runs.append(first)
        await tx.execute(UPDATE, first)
        if len(runs) <= 2:
            await together.wait()
        await tx.execute(UPDATE, second)

    await asyncio.gather(
        db.write(lambda tx: work(tx, 1, 2)),
        db.write(lambda tx: work(tx, 2, 1)),
    )
    assert len(runs) == 3
    assert (await counter(db, 1), await counter(db, 2)) == (2, 2)


async def test_a_name_that_is_taken_meanwhile_runs_the_work_again(db: PostgresDatabase) -> None:
    runs = []

    async def work(tx: Transaction) -> str:
        runs.append(1)
        if await tx.fetch_one(SELECT, 3) is not None:
            return "taken"
        if len(runs) == 1:
            await db.execute(INSERT, 3)  # another connection commits in between
        await tx.execute(INSERT, 3)
        return "got it"

    assert await db.write(work) == "taken"
    assert len(runs) == 2


async def test_a_work_that_always_breaks_a_constraint_is_a_bug(db: PostgresDatabase) -> None:
    runs = []

    async def work(tx: Transaction) -> None:
        runs.append(1)
        await tx.execute(INSERT, 1)

    with pytest.raises(asyncpg.UniqueViolationError):
        await db.write(work)
    assert len(runs) == 3


async def test_a_work_that_never_succeeds_is_unavailable(db: PostgresDatabase) -> None:
    runs = []

    async def work(tx: Transaction) -> None:
        runs.append(1)
        await tx.execute("do $$ begin raise exception using errcode = '40001'; end $$")

    with pytest.raises(Unavailable):
        await db.write(work)
    assert len(runs) > 1


async def test_a_lost_connection_is_unavailable_and_then_replaced(db: PostgresDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await db.write(work)
    with pytest.raises(Unavailable):
        await db.fetch_one("select pg_terminate_backend(pg_backend_pid())")
    assert await counter(db, 1) == 0


async def test_a_wrong_statement_flies_as_it_is(db: PostgresDatabase) -> None:
    with pytest.raises(asyncpg.InterfaceError):
        await db.fetch_one(SELECT, 1, 2)
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.fetch("select n from nowhere")


async def test_more_callers_than_connections_take_turns(db: PostgresDatabase) -> None:
    await asyncio.gather(*(db.execute(UPDATE, 1) for _ in range(50)))
    assert await counter(db, 1) == 50


async def test_prepared_statements_can_be_turned_off(postgres_url: str) -> None:
    url = f"{postgres_url}&statement_cache_size=0"
    async with await PostgresDatabase.open(url) as db:
        await db.migrate([(1, "create table things (id {id}, name {text})")])
        await db.execute("insert into things (name) values ($1)", "a")
        assert [row["name"] for row in await db.fetch("select name from things")] == ["a"]


def test_the_url_is_passed_on_without_what_is_ours() -> None:
    url = "postgresql://u:p%40@h:1/db?sslmode=disable&statement_cache_size=0&application_name=a%20b"
    kept = "postgresql://u:p%40@h:1/db?sslmode=disable&application_name=a%20b"
    assert split_url(url) == (kept, 0)
    assert split_url("postgresql:///db?host=/run/pg") == ("postgresql:///db?host=/run/pg", 100)
    assert split_url("postgres:///db?statement_cache_size=0") == ("postgres:///db", 0)


async def test_a_server_that_does_not_answer_is_unavailable(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="PostgreSQL cannot be used"):
        await PostgresDatabase.open(f"postgresql://u@127.0.0.1:{unused_tcp_port}/db")
