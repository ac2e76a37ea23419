"""What watches a server at work, where it is configured: nothing else knows whether it is.

Each part is wrapped by what has the same interface, or returned as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from starlette.types import ASGIApp

from registry.config import Config, ConfigError
from registry.metered import MeteredApp, MeteredDatabase, MeteredRounds, MeteredStore, Rounds
from registry.metrics import Meters
from registry.requests import Observer
from storage.blobs import BlobStore
from storage.database import Database


class Tracing(Protocol):
    """What registry/tracing.py does; it is imported only where it is configured."""

    def application(self, app: ASGIApp) -> ASGIApp:
        """Wrap what answers requests."""

    def database(self, database: Database) -> Database:
        """Wrap the database."""

    def store(self, store: BlobStore) -> BlobStore:
        """Wrap the store."""

    async def close(self) -> None:
        """Send what waits, for a moment."""


@dataclass(frozen=True, slots=True)
class Instruments:
    """Metrics and tracing, or neither."""

    meters: Meters | None = None
    tracing: Tracing | None = None

    @property
    def observers(self) -> Sequence[Observer]:
        """Who wants to know of every request that has ended."""
        return [] if self.meters is None else [self.meters.observe]

    def application(self, app: ASGIApp) -> ASGIApp:
        """Wrap what answers requests."""
        if self.tracing is not None:
            app = self.tracing.application(app)
        return app if self.meters is None else MeteredApp(app, self.meters)

    def database(self, database: Database) -> Database:
        """Wrap the database."""
        if self.tracing is not None:
            database = self.tracing.database(database)
        return database if self.meters is None else MeteredDatabase(database, self.meters)

    def store(self, store: BlobStore) -> BlobStore:
        """Wrap the store."""
        if self.tracing is not None:
            store = self.tracing.store(store)
        return store if self.meters is None else MeteredStore(store, self.meters)

    def rounds(self, rounds: Rounds) -> Rounds:
        """Wrap garbage collection."""
        return rounds if self.meters is None else MeteredRounds(rounds, self.meters)

    async def close(self) -> None:
        """Send what waits, for a moment."""
        if self.tracing is not None:
            await self.tracing.close()


NONE = Instruments()


def require_tracing(config: Config) -> None:
    """Look whether what tracing needs is there, if it is configured. Raises ConfigError."""
    if not config.tracing:
        return
    try:
        import_module("registry.tracing")
    except ImportError as error:
        raise ConfigError(
            f"tracing needs packages that are not here ({error.name}): "
            "pip install 'packhouse[tracing]'"
        ) from error


def open_tracing(config: Config) -> Tracing | None:
    """Return what traces, or None. Raises ConfigError."""
    if not config.tracing:
        return None
    require_tracing(config)
    tracing: Tracing = import_module("registry.tracing").open_spans(config.tracing)
    return tracing
