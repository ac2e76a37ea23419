"""The operations of one client, and its journal of what it was told.

A client has a repository of its own, which nobody else writes to, and moves a tag of a shared one.
A broken connection puts a write in doubt; `recover` looks what has become of it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import httpx

from tests.durability.model import Effect, Made, Sight, State, settle
from tests.durability.shared import KEPT, SHARED, Shared
from tests.registry.client import OCI_MANIFEST, digest_of

PIECE = 64 * 1024

Operation = Callable[[], Awaitable[None]]


class Interrupted(Exception):
    """The connection broke before the answer was there."""


class Operations:
    """What a client can do; `state` is certain, `doubts` happened or did not."""

    def __init__(self, name: str, shared: Shared) -> None:
        self.repository = f"admin/{name}"
        self.state = State()
        self.doubts: list[Effect] = []
        self.pending: Operation | None = None
        self.http: httpx.AsyncClient
        self.barrier: Callable[[], Awaitable[None]]
        self._shared = shared
        self._name = name
        self._rng = Random(f"{shared.seed} {name}")
        self._known: dict[str, bytes] = {}
        self._made: dict[str, Made] = {}
        self._contents: dict[str, bytes] = {}
        self._journal: deque[str] = deque(maxlen=60)
        shared.repositories.append(self.repository)

    async def recover(self) -> None:
        """Compare the repository with the journal, then resume and finish every open upload."""
        await self.barrier()
        sight = await self._look()
        try:
            self.state = settle(self.state, self.doubts, sight)
        except AssertionError as error:
            error.add_note("\n".join([f"journal of {self.repository}:", *self._journal]))
            raise
        self.doubts = []
        self._journal.append("looked")
        for location in self._open():
            await self._resume(location)

    # Operations

    async def _push(
        self, blobs: Sequence[tuple[bytes, str]], made: Made, tags: Sequence[str], unchecked: bool
    ) -> None:
        uploads = [self._upload(data, way, unchecked=unchecked) for data, way in blobs]
        await together(uploads)
        await self._put_manifest(made, tags)

    async def _put_manifest(self, made: Made, tags: Sequence[str]) -> None:
        self._made[made.digest] = made
        where = made.digest if len(tags) != 1 else tags[0]
        await self._write(
            lambda state: state.push(made, tags),
            {201},
            "PUT",
            f"manifests/{where}",
            params={"tag": tags} if len(tags) > 1 else {},
            content=made.data,
            headers={"Content-Type": made.media_type},
        )

    async def _delete_tag(self, tag: str) -> None:
        expected = {202 if tag in self.state.tags else 404}
        await self._write(lambda s: s.delete_tag(tag), expected, "DELETE", f"manifests/{tag}")

    async def _delete_manifest(self, digest: str) -> None:
        expected = 405 if self.state.is_child(digest) else 202
        await self._write(
            lambda state: state.delete_manifest(digest),
            {expected if digest in self.state.live else 404},
            "DELETE",
            f"manifests/{digest}",
        )

    async def _delete_blob(self, digest: str) -> None:
        if digest in self.state.named:
            expected = {405}
        elif digest in self.state.fading:
            expected = {202, 404}
        else:
            expected = {202 if digest in self.state.loose else 404}
        await self._write(lambda s: s.delete_blob(digest), expected, "DELETE", f"blobs/{digest}")

    async def _cancel(self, data: bytes) -> None:
        location = await self._begin(data)
        await self._patch(location, data[: len(data) // 2 + 1])
        await self._write(lambda s: s.uploads.update({location: None}), {204}, "DELETE", location)

    async def _race_push(self, layer: bytes, made: Made) -> None:
        for data in (b"shared", layer):
            await self._ask("POST", f"/v2/{SHARED}/blobs/uploads/", data, digest=digest_of(data))
        self._shared.raced[made.digest] = made
        write = self._shared.race.begin(made.digest)
        response = await self._ask("PUT", f"/v2/{SHARED}/manifests/race", made.data)
        assert response.status_code == 201, response.text
        self._shared.race.end(write)
        self._shared.acknowledged.add(made.digest)

    async def _race_delete(self) -> None:
        write = self._shared.race.begin(None)
        response = await self._ask("DELETE", f"/v2/{SHARED}/manifests/race")
        assert response.status_code in (202, 404), response.text
        if response.status_code == 202:
            self._shared.race.end(write)
        else:
            self._shared.race.writes.remove(write)

    # Uploads

    async def _upload(self, data: bytes, way: str, *, unchecked: bool = False) -> None:
        digest = digest_of(data)
        self._known[digest] = data
        if not unchecked:
            head = await self._ask("HEAD", f"blobs/{digest}")
            if head.status_code == 200:
                return
            assert head.status_code == 404, head.status_code
        if way == "whole":
            await self._upload_whole(data)
        elif way != "mounted":
            await self._fill(await self._begin(data), way)
        elif not await self._mount(digest):
            await self._fill(await self._begin(data), "streamed")

    async def _upload_whole(self, data: bytes) -> None:
        digest = digest_of(data)
        where, query = "blobs/uploads/", {"digest": digest}
        await self._write(
            lambda s: s.add_blob(digest), {201}, "POST", where, params=query, content=data
        )

    async def _mount(self, digest: str) -> bool:
        """Mount from another client's repository; False where that one does not show the blob."""
        others = [name for name in self._shared.repositories if name != self.repository]
        effect: Effect = lambda state: state.add_blob(digest)  # noqa: E731
        query = {"mount": digest, "from": self._rng.choice(others)}
        response = await self._write(
            effect, {201, 202}, "POST", "blobs/uploads/", params=query, nothing=202
        )
        return response.status_code == 201

    async def _begin(self, data: bytes) -> str:
        response = await self._ask("POST", "blobs/uploads/")
        assert response.status_code == 202, response.text
        location: str = response.headers["location"]
        self._contents[location] = data
        self.state.uploads[location] = 0
        return location

    async def _fill(self, location: str, way: str) -> None:
        data, last = self._contents[location], b""
        if way == "put":
            last = data
        elif way == "streamed":
            await self._patch(location, data)
        else:
            step = len(data) // 3 + 1
            for start in range(0, len(data), step)[:2]:
                await self._patch(location, data[start : start + step])
            last = data[2 * step :]
        await self._finish(location, last)

    async def _patch(self, location: str, data: bytes) -> None:
        start = self.state.uploads[location] or 0
        stop = start + len(data)
        await self._write(
            lambda state: state.uploads.update({location: stop}),
            {202},
            "PATCH",
            location,
            content=pieces(data),
            headers={"Content-Range": f"{start}-{stop - 1}"},
        )

    async def _finish(self, location: str, last: bytes) -> None:
        digest = digest_of(self._contents[location])
        await self._write(
            lambda state: state.finish(location, digest),
            {201},
            "PUT",
            location,
            params={"digest": digest},
            content=last,
        )

    async def _resume(self, location: str) -> None:
        """Continue where the upload stands, and finish it."""
        rest = self._contents[location][self.state.uploads[location] or 0 :]
        if rest:
            await self._patch(location, rest)
        await self._finish(location, b"")
        self._shared.count("resumed")

    def _open(self) -> list[str]:
        return [name for name, at in self.state.uploads.items() if at is not None]

    # Looking

    async def _look(self) -> Sight:
        """Read the whole repository, and check every byte."""
        response = await self._ask("GET", "tags/list")
        # A repository is made by its first write; before that its name is free to be taken.
        tags = response.json().get("tags", []) if response.status_code == 200 else []
        held = {tag: await self._look_at_tag(tag) for tag in tags}
        live = {digest for digest in self._made if await self._has_manifest(digest)}
        sight = Sight(
            tags=held,
            manifests=frozenset(live),
            blobs=frozenset([digest for digest in self._known if await self._has_blob(digest)]),
            uploads={location: await self._offset(location) for location in self.state.uploads},
        )
        assert set(held.values()) <= live, f"a tag points at nothing: {held}"
        for digest in live:
            missing = self._made[digest].blobs - sight.blobs
            missing |= self._made[digest].children - live
            assert not missing, f"{self.repository} {digest} lacks {missing}"
        self._forget(live)
        return sight

    async def _look_at_tag(self, tag: str) -> str:
        response = await self._ask("GET", f"manifests/{tag}")
        assert response.status_code == 200, f"tag {tag} is listed and gone: {response.text}"
        digest: str = response.headers["docker-content-digest"]
        assert digest_of(response.content) == digest
        assert digest in self._made, f"nobody pushed {digest}"
        return digest

    async def _has_manifest(self, digest: str) -> bool:
        response = await self._ask("GET", f"manifests/{digest}")
        if response.status_code == 404:
            return False
        assert response.content == self._made[digest].data, response.text
        return True

    async def _has_blob(self, digest: str) -> bool:
        response = await self._ask("GET", f"blobs/{digest}")
        if response.status_code == 404:
            return False
        assert response.content == self._known[digest], f"blob {digest} has other bytes"
        return True

    async def _offset(self, location: str) -> int | None:
        response = await self._ask("GET", location)
        if response.status_code == 404:
            return None
        assert response.status_code == 204, response.text
        last = int(response.headers["range"].removeprefix("0-"))
        return last + 1 if last else 0

    def _forget(self, live: set[str]) -> None:
        """Keep an eye on some of the manifests that are gone, not on all."""
        for digest in [digest for digest in self._made if digest not in live][:-KEPT]:
            if digest not in self.state.live:
                del self._made[digest]

    # Requests

    async def _write(
        self,
        effect: Effect,
        expected: set[int],
        method: str,
        path: str,
        *,
        nothing: int = 0,
        **options: Any,
    ) -> httpx.Response:
        """Send a write; without an answer it is in doubt. `nothing` is a status of no effect."""
        self.doubts.append(effect)
        self._journal.append(f"{method} {path} {options.get('params', '')}")
        response = await self._send(method, path, **options)
        self.doubts.remove(effect)
        status = response.status_code
        self._journal.append(f"{method} {path}: {status}")
        assert status in expected, f"{method} {path}: {status} {response.text}, not {expected}"
        if status < 300 and status != nothing:
            before = set(self.state.live)
            effect(self.state)
            for digest in before ^ set(self.state.live):
                made = self._made[digest]
                change = "live" if digest in self.state.live else "gone"
                self._journal.append(f"  {change}: {digest}, names {made.children or made.subject}")
        return response

    async def _ask(self, method: str, path: str, data: bytes = b"", **query: str) -> httpx.Response:
        headers = {"Content-Type": OCI_MANIFEST} if data else {}
        response = await self._send(method, path, content=data, headers=headers, params=query)
        assert response.status_code < 500, response.text
        return response

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = path if path.startswith("/") else f"/v2/{self.repository}/{path}"
        try:
            return await self.http.request(method, url, **options)
        except httpx.TransportError as error:
            raise Interrupted(f"{method} {url}: {error!r}") from error


async def together(uploads: Sequence[Awaitable[None]]) -> None:
    """Run uploads at once; let all of them end before the first error is raised."""
    results = await asyncio.gather(*uploads, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    errors.sort(key=lambda error: isinstance(error, Interrupted))
    if errors:
        raise errors[0]


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
