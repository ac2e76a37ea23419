"""Logging: one line an event on standard error."""

import logging
import sys


def configure_logging(level: str) -> None:
    """Send our own records at `level` and above, and others' warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("packhouse").setLevel(level.upper())
