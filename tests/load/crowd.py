"""Clients that are idle, slow or steady, each of which checks every byte it gets."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random

from tests.load.mixed import one_round
from tests.load.raw import Answer, Connection, with_digest
from tests.registry.client import OCI_MANIFEST, digest_of, image_manifest

Kind = Callable[[int], Coroutine[None, None, None]]

READ, WRITTEN = 10_000, 3_000
"""Bytes a second of a slow reader and of a slow upload."""

SMALL_BUFFER = 8 * 1024
"""So that what is not read stays with the server."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each kind there are, for how long; uploads and reads last `turn` seconds.

    `breaking` of the uploads lose their connection once.
    """

    idle: int
    readers: int
    uploads: int
    pulls: int
    seconds: float
    turn: int
    breaking: int = 0
    mixed: int = 0


class Crowd:
    """All clients of one load; `done` counts what they finished."""

    def __init__(self, port: int, repository: str, authorization: str, size: Size) -> None:
        self._port = port
        self._repository = f"/v2/{repository}"
        self._authorization = authorization
        self._size = size
        self._over = asyncio.Event()
        self._here: set[tuple[Kind, int]] = set()
        self._all_here = asyncio.Event()
        self.done: Counter[str] = Counter()
        rng = Random(0)
        self._layer = rng.randbytes(100_000)
        self._endless = rng.randbytes(32_000_000)
        self._short = rng.randbytes(READ * size.turn)
        self._manifest = json.dumps(image_manifest(self._layer)).encode()  # its own config

    async def prepare(self) -> None:
        """Push what the others read."""
        async with self._connection() as connection:
            for data in (self._short, self._endless, self._layer):
                target = f"{self._repository}/blobs/uploads/"
                answer = await connection.ask("POST", target)
                await connection.read(answer.length)
                target = with_digest(answer.location, data)
                answer = await connection.ask("PUT", target, data)
                assert answer.status == 201, answer
            target, kind = f"{self._repository}/manifests/crowd", {"content_type": OCI_MANIFEST}
            answer = await connection.ask("PUT", target, self._manifest, **kind)
            assert answer.status == 201, answer

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Have all clients there while the block runs; then each finishes what it does.

        Whatever a client finds wrong ends the load with it.
        """
        async with asyncio.TaskGroup() as group:
            for count, kind in self._kinds():
                for number in range(count):
                    group.create_task(self._come(kind, number))
            await self._all_here.wait()
            yield
            self._over.set()

    def _kinds(self) -> list[tuple[int, Kind]]:
        size = self._size
        return [
            (size.idle, self._idle),
            (size.readers, self._read),
            (size.uploads, self._upload),
            (size.pulls, self._pull),
            (size.mixed, self._mix),
        ]

    def _arrived(self, kind: Kind, number: int) -> None:
        """Count a client that the server has begun to serve."""
        self._here.add((kind, number))
        if len(self._here) == sum(count for count, _ in self._kinds()):
            self._all_here.set()

    async def _come(self, kind: Kind, number: int) -> None:
        """Begin in the first tenth of the load: nobody's two thousand clients come at once."""
        await self._pause(Random(number).uniform(0, self._size.seconds / 10))
        await kind(number)

    def _connection(self, buffer: int = 0) -> Connection:
        return Connection(self._port, self._authorization, buffer)

    async def _pause(self, seconds: float) -> None:
        """Do nothing for a while, which is what these clients are for; shorter at the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    # The kinds

    async def _idle(self, number: int) -> None:
        """Ask, then say nothing for half a minute or less, again and again on one connection.

        A server ends those that say nothing for 75 s, and this client may be late itself.
        """
        rng = Random(number)
        async with self._connection() as connection:
            while True:
                answer = await self._ask_for_manifest(connection)
                assert answer.status == 200, answer
                assert await connection.read(answer.length) == self._manifest
                self.done["woken"] += 1
                self._arrived(self._idle, number)
                if self._over.is_set():
                    return
                await self._pause(rng.uniform(15, 30))

    async def _read(self, number: int) -> None:
        """Read a short blob to its end, or a long one until it is left in its middle."""
        while not self._over.is_set():
            data = self._endless if number % 2 else self._short
            async with self._connection(SMALL_BUFFER) as connection:
                answer = await connection.ask("GET", f"{self._repository}/blobs/{digest_of(data)}")
                assert (answer.status, answer.length) == (200, len(data)), answer
                self._arrived(self._read, number)
                most = min(len(data), READ * self._size.turn)
                for start in range(0, most, READ):
                    assert await connection.read(READ) == data[start : start + READ]
                    await self._pause(1)
                self.done["left" if number % 2 else "read"] += 1

    async def _upload(self, number: int) -> None:
        """Upload blob after blob, and see that each is there; some connections break."""
        rng = Random(f"{self._size} {number}")
        while not self._over.is_set():
            data = rng.randbytes(WRITTEN * self._size.turn)
            async with self._connection() as connection:
                target = await self._begin(connection)
            self._arrived(self._upload, number)
            if number < self._size.breaking:
                await self._break_off(target, data)
            while (closing := await self._resume(target, data)) is None:
                self.done["resumed again"] += 1
            async with self._connection() as connection:
                answer = await connection.ask("PUT", with_digest(closing, data))
                assert answer.status == 201, answer
                await self._check(connection, data)
            self.done["broken off" if number < self._size.breaking else "uploaded"] += 1

    async def _pull(self, number: int) -> None:
        """Pull a small image without a pause."""
        async with self._connection() as connection:
            while not self._over.is_set():
                answer = await self._ask_for_manifest(connection)
                assert await connection.read(answer.length) == self._manifest
                await self._check(connection, self._layer)
                self.done["pulled"] += 1
                self._arrived(self._pull, number)

    async def _mix(self, number: int) -> None:
        """Do what nobody did before, without a pause: what is remembered of it has a bound."""
        rng, owner = Random(f"{self._size} {number}"), self._repository.split("/")[2]
        async with self._connection() as connection:
            while not self._over.is_set():
                await one_round(connection, owner, rng)
                self.done["mixed"] += 1
                self._arrived(self._mix, number)

    # Steps

    async def _ask_for_manifest(self, connection: Connection) -> Answer:
        target = f"{self._repository}/manifests/crowd"
        return await connection.ask("GET", target, accept=OCI_MANIFEST)

    async def _check(self, connection: Connection, data: bytes) -> None:
        answer = await connection.ask("GET", f"{self._repository}/blobs/{digest_of(data)}")
        assert answer.status == 200, answer
        read = await connection.read(answer.length)
        assert hashlib.sha256(read).hexdigest() == digest_of(data).partition(":")[2]

    async def _begin(self, connection: Connection) -> str:
        answer = await connection.ask("POST", f"{self._repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.location

    async def _break_off(self, target: str, data: bytes) -> None:
        """Send half of an upload and leave; the server keeps what it has read of it."""
        async with self._connection() as connection:
            await connection.begin("PATCH", target, content_length=str(len(data)))
            await connection.send(data[: len(data) // 2])
            await self._pause(1)

    async def _resume(self, target: str, data: bytes) -> str | None:
        """Send slowly what is missing, and return where the upload is closed.

        None if an earlier request still wrote to it.
        """
        async with self._connection() as connection:
            answer = await connection.ask("GET", target)
            assert answer.status == 204, answer
            start = int(answer.headers["range"].partition("-")[2])
            start += 1 if start else 0  # 0-0 says that nothing is there, or one byte
            span = {"content_range": f"{start}-{len(data) - 1}"}
            size = str(len(data) - start)
            await connection.begin("PATCH", answer.location, content_length=size, **span)
            with suppress(ConnectionError):  # refused before its end
                for at in range(start, len(data), WRITTEN):
                    await connection.send(data[at : at + WRITTEN])
                    await self._pause(1)
            answer = await connection.answer()
            assert answer.status in {202, 416}, answer
            return answer.location if answer.status == 202 else None
