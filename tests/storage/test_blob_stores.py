"""One contract for every blob store: a new driver is one more line in DRIVERS."""

import asyncio
import errno
import os
import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from storage.blobs import BlobStore, closing, concatenated, rehash, write_hashed
from storage.digest import ALGORITHMS, Digest
from storage.errors import BlobMissing
from storage.filesystem import FilesystemStore

MIB = 1024 * 1024
NEVER_USED = "0" * 32
HOSTILE_KEYS = [
    *("", ".", "..", "../x", "/etc/passwd", "\0", "a", "a/b", "%2e%2e", "*", "\ud800", "é" * 32),
    *("A" * 32, "0" * 31, "0" * 129, "0" * 31 + "/", "0" * 32 + "\n", "../" * 11, "0" * 31 + "\0"),
]

DRIVERS: dict[str, Callable[[Path], Any]] = {
    "filesystem": lambda directory: FilesystemStore(directory / "store", reserve=0),
}


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


@pytest.fixture(params=DRIVERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """A new, empty store; afterwards nothing but its objects may be left."""
    threads, opened = set(threading.enumerate()), descriptors()
    made = DRIVERS[request.param](tmp_path)
    yield made
    keys = sorted([stored.key async for stored in made.list()])
    await made.close()
    await made.close()
    assert files(tmp_path) == keys
    assert [t for t in threading.enumerate() if t not in threads and "asyncio" not in t.name] == []
    assert descriptors() == opened


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def slowly(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


async def content(chunks: AsyncIterator[bytes]) -> bytes:
    async with closing(chunks) as pieces:
        return b"".join([piece async for piece in pieces])


async def keys_of(store: BlobStore) -> set[str]:
    return {stored.key async for stored in store.list()}


SIZES = [0, 1, 64 * 1024 + 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 3]


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_written_is_read_back(store: BlobStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    stored = await store.write(stream(data))
    assert stored.size == size == await store.size(stored.key)
    assert await content(store.read(stored.key)) == data


async def test_pieces_hold_at_most_a_mebibyte(store: BlobStore) -> None:
    stored = await store.write(stream(bytes(3 * MIB + 1)))
    lengths = [len(piece) async for piece in store.read(stored.key)]
    assert max(lengths) <= MIB
    assert min(lengths) > 0
    assert sum(lengths) == 3 * MIB + 1


async def test_a_range_is_cut_at_both_ends(store: BlobStore) -> None:
    data = random.Random(1).randbytes(2 * MIB + 77)
    key = (await store.write(stream(data))).key
    edges = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB + 76, 2 * MIB + 77, 3 * MIB]
    for start in edges:
        for stop in [*edges, None]:
            assert await content(store.read(key, start, stop)) == data[start:stop], (start, stop)


async def test_an_object_may_be_empty(store: BlobStore) -> None:
    nothing, blank = await store.write(stream()), await store.write(stream(b"", b""))
    assert nothing.size == blank.size == 0
    assert nothing.key != blank.key
    assert await content(store.read(nothing.key)) == b""


async def test_many_small_chunks_make_one_object(store: BlobStore) -> None:
    stored = await store.write(slowly([b"%06d\n" % number for number in range(3000)]))
    data = await content(store.read(stored.key))
    assert data == b"".join([b"%06d\n" % number for number in range(3000)])


async def test_the_same_bytes_get_another_key_each_time(store: BlobStore) -> None:
    first, second = await store.write(stream(b"x")), await store.write(stream(b"x"))
    assert first.key != second.key
    await store.delete([first.key])
    assert await content(store.read(second.key)) == b"x"


async def test_ten_writers_do_not_meet(store: BlobStore) -> None:
    parts = [[bytes([n]) * (100_000 + n)] * 7 for n in range(10)]
    stored = await asyncio.gather(*(store.write(slowly(part)) for part in parts))
    read = await asyncio.gather(*(content(store.read(each.key)) for each in stored))
    assert read == [b"".join(part) for part in parts]
    assert await keys_of(store) == {each.key for each in stored}


@pytest.mark.parametrize("before", [[], [b"x"], [bytes(MIB)] * 2])
async def test_a_stream_that_raises_leaves_nothing(store: BlobStore, before: list[bytes]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for chunk in before:
            yield chunk
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.write(broken())
    assert await keys_of(store) == set()


async def test_a_stream_s_own_full_disk_is_not_the_store_s(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError(errno.ENOSPC, "the disk of somebody else")

    with pytest.raises(OSError, match="somebody else"):
        await store.write(broken())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
async def test_a_cancelled_write_leaves_nothing(store: BlobStore, turns: int) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(300_000)

    writing = asyncio.ensure_future(store.write(endless()))
    for _ in range(turns):
        await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await keys_of(store) == set()


async def test_a_write_cancelled_while_its_client_is_silent_leaves_nothing(
    store: BlobStore,
) -> None:
    waiting = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        waiting.set()
        await asyncio.Event().wait()

    writing = asyncio.ensure_future(store.write(silent()))
    await waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await keys_of(store) == set()


async def test_a_write_cancelled_at_its_end_is_kept_whole_or_not_at_all(store: BlobStore) -> None:
    for turns in range(0, 60, 3):
        before = await keys_of(store)
        writing = asyncio.ensure_future(store.write(stream(b"x")))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        writing.cancel()
        (outcome,) = await asyncio.gather(writing, return_exceptions=True)
        kept = set() if isinstance(outcome, BaseException) else {outcome.key}
        assert await keys_of(store) - before == kept


async def test_a_read_may_stop_anywhere(store: BlobStore) -> None:
    key = (await store.write(stream(bytes(4 * MIB)))).key
    async with closing(store.read(key)) as pieces:
        assert len(await anext(pieces)) == MIB
    for turns in range(6):
        reading = asyncio.ensure_future(content(store.read(key)))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_delete_forgets_and_a_missing_object_is_fine(store: BlobStore) -> None:
    first, second = await store.write(stream(b"1")), await store.write(stream(b"2"))
    await store.delete([first.key, NEVER_USED, first.key])
    await store.delete([])
    assert await keys_of(store) == {second.key}
    with pytest.raises(BlobMissing):
        await store.size(first.key)


async def test_list_finds_every_object_with_its_size_and_time(store: BlobStore) -> None:
    assert [stored async for stored in store.list()] == []
    written = [await store.write(stream(bytes(size))) for size in range(5)]
    found = [stored async for stored in store.list()]
    assert sorted(found, key=lambda s: s.size) == written
    assert all(1_600_000_000 < stored.modified_at / 1e6 < 4_000_000_000 for stored in found)


@pytest.mark.parametrize("key", [NEVER_USED, *HOSTILE_KEYS], ids=ascii)
async def test_a_key_without_bytes_is_missing(store: BlobStore, key: str) -> None:
    with pytest.raises(BlobMissing):
        await store.size(key)
    for start, stop in [(0, None), (0, 0), (5, 9)]:
        with pytest.raises(BlobMissing):
            await content(store.read(key, start, stop))
    await store.delete([key])


@pytest.mark.parametrize("form", ["{}/", "{}/.", "./{}", "{}\n", "{}\0", " {}", "../{}", "{}.x"])
async def test_a_key_with_anything_around_it_is_missing(store: BlobStore, form: str) -> None:
    key = (await store.write(stream(b"x"))).key
    for hostile in (form.format(key), f"{key}/../{key}", key.upper() + "A"):
        with pytest.raises(BlobMissing):
            await store.size(hostile)
        with pytest.raises(BlobMissing):
            await content(store.read(hostile))
        await store.delete([hostile])
    assert await store.size(key) == 1


async def test_a_read_that_began_outlives_the_deletion(store: BlobStore) -> None:
    data = random.Random(2).randbytes(3 * MIB)
    key = (await store.write(stream(data))).key
    async with closing(store.read(key)) as pieces:
        first = await anext(pieces)
        await store.delete([key])
        assert first + b"".join([piece async for piece in pieces]) == data


async def test_a_local_path_holds_the_bytes_and_a_url_is_none_or_text(store: BlobStore) -> None:
    key = (await store.write(stream(b"abc"))).key
    path = store.path(key)
    assert path is None or path.read_bytes() == b"abc"
    url = await store.url(key, 60, {"Content-Type": "application/octet-stream"})
    assert url is None or url.startswith("http")


# The hashing in front of every store.


@pytest.mark.parametrize("algorithms", [(), ("sha256",), ALGORITHMS])
@pytest.mark.parametrize("size", [0, 1, 1000, 2 * MIB + 5])
async def test_digests_are_those_of_the_bytes_kept(
    store: BlobStore, size: int, algorithms: tuple[str, ...]
) -> None:
    data = random.Random(size).randbytes(size)
    chunks = [data[at : at + 77_777] for at in range(0, size, 77_777)]
    written = await write_hashed(store, slowly(chunks), algorithms)
    assert written.size == size
    assert written.digests == {name: Digest.of(data, name) for name in algorithms}
    assert await content(store.read(written.key)) == data
    for name in ALGORITHMS:
        assert await rehash(store, written.key, name) == Digest.of(data, name)


async def test_a_driver_gets_pieces_of_half_a_mebibyte_or_more(store: BlobStore) -> None:
    seen: list[int] = []

    class Watched:
        async def write(self, chunks: AsyncIterator[bytes]) -> object:
            async def watched() -> AsyncIterator[bytes]:
                async for chunk in chunks:
                    seen.append(len(chunk))
                    yield chunk

            return await store.write(watched())

    written = await write_hashed(Watched(), slowly([bytes(10_000)] * 200))  # type: ignore[arg-type]
    assert written.size == sum(seen) == 2_000_000
    assert all(MIB // 2 <= length < MIB // 2 + 10_000 for length in seen[:-1])
    assert seen[-1] > 0


async def test_a_stream_that_raises_while_hashed_leaves_nothing(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        yield b"x"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await write_hashed(store, broken(), ALGORITHMS)
    assert await keys_of(store) == set()


async def test_segments_join_in_the_order_of_their_keys(store: BlobStore) -> None:
    parts = [b"one", b"", bytes(MIB + 1), b"four"]
    keys = [(await store.write(stream(part))).key for part in parts]
    joined = await write_hashed(store, concatenated(store, [*keys, keys[0]]))
    data = b"".join([*parts, b"one"])
    assert joined.digests["sha256"] == Digest.of(data)
    assert await content(store.read(joined.key)) == data
    with pytest.raises(BlobMissing):
        await write_hashed(store, concatenated(store, [keys[0], NEVER_USED]))
    with pytest.raises(BlobMissing):
        await rehash(store, NEVER_USED, "sha256")


MEMORY = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, "")
    from storage.blobs import closing, rehash, write_hashed
    from {module} import {name}

    def peak():
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    async def stream(size):
        for _ in range(size // 65536):
            yield bytes(65536)

    async def main():
        store = {make}
        small = await write_hashed(store, stream(8 * 2**20), ("sha256", "sha512"))
        await rehash(store, small.key, "sha256")
        before = peak()
        large = await write_hashed(store, stream(300 * 2**20), ("sha256", "sha512"))
        await rehash(store, large.key, "sha256")
        print(peak() - before)
        await store.delete([small.key, large.key])
        await store.close()

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux")
def test_memory_is_flat_for_an_object_of_300_megabytes(tmp_path: Path) -> None:
    make = f"FilesystemStore(Path({str(tmp_path)!r}), reserve=0)"
    code = MEMORY.format(module="storage.filesystem", name="FilesystemStore", make=make)
    grown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    assert int(grown.stdout) < 16 * MIB
