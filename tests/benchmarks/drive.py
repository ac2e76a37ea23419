"""Drives a server with a client, the same for all, and says how much it did and what it cost.

`wrk` makes the small GETs; the load client everything else: wrk waits for the body of an answer to
HEAD, and reads large bodies in pieces of 8 kB.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import programs
from tests.benchmarks.servers import Server

LOAD = Path(__file__).with_name("load.py")
PATIENCE_SECONDS = 120
PROCESSES = 2


class RunFailed(Exception):
    """A run that cannot be counted, and why, in one line."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run did: finished requests, bytes of bodies, wall and the server's CPU seconds.

    `figure` is what a row compares.
    """

    figure: float
    requests: float
    bytes: float
    cpu_seconds: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """A job of the load client (see load.KINDS), over `connections` in at most two processes."""

    kind: str
    targets: Sequence[str]
    connections: int = 1
    seconds: float = 0
    rate: int = 0
    pieces: Sequence[Sequence[Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What all processes of a load did together."""

    requests: int
    bytes: int
    seconds: float
    cpu_seconds: float | None

    def sample(self, figure: float) -> Sample:
        """Return it as a sample."""
        return Sample(figure, self.requests, self.bytes, self.cpu_seconds)

    def rate(self) -> Sample:
        """Requests per second."""
        return self.sample(self.requests / self.seconds)

    def speed(self) -> Sample:
        """Megabytes per second."""
        return self.sample(self.bytes / self.seconds / 1e6)


def rate(server: Server, target: str, connections: int, seconds: int, **headers: str) -> Sample:
    """Requests per second of one GET on keep-alive connections, by wrk. Raises RunFailed."""
    wrk = programs.find(programs.WRK)
    command = [wrk.path, "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*command, server.url + target],
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE_SECONDS,
        env={**os.environ, **wrk.environment},
        check=False,
    )
    cpu = _cpu_since(server, before)
    return parse_wrk(done.stdout + done.stderr, cpu)


def parse_wrk(text: str, cpu_seconds: float | None) -> Sample:
    """Read what wrk printed. Raises RunFailed unless every answer was good."""
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    total = re.search(r"(\d+) requests in", text)
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text)
    if found is None or total is None or bad is not None or not int(total[1]):
        raise RunFailed(f"wrk: {bad[0] if bad else text.strip()[-200:]}")
    return Sample(float(found[1]), int(total[1]), 0, cpu_seconds)


def load(server: Server, work: Load) -> Done:
    """Do a job with the load client. Raises RunFailed."""
    count = min(PROCESSES, work.connections)
    shares = [work.connections // count + (at < work.connections % count) for at in range(count)]
    # Not a pipe: a process that fails may say much before we listen.
    with tempfile.TemporaryFile("w+") as errors:
        processes = [
            subprocess.Popen(
                [sys.executable, "-S", "-E", LOAD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            for _ in shares
        ]
        try:
            for at, (process, share) in enumerate(zip(processes, shares, strict=True)):
                _say(process, json.dumps(_job(server, work, share, sum(shares[:at]))))
            before, said = _together(server, processes, work.seconds + PATIENCE_SECONDS)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        cpu = _cpu_since(server, before)
        errors.seek(0)
        trouble = errors.read().strip()
    results = [json.loads(text) for text in said if text.startswith("{")]
    if len(results) < count:
        raise RunFailed(trouble.splitlines()[-1] if trouble else "the load client ended early")
    seconds = max(result["seconds"] for result in results)
    requests, size = (sum(result[key] for result in results) for key in ("requests", "bytes"))
    return Done(requests, size, seconds, cpu)


def _job(server: Server, work: Load, threads: int, first: int) -> dict[str, Any]:
    return {
        "host": server.host,
        "certificate": str(server.certificate) if server.certificate else None,
        "headers": dict(work.headers),
        "kind": work.kind,
        "targets": list(work.targets),
        "connections": work.connections,
        "threads": threads,
        "first": first,
        "seconds": work.seconds,
        "rate": work.rate,
        "pieces": [list(piece) for piece in work.pieces],
    }


def _together(
    server: Server, processes: Sequence[subprocess.Popen[str]], patience: float
) -> tuple[float, list[str]]:
    """Start all processes at once; return the server's CPU seconds before, and what each said."""
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    before = server.cpu_seconds()
    for process in processes:
        _say(process, "go")
    deadline = time.monotonic() + patience
    said = []
    for process in processes:
        try:
            said.append(process.communicate(timeout=max(deadline - time.monotonic(), 0.1))[0])
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"the load client did not end within {patience:.0f} s") from error
    return before, said


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # it has ended, and has said why


def _cpu_since(server: Server, before: float) -> float | None:
    return server.cpu_seconds() - before if server.pid else None
