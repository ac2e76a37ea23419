"""Pushers, deleters and two gcs, in tasks and in processes: nothing acknowledged is ever lost."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from auth.audit import OPERATOR
from storage.database import Database
from storage.digest import Digest
from tests.registry.gc.depot import DAY, Depot, SetClock
from tests.registry.gc.simulation import EVERYWHERE, REPOSITORIES, FastClock, simulate

SOAK = bool(os.environ.get("SOAK"))
SECONDS = 60 if SOAK else 6
SPEED = 86400 * 2
"""Two days a second: a push dawdles for hours, never for the whole grace."""

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def order(database: Database, database_url: str, tmp_path: Path) -> dict[str, Any]:
    """What a process is told, with the schema made."""
    began = time.time()
    depot = Depot(database, tmp_path / "data", FastClock(began, SPEED))
    await depot.populate()
    await depot.close()
    return {
        "url": database_url,
        "directory": str(tmp_path),
        "began": began,
        "speed": SPEED,
        "ends": time.time() + SECONDS,
        "pushers": 6,
        "deleters": 2,
        "purgers": 0,
        "gcs": 2,
        "seed": 1,
        "wanted": ["pushes", "deletions"],
    }


async def test_two_gcs_among_pushers_and_deleters_in_tasks(
    order: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    order["wanted"] = ["pushes", "found", "mounts", "links", "leases lost"]
    order["wanted"] += ["purges", "purged manifests", "purged blobs", "purged objects"]
    found = await simulate(order)
    await judge([found], order, database, tmp_path)


async def test_gcs_and_purges_among_pushers_take_nothing_that_a_pusher_was_told_of(
    order: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    order = {**order, "deleters": 0, "purgers": 2}
    order["wanted"] = ["pushes", "found", "mounts", "given up", "links", "blobs", "purged objects"]
    found = await simulate(order)
    await judge([found], order, database, tmp_path)


async def test_two_gcs_among_pushers_and_deleters_in_processes(
    order: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    orders = [{**order, "seed": seed, "pushers": 3, "deleters": 1, "gcs": 1} for seed in range(3)]
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.registry.gc.simulation", json.dumps(one)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        for one in orders
    ]
    printed = [(await process.communicate())[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    await judge([json.loads(text) for text in printed], order, database, tmp_path)


async def judge(
    found: list[dict[str, Any]], order: dict[str, Any], database: Database, directory: Path
) -> None:
    """Nothing was broken, everything happened, all that is live reads, and the rest goes."""
    counts = sum((Counter(one["counts"]) for one in found), Counter())
    print(dict(counts))
    assert [text for one in found for text in one["broken"]] == []
    assert [what for what in order["wanted"] if not counts[what]] == []
    clock = SetClock()
    clock.at = FastClock(order["began"], SPEED)()
    depot = Depot(database, directory / "data", clock)
    await depot.enter()
    try:
        await read_everything(depot)
        for repository in EVERYWHERE if order["purgers"] else REPOSITORIES:
            await depot.services.packages.delete(OPERATOR, repository)
        for days in (31, 2, 2, 2):
            clock.advance(days * DAY)
            await depot.gc()
        assert depot.objects() == []
        for table in ("blobs", "repository_blobs", "manifests", "manifest_contents", "deletions"):
            assert await depot.count(table) == 0, table
    finally:
        await depot.close()


async def read_everything(depot: Depot) -> None:
    for repository in REPOSITORIES:
        for number in range(6):
            data = await depot.read(f"t{number}", repository)
            if data is None:
                continue
            for layer in json.loads(data)["layers"]:
                digest = Digest.parse(layer["digest"])
                assert Digest.of(await depot.read_blob(digest, repository)) == digest
