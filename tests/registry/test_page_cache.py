"""What the kernel has in memory is known; all else, and all errors, take a thread."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from registry import page_cache
from registry.page_cache import is_cached, open_cached


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "né"
    path.write_bytes(b"content")
    return path


def failing(number: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return fail


@pytest.mark.skipif(page_cache._syscall is None, reason="openat2 is Linux's")
def test_what_was_just_written_is_opened(file: Path) -> None:
    descriptor = open_cached(file)
    if descriptor is None:
        pytest.skip("this kernel, or this file system, has no RESOLVE_CACHED")
    assert os.read(descriptor, 100) == b"content"
    assert not os.get_inheritable(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(descriptor, b"x")
    os.close(descriptor)


def test_what_is_not_there_takes_a_thread(tmp_path: Path) -> None:
    assert open_cached(tmp_path / "nothing") is None


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOENT, errno.EMFILE, errno.EACCES])
def test_one_failure_is_not_the_next(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []
    fail = failing(number)
    monkeypatch.setattr(page_cache, "_syscall", lambda *a: asked.append(a) or fail())
    assert [open_cached(file), open_cached(file)] == [None, None]
    assert len(asked) == 2


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_a_kernel_without_it_is_asked_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []
    fail = failing(number)
    monkeypatch.setattr(page_cache, "_syscall", lambda *a: asked.append(a) or fail())
    monkeypatch.setattr(page_cache, "_missing", set())
    assert [open_cached(file), open_cached(file)] == [None, None]
    assert len(asked) == 1


MIB = 1024 * 1024


@pytest.fixture
def large(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(4 * MIB))
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        yield file


def dropped(file: BinaryIO) -> None:
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("counts", [True, False])
def test_a_cold_file_is_told_from_a_warm_one(
    large: BinaryIO, monkeypatch: pytest.MonkeyPatch, *, counts: bool
) -> None:
    if not counts:
        monkeypatch.setattr(page_cache, "_missing", {page_cache._CACHESTAT})
    os.pread(large.fileno(), 4 * MIB, 0)
    assert is_cached(large.fileno(), 0, 4 * MIB)
    dropped(large)
    cold = not is_cached(large.fileno(), 0, 4 * MIB)
    os.pread(large.fileno(), 4 * MIB, 0)
    assert is_cached(large.fileno(), 0, 4 * MIB)
    if counts and not cold:
        pytest.skip("temporary files lie on a file system whose pages cannot be dropped")


def test_one_page_does_not_stand_for_the_others(large: BinaryIO) -> None:
    counts = page_cache._called(page_cache._CACHESTAT, large.fileno(), bytes(16), bytes(40), 0)
    if counts is None:
        pytest.skip("this kernel has no cachestat")
    dropped(large)
    os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # read nothing ahead
    os.pread(large.fileno(), 1, 4 * MIB - 1)
    if is_cached(large.fileno(), 0, 4096):
        pytest.skip("temporary files lie on a file system whose pages cannot be dropped")
    assert is_cached(large.fileno(), 4 * MIB - 4096, 4096)
    assert is_cached(large.fileno(), 4 * MIB - 10, 10)
    assert not is_cached(large.fileno(), 4 * MIB - 4097, 4097)
    assert not is_cached(large.fileno(), 0, 4 * MIB)
    for _ in range(3):  # to ask brings nothing in
        assert not is_cached(large.fileno(), MIB, 1)
