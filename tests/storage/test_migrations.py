"""Migrations on both engines: once, entirely, and readable by the release before."""

import pytest

from storage.database import Database
from storage.migrations import SchemaTooNew, latest, load, render

FIRST = [
    (1, "create table counters (id bigint primary key, n bigint not null) {clustered}"),
    (2, "insert into counters (id, n) values (1, 0)"),
]


async def test_the_migrations_of_this_release_apply(database: Database) -> None:
    released = load()
    assert [number for number, _ in released] == list(range(1, len(released) + 1))
    await database.migrate(released)
    await database.migrate(released)
    row = await database.fetch_one("select version from schema")
    assert row is not None
    assert row["version"] == latest(released)


async def test_a_migration_runs_once_and_entirely(database: Database) -> None:
    await database.migrate(FIRST)
    await database.migrate(FIRST)
    broken = [*FIRST, (3, "create table third (id bigint); insert into nowhere values (1)")]
    with pytest.raises(Exception, match="nowhere"):
        await database.migrate(broken)
    await database.migrate([*FIRST, (3, "create table third (id {id})")])
    row = await database.fetch_one("select version, oldest_reader from schema")
    assert row is not None
    assert (row["version"], row["oldest_reader"]) == (3, 0)
    assert len(await database.fetch("select n from counters")) == 1


async def test_older_code_works_until_a_migration_says_it_cannot(database: Database) -> None:
    await database.migrate([*FIRST, (3, "create table third (id {id})")])
    await database.migrate(FIRST)
    await database.migrate(
        [*FIRST, (3, ""), (4, "-- Contracts.\n-- oldest reader: 3\ndrop table third")]
    )
    await database.migrate([*FIRST, (3, "")])
    with pytest.raises(SchemaTooNew, match="has schema 4, which needs Packhouse with schema 3"):
        await database.migrate(FIRST)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_migration_is_split_at_semicolons_outside_text_and_comments(engine: str) -> None:
    sql = "-- a; b\ncreate table a (b {bytes} default ';''-- no'); -- c\n\ninsert into \"x;\" ;\n"
    blob = {"sqlite": "blob", "postgresql": "bytea"}[engine]
    assert render(sql, engine) == [
        f"create table a (b {blob} default ';''-- no')",
        'insert into "x;"',
    ]
