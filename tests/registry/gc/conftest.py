"""A depot on each database in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.database import Database
from tests.registry.gc.depot import Depot, SetClock


@pytest.fixture
async def depot(database: Database, tmp_path: Path) -> AsyncIterator[Depot]:
    made = Depot(database, tmp_path / "data", SetClock())
    await made.populate()
    try:
        yield made
    finally:
        await made.close()
