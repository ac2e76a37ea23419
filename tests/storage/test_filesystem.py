"""What only the filesystem store has: the order of its syncs, modes, full disks, crashes."""

import asyncio
import errno
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage.errors import NoSpace
from storage.filesystem import CHECKPOINT, WHOLE, WRITERS, FilesystemStore

MIB = 1024 * 1024
PATIENCE = 60


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemStore]:
    made = FilesystemStore(tmp_path / "new" / "store", reserve=0)
    yield made
    await made.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def keys_of(store: FilesystemStore) -> set[str]:
    return {stored.key async for stored in store.list()}


def tree(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


def files(directory: Path) -> set[str]:
    return {path.name for path in tree(directory) if path.is_file()}


class Journal:
    """What was asked of the system, in order: (call, inode) and (call, path)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, object]] = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._recording(name, getattr(os, name), by_inode=True))
        for name in ("mkdir", "rename"):
            monkeypatch.setattr(os, name, self._recording(name, getattr(os, name), by_inode=False))

    def _recording(self, name, call, *, by_inode):  # type: ignore[no-untyped-def]
        def record(target, *args):  # type: ignore[no-untyped-def]
            result = call(target, *args)
            self.calls.append((name, os.fstat(target).st_ino if by_inode else str(target)))
            return result

        return record

    def places(self, name: str, target: object) -> list[int]:
        return [at for at, call in enumerate(self.calls) if call == (name, target)]

    def syncs(self, path: Path) -> list[int]:
        return self.places("fsync", path.stat().st_ino)


async def test_bytes_and_directories_are_synced_before_a_write_returns(
    store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    final = store.path((await store.write(stream(bytes(WHOLE)))).key)
    (renamed,) = [at for at, (name, _) in enumerate(journal.calls) if name == "rename"]
    (synced,) = journal.syncs(final)
    assert synced < renamed
    assert max(journal.syncs(final.parent)) == len(journal.calls) - 1 > renamed
    made = [at for at, (name, _) in enumerate(journal.calls) if name == "mkdir"]
    assert {journal.calls[at][1] for at in made} >= {
        str(path) for path in tree(tmp_path / "new") if path.is_dir()
    }
    for at in made:
        parent = Path(str(journal.calls[at][1])).parent
        assert any(at < sync < renamed for sync in journal.syncs(parent)), journal.calls[at]


async def test_a_small_object_is_synced_in_its_place_with_its_directories(
    store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    final = store.path((await store.write(stream(b"x"))).key)
    (synced,) = journal.syncs(final)
    assert journal.syncs(final.parent)[-1] == len(journal.calls) - 1 > synced
    assert {name for name, _ in journal.calls} == {"mkdir", "fsync"}
    made = [at for at, (name, _) in enumerate(journal.calls) if name == "mkdir"]
    assert {journal.calls[at][1] for at in made} >= {
        str(path) for path in tree(tmp_path / "new") if path.is_dir()
    }
    for at in made:
        parent = Path(str(journal.calls[at][1])).parent
        assert any(sync > at for sync in journal.syncs(parent)), journal.calls[at]


async def test_a_directory_another_process_made_is_synced_all_the_same(
    store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await store.write(stream(b"x"))
    other = FilesystemStore(tmp_path / "new" / "store", reserve=0)
    for first in range(256):  # whichever directory the next key falls into is there already
        (tmp_path / f"new/store/blobs/{first:02x}").mkdir(exist_ok=True)
    journal = Journal(monkeypatch)
    final = other.path((await other.write(stream(b"x"))).key)
    for directory in (final.parent, final.parent.parent, tmp_path / "new/store/blobs"):
        assert journal.syncs(directory), directory
    await other.close()


async def test_dirty_pages_are_bounded_while_a_write_runs(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    stored = await store.write(stream(*[bytes(MIB)] * 100))
    inode = store.path(stored.key).stat().st_ino
    calls = [at for name in ("fsync", "fdatasync") for at in journal.places(name, inode)]
    assert len(calls) == 1 + 100 * MIB // CHECKPOINT


class SlowDisk:
    """An fdatasync that waits until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on, self.files = threading.Event(), list[int]()
        self._begun, self._loop = asyncio.Event(), asyncio.get_running_loop()
        monkeypatch.setattr(os, "fdatasync", self._sync)

    async def begun(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._begun.wait()

    def _sync(self, descriptor: int) -> None:
        self._loop.call_soon_threadsafe(self._begun.set)
        assert self.go_on.wait(PATIENCE)
        self.files.append(os.fstat(descriptor).st_ino)


async def test_more_is_written_while_the_disk_takes_what_was(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, syncing = SlowDisk(monkeypatch), 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal syncing
        for number in range(2 * CHECKPOINT // MIB - 1):
            yield bytes(MIB)
            if number >= CHECKPOINT // MIB:
                await disk.begun()
                syncing += not disk.go_on.is_set()
        disk.go_on.set()
        yield bytes(2 * MIB)

    stored = await store.write(chunks())
    assert syncing == CHECKPOINT // MIB - 1
    assert disk.files == [store.path(stored.key).stat().st_ino] * 2


@pytest.mark.parametrize("end", [asyncio.CancelledError, ConnectionError])
async def test_a_write_that_is_given_up_ends_after_what_the_disk_takes(
    tmp_path: Path,
    store: FilesystemStore,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
) -> None:
    disk, inodes = SlowDisk(monkeypatch), list[int]()

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(CHECKPOINT)
        yield b"more"
        await disk.begun()
        inodes.extend(path.stat().st_ino for path in tree(tmp_path) if path.is_file())
        asyncio.get_running_loop().call_later(0.1, disk.go_on.set)
        raise end

    with pytest.raises(end):
        await store.write(chunks())
    assert disk.files == inodes
    assert len(inodes) == 1
    assert files(tmp_path) == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize(
    ("failing", "size", "calls"),
    [("fsync", 1, 6), ("fsync", WHOLE, 7), ("rename", WHOLE, 1), ("fdatasync", CHECKPOINT, 1)],
)
async def test_a_write_that_fails_at_any_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, size: int, calls: int, code: int
) -> None:
    real = getattr(os, failing)

    def broken(*args: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(code, os.strerror(code))
        real(*args)

    monkeypatch.setattr(os, failing, broken)
    left = 0
    for step in range(1, calls + 1):  # fsync: the file, five directories or six
        left = step
        store = FilesystemStore(tmp_path / "store", reserve=0)
        with pytest.raises(OSError if code == errno.EIO else NoSpace):
            await store.write(stream(bytes(size)))
        assert files(tmp_path) == set()
        await store.close()
    store, left = FilesystemStore(tmp_path / "store", reserve=0), calls + 1
    await store.write(stream(bytes(size)))
    assert left == 1
    await store.close()


async def test_a_file_system_out_of_inodes_is_full(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def broken(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "no inode is left")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", broken)
    with pytest.raises(NoSpace):
        await store.write(stream(b"x"))


async def test_nothing_is_written_below_the_reserve(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path, reserve=2**62)
    with pytest.raises(NoSpace, match="delete packages or add space"):
        await store.write(stream(b"x"))
    assert files(tmp_path) == set()
    await store.close()


@pytest.mark.parametrize(
    ("gigabytes", "free", "fits"),
    [(10, 1.01, True), (10, 0.99, False), (1000, 20.1, True), (1000, 19.9, False)],
)
async def test_the_reserve_is_a_gigabyte_or_two_percent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: int, free: float, *, fits: bool
) -> None:
    disk = SimpleNamespace(
        f_frsize=4096, f_blocks=gigabytes * 2**18, f_bavail=int(free * 2**18), f_bfree=2**50
    )
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    store = FilesystemStore(tmp_path)
    if fits:
        await store.write(stream(b"x"))
    else:
        with pytest.raises(NoSpace):
            await store.write(stream(b"x"))
    await store.close()


async def test_a_disk_that_fills_meanwhile_ends_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real, taken = FilesystemStore(tmp_path, reserve=2**20), os.statvfs, 0

    def statvfs(path: Path) -> object:
        disk = real(path)
        free = 0 if taken > 64 * MIB else disk.f_bavail
        return SimpleNamespace(f_frsize=disk.f_frsize, f_blocks=disk.f_blocks, f_bavail=free)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 1000 * MIB:
            taken += MIB
            yield bytes(MIB)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(NoSpace):
        await store.write(endless())
    assert taken <= 128 * MIB
    assert files(tmp_path) == set()
    await store.close()


FULL_DISK = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, "")
    from storage.errors import NoSpace
    from storage.filesystem import FilesystemStore

    async def stream(count):
        for _ in range(count):
            yield bytes(100_000)

    async def main(directory):
        store = FilesystemStore(directory, reserve=0)
        kept = await store.write(stream(10))
        try:
            await store.write(stream(1000))
        except NoSpace:
            print("no space")
        print([path.name for path in directory.rglob("*") if path.is_file()] == [kept.key])
        await store.write(stream(10))
        await store.close()

    asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a file system of its own")
def test_a_full_disk_is_no_space_and_is_given_back(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=8m none "$1" || exit 77; exec "$2" -c "$3" "$1"'
    shell = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(
        [*shell, textwrap.dedent(FULL_DISK)], check=False, capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr}")
    assert (done.stdout, done.stderr) == ("no space\nTrue\n", "")


async def test_files_and_directories_are_private_whatever_the_umask(
    store: FilesystemStore, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        await store.write(stream(b"x"))
    finally:
        os.umask(before)
    for path in tree(tmp_path / "new"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


async def test_a_key_is_its_place(store: FilesystemStore, tmp_path: Path) -> None:
    key = (await store.write(stream(b"x"))).key
    assert store.path(key) == tmp_path / "new/store/blobs" / key[:2] / key[2:4] / key
    assert len(key) >= 32


async def test_list_goes_through_pages_and_past_what_is_not_ours(
    store: FilesystemStore, tmp_path: Path
) -> None:
    written = {(await store.write(stream(b"x"))).key for _ in range(3)}
    blobs = tmp_path / "new" / "store" / "blobs"
    (blobs / "ab" / "cd").mkdir(parents=True)
    made = {f"abcd{number:028x}" for number in range(2500)}
    for key in made:
        (blobs / "ab" / "cd" / key).touch()
    (blobs / "ab" / "cd" / "README").touch()
    (blobs / "ab" / "cd" / ("0" * 32)).touch()
    (blobs / "lost+found").mkdir()
    (blobs / "notes.txt").touch()
    assert [stored.key async for stored in store.list()] == sorted(written | made)


KILLED = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, "")
    from storage.filesystem import FilesystemStore

    async def stream():
        yield bytes(2**20)
        print("written", flush=True)
        await asyncio.Event().wait()

    asyncio.run(FilesystemStore(Path(sys.argv[1]), reserve=0).write(stream()))
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The directory of a store whose writer was killed while it wrote."""
    kill(KILLED, tmp_path)
    return tmp_path


def kill(script: str, directory: Path) -> None:
    """Run a writer, and kill it once it says that it has written."""
    command = [sys.executable, "-c", textwrap.dedent(script), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()


async def test_a_killed_writer_leaves_a_draft_for_clean_up(killed: Path) -> None:
    store, day = FilesystemStore(killed, reserve=0), 86_400_000_000
    now = time.time_ns() // 1000
    assert await keys_of(store) == set()
    assert len(files(killed)) == 1
    assert await store.discard_drafts(now - day) == 0
    assert await store.discard_drafts(now + day) == 1
    assert files(killed) == set()
    await store.close()


KILLED_IN_PLACE = """
    import asyncio, os, sys, time
    from pathlib import Path
    sys.path.insert(0, "")
    from storage.filesystem import FilesystemStore

    async def stream():
        yield b"small"

    def never(descriptor):
        if os.fstat(descriptor).st_size == len(b"small"):
            print("written", flush=True)
            time.sleep(3600)

    os.fsync = never
    asyncio.run(FilesystemStore(Path(sys.argv[1]), reserve=0).write(stream()))
"""


async def test_a_writer_killed_at_a_small_object_leaves_one_that_the_sweep_sees(
    tmp_path: Path,
) -> None:
    kill(KILLED_IN_PLACE, tmp_path)
    store = FilesystemStore(tmp_path, reserve=0)
    assert await keys_of(store) == files(tmp_path)
    assert len(files(tmp_path)) == 1
    await store.close()


async def test_clean_up_of_a_store_never_written_to_finds_nothing(store: FilesystemStore) -> None:
    assert await store.discard_drafts(2**62) == 0


@pytest.mark.parametrize("pieces", [[77], [50, 27]], ids=["at once", "in steps"])
async def test_a_cancelled_write_waits_for_the_thread_that_holds_its_file(
    store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[int]
) -> None:
    await store.write(stream(b"the directories are there"))
    entered, leave, real = threading.Event(), threading.Event(), os.fsync
    lengths: list[int] = []

    def slow(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            entered.set()
            leave.wait(10)
            lengths.append(os.fstat(descriptor).st_size)  # EBADF had it been closed meanwhile
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writing = asyncio.ensure_future(store.write(stream(*(b"x" * size for size in pieces))))
    await asyncio.to_thread(entered.wait, 10)
    for _ in range(3):
        writing.cancel()
        await asyncio.wait([writing], timeout=0.01)
        assert not writing.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert lengths[0] == 77
    assert len(files(tmp_path)) == 1


async def test_reads_do_not_wait_for_forty_slow_syncs(
    store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await store.write(stream(b"here"))).key
    busy, leave, real = threading.Semaphore(0), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        busy.release()
        leave.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writing = [asyncio.ensure_future(store.write(stream(b"x"))) for _ in range(40)]
    for _ in range(WRITERS):
        assert await asyncio.to_thread(busy.acquire, timeout=10)
    async with asyncio.timeout(20):
        assert await store.size(key) == 4
        assert [piece async for piece in store.read(key)] == [b"here"]
        assert not any(task.done() for task in writing)
        leave.set()
        assert len({stored.key for stored in await asyncio.gather(*writing)}) == 40
