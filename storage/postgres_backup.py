"""A consistent copy of a PostgreSQL database as files of COPY, and the way back.

One repeatable-read transaction sees one moment, whatever is written meanwhile. COPY's text form
carries every value exactly, is loaded by the same driver, and needs no pg_dump whose version would
have to match the server's.

Reading list: postgresql.org/docs/current/sql-copy.html, transaction-iso.html.
"""

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import asyncpg

from storage import migrations
from storage.errors import Invalid, Unavailable
from storage.postgres import PostgresDatabase, split_url


async def export(url: str, target: Path, objects: Path) -> dict[str, Any]:
    """Copy every table into a file of `target`, and list the objects in `objects`.

    The list is that of storage.sqlite_backup. Returns the schema's two numbers, the tables in the
    order in which they can be loaded, the last number each gave a row, and the number of rows.
    Raises Unavailable.
    """
    connection = await _connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            schema = await connection.fetchrow("select version, oldest_reader from schema")
            tables = await _tables(connection)
            last = {name: await _last_id(connection, name) for name in tables if tables[name]}
            rows = {name: await _export(connection, name, target) for name in tables}
            await connection.copy_from_query(
                "select key, size, digest from blobs where damaged_at is null order by key",
                output=objects,
            )
        facts = {"schema": schema["version"], "oldest_reader": schema["oldest_reader"]}
        return {**facts, "tables": list(tables), "last_ids": last, "rows": rows}
    except asyncpg.PostgresError as error:
        raise Unavailable(f"the database cannot be copied: {error}") from error
    finally:
        await connection.close()


async def is_empty(url: str) -> bool:
    """Say whether the database has no account, or no tables at all. Raises Unavailable."""
    connection = await _connect(url)
    try:
        tables = await _tables(connection)
        return "accounts" not in tables or not await connection.fetchval(
            "select exists (select from accounts)"
        )
    finally:
        await connection.close()


async def load(source: Path, url: str, facts: dict[str, Any]) -> None:
    """Make the schema that the copy was taken of, and load all tables in one transaction.

    `facts` is what `export` returned. Raises Invalid for tables the schema has not, Unavailable.
    """
    needed = [step for step in migrations.load() if step[0] <= facts["schema"]]
    async with await PostgresDatabase.open(url) as database:
        await database.migrate(needed)
    connection = await _connect(url)
    try:
        known = await _tables(connection)
        tables = [name for name in facts["tables"] if name != "schema"]
        if set(known) - {"schema"} != set(tables) or not set(facts["last_ids"]) <= set(tables):
            raise Invalid(f"the backup has other tables than schema {facts['schema']}")
        async with connection.transaction():
            await connection.execute(f"truncate {', '.join(tables)}")
            for name in tables:
                await connection.copy_to_table(name, source=source / f"{name}.copy")
            for name, number in facts["last_ids"].items():
                sequence = f"pg_get_serial_sequence('{name}', 'id')"
                await connection.execute(f"select setval({sequence}, $1, true)", number)
    except asyncpg.PostgresError as error:
        raise Unavailable(f"the database cannot be loaded: {error}") from error
    finally:
        await connection.close()


async def _connect(url: str) -> Any:
    try:
        return await asyncpg.connect(split_url(url)[0], command_timeout=24 * 3600)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(f"PostgreSQL cannot be used: {error}") from error


async def _tables(connection: Any) -> dict[str, bool]:
    """Return the tables, each after those it refers to, and whether rows are numbered by id."""
    # No constant: those are written for both engines.
    sql = """
        select cast(c.relname as text) as name, coalesce(
            (select array_agg(cast(r.relname as text)) from pg_constraint f
               join pg_class r on r.oid = f.confrelid
             where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid), '{}') as needs,
          exists (select from pg_attribute a
                  where a.attrelid = c.oid and a.attidentity = 'a' and a.attname = 'id') as numbered
        from pg_class c
        where c.relkind = 'r' and c.relnamespace = to_regnamespace(current_schema())
    """
    found = {row["name"]: row for row in await connection.fetch(sql)}
    order = TopologicalSorter({name: set(row["needs"]) for name, row in found.items()})
    return {name: found[name]["numbered"] for name in order.static_order()}


async def _last_id(connection: Any, name: str) -> int:
    sequence = await connection.fetchval(f"select pg_get_serial_sequence('{name}', 'id')")
    return int(await connection.fetchval(f"select last_value from {sequence}"))


async def _export(connection: Any, name: str, target: Path) -> int:
    status = await connection.copy_from_table(name, output=target / f"{name}.copy")
    return int(status.removeprefix("COPY "))
