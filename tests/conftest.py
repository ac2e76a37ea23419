"""Fixtures that every room's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from storage.connect import open_database
from storage.database import Database
from tests.postgres import postgres_server, postgres_url

# A busy machine is no failure: examples have no deadline.
settings.register_profile("packhouse", deadline=None)
settings.load_profile("packhouse")

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: '' (SQLite) and PostgreSQL in turn."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An open, empty database of each engine, without any schema."""
    async with await open_database(database_url, tmp_path) as opened:
        yield opened
