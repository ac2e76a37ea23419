"""Rows that say what signing in costs: reads of a private manifest beside a public one's.

Both are read in one run, in turns on the same connections, so that what else the machine does
slows both.
"""

import base64
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.benchmarks import programs
from tests.benchmarks.bench import TAG, Bench, Limits, Row
from tests.benchmarks.drive import PATIENCE_SECONDS, RunFailed, Sample, parse_wrk
from tests.benchmarks.servers import PACKHOUSE, Packhouse, Server
from tests.clients.images import DOCKER_MANIFEST

SCRIPT = Path(__file__).with_name("alternating.lua")
ANONYMOUS = "anonymous"
CONNECTIONS = 8
TURNS_SECONDS = 10
"""How long a run is at least: twenty turns of each."""

Headers = Callable[[Bench, Server], str]


def bearer(bench: Bench, server: Server) -> str:
    """The header of a client that followed the challenge, as docker does."""
    return bench.headers(PACKHOUSE, server)["Authorization"]


def token(bench: Bench, server: Server) -> str:
    """The header of a client that sends its token with every request, as package clients do."""
    assert server.credentials is not None
    return "Basic " + base64.b64encode(":".join(server.credentials).encode()).decode()


class Halves:
    """Measures both kinds of reads in one run, and hands them out one after the other."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._anonymous: Sample

    def __call__(self, bench: Bench, name: str) -> Sample:
        """Requests per second of the signed in, then of the anonymous in the same run."""
        if name == ANONYMOUS:
            return self._anonymous
        server = bench.server(PACKHOUSE)
        signed_in = bench.manifest(TAG), self._headers(bench, server)
        self._anonymous, found = alternate(bench, server, (publish(bench, server), ""), signed_in)
        return found


def publish(bench: Bench, server: Server) -> str:
    """Return the target of the same image in a public package, pushing it if need be."""
    repository = f"{bench.repository}-public"
    target = f"/v2/{repository}/manifests/{TAG}"
    if httpx.get(server.url + target).status_code == 200:
        return target
    contender = bench.contender(PACKHOUSE)
    assert isinstance(contender, Packhouse)
    with httpx.Client(base_url=server.url, auth=server.credentials, timeout=60) as client:
        for piece in bench.image.blobs:
            mount = {"mount": piece.digest, "from": bench.repository}
            _require(client.post(f"/v2/{repository}/blobs/uploads/", params=mount), 201)
        headers = {"Content-Type": bench.image.media_type}
        _require(client.put(target, content=bench.image.manifest, headers=headers), 201)
    contender.publish(repository)
    return target


def alternate(bench: Bench, server: Server, *halves: tuple[str, str]) -> tuple[Sample, Sample]:
    """Ask for two (target, Authorization) in turns. Raises RunFailed."""
    wrk = programs.find(programs.WRK)
    seconds = max(bench.seconds, TURNS_SECONDS)
    command = [wrk.path, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", SCRIPT, server.url]
    done = subprocess.run(
        [*command, "--", *(word for half in halves for word in half), DOCKER_MANIFEST],
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE_SECONDS,
        env={**os.environ, **wrk.environment},
        check=False,
    )
    parse_wrk(done.stdout + done.stderr, None)
    found = re.findall(r"^\d: (\d+) in ([\d.]+) s$", done.stdout, re.MULTILINE)
    if len(found) != 2 or not all(float(count) for count, _ in found):
        raise RunFailed(f"wrk's script: {done.stdout.strip()[-200:]}")
    first, second = (Sample(int(n) / float(took), int(n), 0, None) for n, took in found)
    return first, second


def _require(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise RunFailed(f"{answer.request.method}: {answer.status_code} {answer.text[:200]}")


ROWS = [
    Row(f"signed-in-{name}", "requests/s", {ANONYMOUS: Limits(floor=0.75)}, Halves(headers))
    for name, headers in (("bearer", bearer), ("token", token))
]
