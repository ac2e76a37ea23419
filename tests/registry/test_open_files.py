"""Files that were read a moment ago stay open, and hold nothing for long."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from registry import open_files
from registry.open_files import OpenFile, OpenFiles
from registry.page_cache import is_cached


def descriptors(path: Path) -> int:
    """How many descriptors of this process name a file."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(link_of(link).startswith(str(path)) for link in links)


def link_of(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - a thread closes; it sets no event
            await asyncio.sleep(0.01)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "object"
    path.write_bytes(b"bytes")
    yield path
    assert descriptors(tmp_path) == 0


SIZE = len(b"bytes")


async def opened(files: OpenFiles, path: Path) -> OpenFile:
    """What a reader gets: the file that is open, or a newly opened one."""
    file = files.find(str(path), SIZE) or await files.open(str(path), path, SIZE)
    assert file is not None
    return file


async def test_readers_share_a_descriptor_until_the_last_has_left(file: Path) -> None:
    files = OpenFiles()
    first, second = await opened(files, file), await opened(files, file)
    assert descriptors(file) == 1
    del first
    await files.close()
    assert os.pread(second.fileno(), 9, 0) == b"bytes"
    assert descriptors(file) == 1
    del second
    await until(lambda: descriptors(file) == 0)


async def test_a_reader_has_left_at_the_end_of_his_with(file: Path) -> None:
    """Whoever still holds the object: a request that broke off is kept by its traceback."""
    files = OpenFiles()
    first, second = await opened(files, file), await opened(files, file)
    await files.close()
    with first:
        pass
    assert descriptors(file) == 1
    with second:
        pass
    await until(lambda: descriptors(file) == 0)


async def test_a_file_that_was_removed_is_not_handed_out(file: Path) -> None:
    files = OpenFiles()
    await opened(files, file)
    remove(file)
    assert files.find(str(file), SIZE) is None
    with pytest.raises(FileNotFoundError):
        await files.open(str(file), file, SIZE)
    write(file, b"other")
    assert os.pread((await opened(files, file)).fileno(), 9, 0) == b"other"
    await files.close()
    await until(lambda: descriptors(file) == 0)


async def test_a_file_of_another_size_is_not_handed_out(file: Path) -> None:
    files = OpenFiles()
    await opened(files, file)
    write(file, b"byte")
    assert files.find(str(file), SIZE) is None
    assert await files.open(str(file), file, SIZE) is None
    await files.close()
    await until(lambda: descriptors(file) == 0)


async def test_a_removed_file_gives_its_space_back_soon(file: Path) -> None:
    files = OpenFiles(seconds=0.05)
    await opened(files, file)
    assert descriptors(file) == 1
    remove(file)
    await until(lambda: descriptors(file) == 0)


async def test_no_more_than_so_many_stay_open(tmp_path: Path) -> None:
    files = OpenFiles(most=3)
    for number in range(10):
        path = tmp_path / f"object-{number}"
        write(path, b"bytes")
        await opened(files, path)
    await until(lambda: descriptors(tmp_path) == 3)
    await files.close()
    await until(lambda: descriptors(tmp_path) == 0)


class Counting(ThreadPoolExecutor):
    """An executor that counts what it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.given += 1
        return super().submit(*args, **kwargs)


@pytest.mark.parametrize("removed", [True, False])
async def test_only_removed_files_take_a_thread_to_close_and_one_turn_of_it(
    tmp_path: Path, *, removed: bool
) -> None:
    executor, files = Counting(), OpenFiles(most=16)
    paths = [tmp_path / f"object-{number}" for number in range(17)]
    for path in paths:
        write(path, b"bytes")
        with await opened(files, path):
            pass
    assert descriptors(tmp_path) == 15  # two left, to make room for more
    asyncio.get_running_loop().set_default_executor(executor)
    for path in paths if removed else []:
        remove(path)
    await files.close()
    await until(lambda: descriptors(tmp_path) == 0)
    assert executor.given == removed


@pytest.mark.parametrize("remembered", [True, False])
async def test_what_the_kernel_does_not_remember_is_opened_in_a_thread(
    file: Path, monkeypatch: pytest.MonkeyPatch, *, remembered: bool
) -> None:
    executor, files = Counting(), OpenFiles()
    asyncio.get_running_loop().set_default_executor(executor)
    cached = os.open(file, os.O_RDONLY)
    monkeypatch.setattr(open_files, "open_cached", lambda _: cached if remembered else None)
    assert os.pread((await opened(files, file)).fileno(), 9, 0) == b"bytes"
    assert executor.given == (not remembered)
    await files.close()
    if not remembered:
        os.close(cached)


async def test_ten_readers_at_once_leave_one_open(file: Path) -> None:
    files = OpenFiles()
    await asyncio.gather(*[opened(files, file) for _ in range(10)])
    await until(lambda: descriptors(file) == 1)
    await files.close()
    await until(lambda: descriptors(file) == 0)


class Collecting(ThreadPoolExecutor):
    """An executor that the garbage collector interrupts while it holds its locks."""

    def __init__(self) -> None:
        super().__init__(1)
        self.inside = False
        self.reentered = False

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.reentered |= self.inside
        self.inside = True
        gc.collect()
        self.inside = False
        return super().submit(*args, **kwargs)


async def test_what_the_collector_closes_waits_for_no_lock(file: Path) -> None:
    """`submit` holds locks that its own thread waits for when it comes a second time."""
    executor = Collecting()
    asyncio.get_running_loop().set_default_executor(executor)
    files = OpenFiles()
    forgotten: list[object] = [await opened(files, file)]
    forgotten.append(forgotten)
    await files.close()
    del forgotten
    await asyncio.to_thread(lambda: None)
    await until(lambda: descriptors(file) == 0)
    assert not executor.reentered


@pytest.mark.parametrize(("seconds", "asked_again"), [(3600, False), (0, True)])
async def test_the_kernel_is_asked_again_for_other_bytes_and_after_a_while(
    tmp_path: Path, seconds: float, *, asked_again: bool
) -> None:
    path = tmp_path / "object"
    path.write_bytes(os.urandom(LARGE))
    with OpenFile(os.open(path, os.O_RDONLY), seconds) as file:
        assert file.is_cached(0, LARGE)
        if not dropped(file):
            pytest.skip("temporary files lie on a file system whose pages cannot be dropped")
        assert file.is_cached(0, LARGE) is not asked_again
        assert not file.is_cached(0, LARGE - 1)


LARGE = 1024 * 1024


def dropped(file: OpenFile) -> bool:
    """Take a file out of the page cache; False where its file system does not let us."""
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return not is_cached(file.fileno(), 0, LARGE)
