"""A load that does not fit: idle, slow and busy clients at once; all are served, nothing stays.

SOAK in the environment makes it an hour of 2,000 idle connections, 500 readers and 200 uploads.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from registry.sockets import raise_descriptor_limit
from storage.filesystem import READERS, WRITERS
from storage.sqlite import SCANNERS
from tests.load.crowd import Crowd, Size
from tests.load.holdings import WatchedServer

SOAK = bool(os.environ.get("SOAK"))
FULL = Size(
    idle=2000, readers=500, uploads=200, pulls=4, seconds=3600, turn=120, breaking=50, mixed=4
)
SMALL = Size(idle=200, readers=50, uploads=20, pulls=2, seconds=14, turn=6, breaking=5, mixed=2)
WARM = Size(idle=40, readers=20, uploads=20, pulls=8, seconds=2, turn=2, breaking=5, mixed=2)

PEAK = 120 if SOAK else 80
"""Megabytes of a worker. Each client may hold so much and no more, however fast or slow it is: so
the bound follows from how many there are, not from the time anything takes."""
GROWTH = 8
"""Megabytes a worker may grow by in the second half: what its allocator may move, but no leak."""
THREADS = WRITERS + READERS + SCANNERS + min(32, (os.cpu_count() or 1) + 4) + 3
"""All pools at their limits; the main thread, the writer of SQLite, and the supervisor's line."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def test_a_crowd_is_served_and_leaves_nothing_behind(tmp_path: Path) -> None:
    raise_descriptor_limit()
    with WatchedServer(tmp_path / "data") as server:
        token, start = server.token(), server.holdings()
        start["lease"] = 1  # gc's, which it takes at its first round
        await crowd(server, token, WARM)
        await server.gives_back(start, but="packhouse.db")  # which each connection opens when used
        before = server.holdings() | start
        middle, end = await crowd(server, token, FULL if SOAK else SMALL)
        await server.gives_back(before)
        print(f"peak {server.peak():.0f} MB, then {middle}, then {end}, {server.threads()} threads")
        assert server.peak() < PEAK
        assert server.threads() <= THREADS
        grown = [now - then for then, now in zip(middle, end, strict=True)]
        assert max(grown) < GROWTH, (middle, end)
    assert "Traceback" not in server.text
    assert "ERROR" not in server.text


async def crowd(server: WatchedServer, token: str, size: Size) -> tuple[list[float], list[float]]:
    """Run a load; return the memory of the workers in its middle and at its end."""
    clients = Crowd(server.port, "admin/crowd", f"Bearer {token}", size)
    await clients.prepare()
    async with clients.present():
        await asyncio.sleep(size.seconds / 2)
        middle = server.memory()
        await asyncio.sleep(size.seconds / 2)
        end = server.memory()
    print(dict(clients.done))
    assert set(clients.done) >= {
        "woken",
        "read",
        "left",
        "uploaded",
        "broken off",
        "pulled",
        "mixed",
    }
    assert clients.done["woken"] >= 2 * size.idle
    return middle, end
