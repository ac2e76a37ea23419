"""Every answer that acknowledges a write leaves after the syncs it depends on.

SIGKILL keeps the page cache and proves nothing about power, so the server runs under strace and the
recorded calls are checked: what is not synced when the status line leaves would be lost.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.durability.faults import strace
from tests.durability.syscalls import TRACED, Risks, read
from tests.registry.client import OCI_MANIFEST, digest_of, image_manifest
from tests.registry.processes import Server, run

DROPPED = Path(__file__).with_name("dropped")
SMALL, LARGE = 100_000, 1_000_000
"""Bytes of an object that is written in its place, and of one that is renamed into it."""
LAYERS = [bytes([number]) * (LARGE if number % 2 else SMALL) for number in range(9)]


class Traced(Server):
    """A server of one worker, with the system calls of all its processes in a file."""

    def __init__(self, data: Path, trace: Path, **settings: str) -> None:
        super().__init__(data, "--workers", "1", **settings)
        options = ["-f", "-y", "-s", "48", "-o", trace, "-e", f"trace={TRACED}"]
        self._command = [str(word) for word in (strace(), *options, *self._command)]
        self.trace = trace

    def stop(self, number: int = signal.SIGTERM) -> int:
        os.kill(json.loads((self.data / "listening.json").read_text())["pid"], number)
        return self.process.wait(60)


def test_nothing_acknowledged_is_at_risk(tmp_path: Path) -> None:
    statuses = []
    for status, lost in answers(tmp_path):
        statuses.append(status)
        assert lost == [], f"an answer {status} left before these were synced"
    assert statuses.count(201) >= 7
    assert statuses.count(202) >= 6


@pytest.mark.parametrize("dropped", ["file", "directory", "parents", "database"])
def test_a_sync_that_is_left_out_is_found(tmp_path: Path, dropped: str) -> None:
    settings = {"PYTHONPATH": str(DROPPED), "DROP_SYNC": dropped}
    at_risk = [lost for _, lost in answers(tmp_path, **settings) if lost]
    assert at_risk, f"without the sync of kind {dropped!r} nothing was said to be at risk"


def answers(home: Path, **settings: str) -> list[tuple[int, list[str]]]:
    """Drive every kind of write; return each successful answer with what was at risk."""
    data, trace = home / "data", home / "trace"
    with Traced(data, trace, **settings) as server, signed_in(server) as http:
        write_in_every_way(http)
    with trace.open(errors="replace") as lines:
        followed = Risks(str(data)).follow(read(lines))
    return [(status, lost) for status, lost in followed.answers if status < 300]


@contextmanager
def signed_in(server: Server) -> Iterator[httpx.Client]:
    url = json.loads((server.data / "listening.json").read_text())["urls"][0]
    made = run("token", "create", "--scope", "read,write,delete", "--data", server.data)
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        yield http


def write_in_every_way(http: httpx.Client) -> None:
    one, other = "/v2/admin/one", "/v2/admin/other"
    post(http, one, LAYERS[0])
    streamed(http, one, LAYERS[1], whole=True)
    streamed(http, one, LAYERS[2], whole=False)
    location = begin(http, one)
    good(http.put(location, params={"digest": digest_of(LAYERS[3])}, content=LAYERS[3]), 201)
    mounted = {"mount": digest_of(LAYERS[0]), "from": "admin/one"}
    good(http.post(f"{other}/blobs/uploads/", params=mounted), 201)
    post(http, other, LAYERS[4])
    manifest = json.dumps(image_manifest(LAYERS[0], *LAYERS[1:4])).encode()
    put = {"content": manifest, "headers": {"Content-Type": OCI_MANIFEST}}
    good(http.put(f"{one}/manifests/v1", **put), 201)
    good(http.put(f"{one}/manifests/v2", **put), 201)
    good(http.delete(f"{one}/manifests/v2"), 202)
    good(http.delete(f"{one}/manifests/{digest_of(manifest)}"), 202)
    good(http.delete(f"{other}/blobs/{digest_of(LAYERS[4])}"), 202)
    good(http.patch(cancelled := begin(http, one), content=LAYERS[5]), 202)
    good(http.delete(cancelled), 204)


def post(http: httpx.Client, base: str, layer: bytes) -> None:
    digest = {"digest": digest_of(layer)}
    good(http.post(f"{base}/blobs/uploads/", params=digest, content=layer), 201)


def streamed(http: httpx.Client, base: str, layer: bytes, *, whole: bool) -> None:
    location = begin(http, base)
    pieces = [layer] if whole else [layer[:60_000], layer[60_000:]]
    for piece in pieces:
        good(http.patch(location, content=piece), 202)
    good(http.put(location, params={"digest": digest_of(layer)}), 201)


def begin(http: httpx.Client, base: str) -> str:
    location: str = good(http.post(f"{base}/blobs/uploads/"), 202).headers["location"]
    return location


def good(response: httpx.Response, status: int) -> httpx.Response:
    assert response.status_code == status, response.text
    return response
