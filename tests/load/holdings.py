"""What a server holds: descriptors, tasks, threads and memory of its workers, files and rows."""

import asyncio
import json
import os
import socket
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from tests.registry.processes import PATIENCE, Server

MEGABYTE = 1_000_000
QUESTIONS = {
    "open upload": "select count(*) from uploads where closed_at is null",
    "segment": "select count(*) from upload_segments",
    "lease": "select count(*) from leases",
}


class WatchedServer(Server):
    """`tests.load.watched` on a data directory, with two workers."""

    def __init__(self, data: Path, **settings: str) -> None:
        super().__init__(data, PACKHOUSE_WORKERS="2", PACKHOUSE_LOG_LEVEL="warning", **settings)
        self._command = [sys.executable, "-m", "tests.load.watched", str(data)]

    def holdings(self) -> Counter[str]:
        """Count everything that a load may take and has to give back, of each worker and of all."""
        found: Counter[str] = Counter()
        for number, pid in enumerate(self.workers()):
            kinds = {"descriptor": _descriptors(pid), "task": self._tasks(pid)}
            for kind, counted in kinds.items():
                for name, count in counted.items():
                    found[f"worker {number} {kind} {name}"] = count
        found["draft"] = len(list(self.data.glob("incoming/*")))
        with closing(sqlite3.connect(f"file:{self.data}/packhouse.db?mode=ro", uri=True)) as rows:
            for name, question in QUESTIONS.items():
                (found[name],) = rows.execute(question).fetchone()
        return found

    async def gives_back(self, before: Counter[str], *, but: str = "\0") -> None:
        """Wait until it holds no more than before, `but` for descriptors of that name.

        It learns a moment after its clients that they have left.
        """
        extra: dict[str, int] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while extra := self._extra(before, but):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        assert not extra, f"still held: {extra}"

    def _extra(self, before: Counter[str], but: str) -> dict[str, int]:
        extra = self.holdings() - before
        return {name: count for name, count in extra.items() if but not in name}

    def threads(self) -> int:
        """The threads of the worker that has most."""
        return max(len(os.listdir(f"/proc/{pid}/task")) for pid in self.workers())

    def memory(self) -> list[float]:
        """Megabytes of each worker now."""
        return [_megabytes(pid, "VmRSS") for pid in self.workers()]

    def peak(self) -> float:
        """Megabytes of the worker that ever held most."""
        return max(_megabytes(pid, "VmHWM") for pid in self.workers())

    def _tasks(self, pid: int) -> Counter[str]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.data / f"tasks.{pid}"))
            with connection.makefile("rb") as file:
                return Counter(json.load(file))


def _descriptors(pid: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            name = os.readlink(path)
            found["socket" if name.startswith("socket:") else name] += 1
    return found


def _megabytes(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) * 1024 / MEGABYTE
