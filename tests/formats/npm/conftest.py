"""A registry that holds npm packages, on both databases."""

import pytest

from formats.npm.adapter import Npm
from registry.packaging.formats import Formats
from tests.registry.conftest import migrated_url, world, world_url

__all__ = ["migrated_url", "world", "world_url"]


@pytest.fixture
def formats() -> Formats:
    """The adapters of the world."""
    return Formats([Npm()])
