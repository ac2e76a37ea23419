"""What watches a server at work, where it is configured: nothing else knows whether it is.

Each part is wrapped by what has the same interface, or returned as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp

from registry.metered import MeteredApp, MeteredDatabase, MeteredRounds, MeteredStore, Rounds
from registry.metrics import Meters
from registry.requests import Observer
from storage.blobs import BlobStore
from storage.database import Database


@dataclass(frozen=True, slots=True)
class Instruments:
    """Metrics, or nothing."""

    meters: Meters | None = None

    @property
    def observers(self) -> Sequence[Observer]:
        """Who wants to know of every request that has ended."""
        return [] if self.meters is None else [self.meters.observe]

    def application(self, app: ASGIApp) -> ASGIApp:
        """Wrap what answers requests."""
        return app if self.meters is None else MeteredApp(app, self.meters)

    def database(self, database: Database) -> Database:
        """Wrap the database."""
        return database if self.meters is None else MeteredDatabase(database, self.meters)

    def store(self, store: BlobStore) -> BlobStore:
        """Wrap the store."""
        return store if self.meters is None else MeteredStore(store, self.meters)

    def rounds(self, rounds: Rounds) -> Rounds:
        """Wrap garbage collection."""
        return rounds if self.meters is None else MeteredRounds(rounds, self.meters)


NONE = Instruments()
