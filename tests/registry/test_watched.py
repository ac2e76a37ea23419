"""What is watched keeps its contract: the suites of the drivers, with everything in front."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from registry.instruments import Instruments
from registry.metrics import Meters
from registry.tracing import Spans
from storage.blobs import BlobStore
from storage.database import Database
from storage.filesystem import FilesystemStore
from storage.sqlite import SqliteDatabase
from tests.storage.test_blob_stores import *  # noqa: F403
from tests.storage.test_databases import *  # noqa: F403


@pytest.fixture
def database_url() -> str:
    """SQLite's alone: what is in front is the same."""
    return ""


@pytest.fixture
async def instruments() -> AsyncIterator[Instruments]:
    made = Instruments(Meters(), Spans(InMemorySpanExporter()))
    yield made
    await made.close()


@pytest.fixture
async def store(instruments: Instruments, tmp_path: Path) -> AsyncIterator[BlobStore]:
    inner = FilesystemStore(tmp_path / "store", reserve=0)
    yield instruments.store(inner)
    await inner.close()


@pytest.fixture
async def database(instruments: Instruments, tmp_path: Path) -> AsyncIterator[Database]:
    inner = await SqliteDatabase.open(tmp_path)
    async with instruments.database(inner) as opened:
        yield opened
