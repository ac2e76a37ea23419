"""What gc does for one item does not grow with what there is besides.

Counted in steps of SQLite's virtual machine and in statements: neither depends on the machine.
"""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from storage import sqlite_connection as sqlite
from storage.database import Database, Row, T, Value, Work
from storage.digest import Digest
from storage.sqlite import SqliteDatabase
from tests.registry.gc.depot import APP, DAY, Depot, SetClock, image

MONTH = 30 * DAY


class CountedDatabase(Database):
    """One connection that counts statements, and the steps they take."""

    engine = "sqlite"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite.connect_writer(path)
        self.statements = self.steps = 0
        self._connection.set_progress_handler(self._step, 10)

    def _step(self) -> int:
        self.steps += 1
        return 0

    async def execute(self, sql: str, *args: Value) -> int:
        self.statements += 1
        return sqlite.execute(self._connection, sql, args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        self.statements += 1
        return sqlite.fetch(self._connection, sql, args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        self.statements += 1
        return sqlite.fetch_one(self._connection, sql, args)

    async def write(self, work: Work[T]) -> T:
        self._connection.execute("begin immediate")
        try:
            done = await work(self)
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")
        return done

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        assert migrations

    async def close(self) -> None:
        self._connection.close()


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[CountedDatabase]:
    async with await SqliteDatabase.open(tmp_path) as database:
        first = Depot(database, tmp_path, SetClock())
        await first.populate()
        await first.close()
    opened = CountedDatabase(tmp_path / "packhouse.db")
    yield opened
    await opened.close()


async def add_others(depot: Depot, count: int) -> None:
    """Live manifests with tags and blobs in APP, blobs under way, fresh uploads, fresh trash."""
    numbers, at = json.dumps(list(range(count))), depot.clock() + 100 * DAY * 1_000_000
    for sql in (
        "insert into blobs (digest, size, key, created_at, orphaned_at) "
        "select 'sha256:' || value, 1, 'k' || value, 0, case when value % 2 then $2 end "
        "from json_each($1)",
        "insert into repository_blobs (repository_id, blob_id, orphaned_at) "
        "select p.id, b.id, b.orphaned_at from packages p, blobs b where b.key >= 'k'",
        "insert into manifest_contents (digest, size, bytes) "
        "select 'sha256:' || value, 1, '' from json_each($1)",
        "insert into manifests (repository_id, content_id, media_type, created_at, deleted_at) "
        "select p.id, c.id, 'other', 0, case when c.id % 2 then $2 end "
        "from packages p, manifest_contents c where c.size = 1",
        "insert into manifest_blobs (manifest_id, repository_id, blob_id) "
        "select m.id, m.repository_id, b.id from manifests m "
        "join blobs b on b.key = 'k' || (m.id % json_array_length($1)) "
        "where m.media_type = 'other'",
        "insert into tags (repository_id, name, manifest_id, created_at, updated_at) "
        "select repository_id, 'n' || id, id, 0, 0 from manifests where media_type = 'other'",
        "insert into tag_history (repository_id, name, content_id, changed_at) "
        "select repository_id, 'n' || id, content_id, 0 from manifests where media_type = 'other'",
        "insert into uploads (id, repository, account_id, created_at, updated_at) "
        "select 'u' || value, 'x', 999, 0, $2 from json_each($1)",
        "insert into upload_segments (upload_id, start_byte, size, key, sha256) "
        "select id, 0, 1, 's' || id, '' from uploads where id >= 'u'",
        "insert into trash (store, key, due_at) select 0, 't' || value, $2 from json_each($1)",
        "insert into deletions (repository_id, reason, deleted_at) "
        "select p.id, 'tag', $2 from packages p, json_each($1)",
    ):
        used = 2 if "$2" in sql else 1 if "$1" in sql else 0
        await depot.database.execute(sql, *(numbers, at)[:used])


async def add_garbage(depot: Depot) -> None:
    """Ten of everything that gc removes."""
    for number in range(10):
        layer = b"layer %d" % number
        await depot.push_image(layer, tag=f"v{number}")
        await depot.delete(f"v{number}")
        await depot.delete(Digest.of(image([layer])))
        await depot.push_blob(b"orphan %d" % number)
        await depot.push_blob(b"orphan %d" % number)
        await depot.append(await depot.begin(), b"half")


async def cost(database: CountedDatabase, depot: Depot) -> tuple[int, int]:
    """Statements and steps of all rounds until the garbage is gone; the sweep, which looks at
    everything once a day, is left out.
    """
    depot.collector.steps = depot.collector.steps[:-1]
    await add_garbage(depot)
    database.statements = database.steps = 0
    removed: dict[str, int] = {}
    for days in (MONTH + 1, DAY + 1, DAY + 1, DAY + 1):
        depot.clock.advance(days)
        for what, count in (await depot.gc()).items():
            removed[what] = removed.get(what, 0) + count
    assert removed.pop("bytes")
    assert removed == {
        "uploads": 10,
        "manifests": 10,
        "deletions": 10,
        "links": 20,
        "blobs": 20,
        "objects": 40,
    }
    return database.statements, database.steps


async def test_the_work_for_an_item_is_the_same_among_few_rows_and_among_many(
    counted: CountedDatabase, tmp_path: Path
) -> None:
    found = []
    others = 0
    clock = SetClock()
    for count in (100, 3000):
        depot = Depot(counted, tmp_path, clock)
        await depot.enter()
        await depot.push_blob(b"the package", APP)
        await remove_others(counted)
        await add_others(depot, count)
        others = await depot.count("blobs")
        found.append(await cost(counted, depot))
        await depot.close()
    assert others >= 3000
    (few_statements, few_steps), (many_statements, many_steps) = found
    assert many_statements <= few_statements
    assert many_steps <= few_steps * 1.1


async def remove_others(database: CountedDatabase) -> None:
    for table in (
        *("deleted_tags", "deletions", "tags", "tag_history", "manifest_blobs", "manifests"),
        *("manifest_contents", "repository_blobs", "blobs", "upload_segments", "uploads", "trash"),
    ):
        await database.execute(f"delete from {table}")


async def test_the_count_sees_a_scan(counted: CountedDatabase, tmp_path: Path) -> None:
    """The measure itself: a statement without an index costs more among more rows."""
    depot = Depot(counted, tmp_path, SetClock())
    await depot.enter()
    await depot.push_blob(b"the package")
    steps = []
    for count in (100, 3000):
        await remove_others(counted)
        await add_others(depot, count)
        counted.steps = 0
        await counted.fetch("select id from blobs where size = 7")
        steps.append(counted.steps)
    assert steps[1] > steps[0] * 10
    await depot.close()
