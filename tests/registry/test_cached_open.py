"""Files that the kernel remembers are opened at once; all others, and all errors, take a thread."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import cached_open
from registry.cached_open import open_cached


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


@pytest.mark.skipif(cached_open._syscall is None, reason="openat2 is Linux's")
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
    monkeypatch.setattr(cached_open, "_syscall", lambda *a: asked.append(a) or fail())
    assert [open_cached(file), open_cached(file)] == [None, None]
    assert len(asked) == 2


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_a_kernel_without_it_is_asked_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []
    fail = failing(number)
    monkeypatch.setattr(cached_open, "_syscall", lambda *a: asked.append(a) or fail())
    assert [open_cached(file), open_cached(file)] == [None, None]
    assert len(asked) == 1
