"""A running registry, somebody who pushes to it, and what it has acknowledged."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Self

import httpx

from tests.durability.model import Made, image
from tests.registry.client import digest_of, refused
from tests.registry.processes import PATIENCE, Server, run

IMAGE = "/v2/admin/image"
SIZE = 50_000

Push = Callable[["Site", bytes], httpx.Response]
"""Sends bytes as a blob; returns the answer that acknowledges them, or the first refusal."""


class Site:
    """`kept` maps the path of everything acknowledged to its bytes."""

    def __init__(self, server: Server, *, token: str = "", **settings: str) -> None:
        self.server = server
        self.kept: dict[str, bytes] = {}
        self.token = token or make_token(server.data, **settings)
        self._rng = Random(server.pid)
        self.http = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def new(self, size: int = SIZE) -> bytes:
        """Bytes never pushed before."""
        return self._rng.randbytes(size)

    def keep_image(self, tag: str = "v1") -> Made:
        """Push an image; everything must be acknowledged."""
        config, layer = self.new(100), self.new()
        for data in (config, layer):
            self.acknowledged(push_whole(self, data), f"{IMAGE}/blobs/{digest_of(data)}", data)
        made = image(config, layer)
        self.acknowledged(self.put_manifest(made, tag), f"{IMAGE}/manifests/{tag}", made.data)
        return made

    def acknowledged(self, answer: httpx.Response, path: str, data: bytes) -> None:
        assert answer.status_code == 201, answer.text
        self.kept[path] = data

    def put_manifest(self, made: Made, tag: str) -> httpx.Response:
        headers = {"Content-Type": made.media_type}
        return self.http.put(f"{IMAGE}/manifests/{tag}", content=made.data, headers=headers)

    def begin(self) -> str:
        answer = self.http.post(f"{IMAGE}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        location: str = answer.headers["location"]
        return location

    def has(self, data: bytes) -> bool:
        answer = self.http.get(f"{IMAGE}/blobs/{digest_of(data)}")
        assert answer.status_code in (200, 404), answer.text
        return answer.status_code == 200

    def check_kept(self) -> None:
        """Everything acknowledged is there, byte for byte."""
        for path, data in self.kept.items():
            answer = self.http.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.content == data, path

    def files(self) -> set[str]:
        """The names of all objects and drafts."""
        return files(self.server.data)

    def refused(self, answer: httpx.Response, status: int) -> None:
        """Check a refusal in OCI's words; one of 500 is in the log under its request id."""
        refused(answer, status, "UNKNOWN" if status == 500 else "UNAVAILABLE")
        if status == 500:
            self.server.wait_for(answer.json()["request_id"])
        if status == 503:
            assert int(answer.headers["retry-after"]) > 0


def make_token(data: Path, **settings: str) -> str:
    made = run("token", "create", "--scope", "read,write,delete", "--data", data, **settings)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def files(data: Path) -> set[str]:
    return {
        path.name
        for directory in ("blobs", "incoming")
        for path in (data / directory).rglob("*")
        if path.is_file()
    }


def push_whole(site: Site, data: bytes) -> httpx.Response:
    query = {"digest": digest_of(data)}
    return site.http.post(f"{IMAGE}/blobs/uploads/", params=query, content=data)


def push_at_the_end(site: Site, data: bytes) -> httpx.Response:
    return site.http.put(site.begin(), params={"digest": digest_of(data)}, content=data)


def push_streamed(site: Site, data: bytes) -> httpx.Response:
    """Stream one PATCH, and close; where the PATCH is refused, its upload still stands at 0."""
    location = site.begin()
    answer = site.http.patch(location, content=data)
    if answer.status_code != 202:
        status = site.http.get(location)
        assert (status.status_code, status.headers["range"]) == (204, "0-0")
        return answer
    return site.http.put(location, params={"digest": digest_of(data)})


PUSHES: tuple[Push, ...] = (push_whole, push_at_the_end, push_streamed)
