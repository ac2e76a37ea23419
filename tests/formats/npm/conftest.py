"""A registry that holds npm packages, on both databases."""

import pytest

from formats.npm.adapter import Npm
from registry.packaging.formats import Formats
from tests.registry.conftest import origin, peopled, postgresql_origin, sqlite_origin, world

__all__ = ["origin", "peopled", "postgresql_origin", "sqlite_origin", "world"]


@pytest.fixture
def formats() -> Formats:
    """The adapters of the world."""
    return Formats([Npm()])
