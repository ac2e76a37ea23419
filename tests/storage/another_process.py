"""What the database tests run in processes of their own: `python another_process.py JSON`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from storage.connect import open_database
from storage.database import Database, Transaction

INCREMENT_FIRST = "update counters set revision = revision + 1 where id = 1"
SELECT_COUNTER = "select n from counters where id = 1"
UPDATE_COUNTER = "update counters set n = $1 where id = 1"
INSERT_THING = "insert into things (name, bytes) values ($1, $2)"


async def increment(tx: Transaction) -> None:
    """Read, compute, write: safe because the row is locked by its first statement."""
    await tx.execute(INCREMENT_FIRST)
    row = await tx.fetch_one(SELECT_COUNTER)
    assert row is not None
    await tx.execute(UPDATE_COUNTER, row["n"] + 1)


async def increment_often(database: Database, tasks: int, times: int) -> None:
    async def repeat() -> None:
        for _ in range(times):
            await database.write(increment)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(repeat())


async def acknowledge(database: Database) -> None:
    """Insert for ever, and say so after every commit."""

    async def repeat(task: int) -> None:
        number = 0
        while True:
            name = f"{task}-{number}"
            await database.execute(INSERT_THING, name, name.encode() * 500)
            print(name, flush=True)
            number += 1

    async with asyncio.TaskGroup() as group:
        for task in range(8):
            group.create_task(repeat(task))


async def main(order: dict[str, Any]) -> None:
    print("ready", flush=True)
    sys.stdin.readline()  # the test starts all its processes at once
    async with await open_database(order["url"], Path(order["data"])) as database:
        await database.migrate([(number, sql) for number, sql in order["migrations"]])
        if order["what"] == "increment":
            await increment_often(database, tasks=4, times=50)
        if order["what"] == "acknowledge":
            await acknowledge(database)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
