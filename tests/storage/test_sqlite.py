"""What only the SQLite driver promises: files, locks, groups, and a thread that must not wait."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.database import Transaction
from storage.errors import NoSpace, Unavailable
from storage.sqlite import SqliteDatabase
from storage.sqlite_connection import file_system
from storage.sqlite_writer import FileLock, Writer

INSERT = "insert into things (name) values ($1)"
COUNT = "select count(*) as n from things"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with await SqliteDatabase.open(tmp_path) as opened:
        await opened.execute("create table things (id integer primary key, name text)")
        yield opened


async def count(db: SqliteDatabase) -> int:
    row = await db.fetch_one(COUNT)
    assert row is not None
    return int(row["n"])


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def wal_size(directory: Path) -> int:
    return (directory / "packhouse.db-wal").stat().st_size


async def test_a_work_that_suspends_is_an_error_and_leaves_nothing(db: SqliteDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute(INSERT, "a")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited something that is not its database"):
        await db.write(work)
    assert await count(db) == 0


async def test_a_work_that_uses_the_database_is_an_error(db: SqliteDatabase) -> None:
    async def read(tx: Transaction) -> None:
        await db.fetch_one(COUNT)

    async def write(tx: Transaction) -> None:
        await db.execute(INSERT, "a")

    for work in (read, write):
        with pytest.raises(RuntimeError, match="instead of its Transaction"):
            await db.write(work)


async def test_a_work_cannot_end_the_transaction_of_others(db: SqliteDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("rollback")

    results = await asyncio.gather(
        db.execute(INSERT, "a"), db.write(work), db.execute(INSERT, "b"), return_exceptions=True
    )
    assert [results[0], results[2]] == [1, 1]
    assert isinstance(results[1], RuntimeError)
    assert await count(db) == 2


async def test_a_full_disk_is_no_space_for_the_work_that_fills_it(db: SqliteDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("pragma max_page_count = 20")
        await tx.execute(INSERT, "x" * 1_000_000)

    results = await asyncio.gather(
        db.execute(INSERT, "a"), db.write(work), db.execute(INSERT, "b"), return_exceptions=True
    )
    assert [results[0], results[2]] == [1, 1]
    assert isinstance(results[1], NoSpace)
    assert await count(db) == 2


async def test_only_the_owner_can_read_the_files(db: SqliteDatabase, tmp_path: Path) -> None:
    await db.execute(INSERT, "a")
    assert modes(tmp_path) == dict.fromkeys(
        ["packhouse.db", "packhouse.db-wal", "packhouse.db-shm", "write.lock"], 0o600
    )


async def test_the_settings_are_those_that_were_measured(db: SqliteDatabase) -> None:
    async def work(tx: Transaction) -> list[object]:
        pragmas = "journal_mode", "synchronous", "page_size", "foreign_keys", "wal_autocheckpoint"
        rows = [await tx.fetch_one(f"pragma {name}") for name in pragmas]
        return [row[0] for row in rows if row is not None]

    assert await db.write(work) == ["wal", 2, 8192, 1, 1000]
    with pytest.raises(Exception, match="readonly"):
        await db.fetch_one("insert into things (name) values ('a') returning id")


async def test_a_large_log_is_cut_back_when_idle(db: SqliteDatabase, tmp_path: Path) -> None:
    async def work(tx: Transaction) -> None:
        for _ in range(18):
            await tx.execute("insert into things (name) values (zeroblob(4194304))")

    await db.write(work)
    for _ in range(10_000):  # the writer looks at the log after it has answered
        if wal_size(tmp_path) < 1_000_000:
            return
        await db.fetch(COUNT)
    pytest.fail("the log stays large")


async def test_a_row_left_unread_keeps_no_snapshot_open(db: SqliteDatabase) -> None:
    for name in "abc":
        await db.execute(INSERT, name)
    await db.fetch_one("select name from things")
    assert await count(db) == 3
    await db.execute(INSERT, "d")
    assert await count(db) == 4


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    opened = Writer(tmp_path)
    await opened.open()
    yield opened
    await opened.close()


async def test_a_work_whose_turn_does_not_come_is_given_up(writer: Writer, tmp_path: Path) -> None:
    ran = []

    async def work(tx: Transaction) -> None:
        ran.append(1)

    lock = FileLock(tmp_path / "write.lock")
    with lock(), pytest.raises(Unavailable, match="too long"):
        await writer.run(work, patience=0.001)
    lock.close()

    async def after(tx: Transaction) -> int:
        return len(ran)

    assert await writer.run(after) == 0


async def test_a_caller_that_is_cancelled_takes_its_work_back(
    writer: Writer, tmp_path: Path
) -> None:
    ran = []

    async def work(tx: Transaction) -> None:
        ran.append(1)

    lock = FileLock(tmp_path / "write.lock")
    with lock():
        task = asyncio.ensure_future(writer.run(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    lock.close()

    async def after(tx: Transaction) -> int:
        return len(ran)

    assert await writer.run(after) == 0


async def test_a_directory_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "packhouse.db").mkdir()
    with pytest.raises(Unavailable):
        await SqliteDatabase.open(tmp_path)


def test_the_type_of_a_file_system_is_found_by_its_device() -> None:
    mounts = (
        "36 35 98:0 / /mnt rw,noatime master:1 - ext4 /dev/root rw\n"
        "37 35 0:52 / /srv/my\\040data rw shared:7 - nfs4 host:/export rw\n"
    )
    assert file_system(mounts, (98 << 8) | 0) == "ext4"
    assert file_system(mounts, 52) == "nfs4"
    assert file_system(mounts, 99) is None
