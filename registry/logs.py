"""Logging: one line an event on standard error."""

import asyncio
import logging
import sys


def configure_logging(level: str) -> None:
    """Send our own records at `level` and above, and others' warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(_say_cut)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("packhouse").setLevel(level.upper())
    # docker, podman and skopeo try TLS first, and uvicorn warns of each such greeting.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def _say_cut(record: logging.LogRecord) -> bool:
    """Turn the traceback of a transfer that a stopping server cancelled into one word.

    uvicorn logs whatever leaves an application as an error of it, cancellation included.
    """
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        record.msg, record.args, record.exc_info = "a running transfer was cut", (), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
