"""Files that were read a moment ago stay open, and hold nothing for long."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.open_files import OpenFiles


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


async def test_readers_have_descriptors_of_their_own(file: Path) -> None:
    files = OpenFiles()
    first, second = await files.open(file), await files.open(file)
    assert descriptors(file) == 3
    first.close()
    assert second.read() == b"bytes"
    second.close()
    await files.close()


async def test_a_file_that_was_removed_is_not_handed_out(file: Path) -> None:
    files = OpenFiles()
    (await files.open(file)).close()
    remove(file)
    with pytest.raises(FileNotFoundError):
        await files.open(file)
    write(file, b"another")
    with await files.open(file) as opened:
        assert opened.read() == b"another"
    await files.close()
    await until(lambda: descriptors(file) == 0)


async def test_a_removed_file_gives_its_space_back_soon(file: Path) -> None:
    files = OpenFiles(seconds=0.05)
    (await files.open(file)).close()
    assert descriptors(file) == 1
    remove(file)
    await until(lambda: descriptors(file) == 0)


async def test_no_more_than_so_many_stay_open(tmp_path: Path) -> None:
    files = OpenFiles(most=3)
    for number in range(10):
        path = tmp_path / f"object-{number}"
        write(path, b"bytes")
        (await files.open(path)).close()
    await until(lambda: descriptors(tmp_path) == 3)
    await files.close()


async def test_ten_readers_at_once_leave_one_open(file: Path) -> None:
    files = OpenFiles()
    for opened in await asyncio.gather(*[files.open(file) for _ in range(10)]):
        opened.close()
    await until(lambda: descriptors(file) == 1)
    await files.close()


async def test_without_descriptors_to_spare_nothing_is_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> int:
        raise OSError(24, "Too many open files")

    files = OpenFiles()
    with monkeypatch.context() as full:
        full.setattr(os, "dup", refuse)
        (await files.open(file)).close()
    assert descriptors(file) == 0
    await files.close()
