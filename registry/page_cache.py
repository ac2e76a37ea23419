"""What the kernel has in memory: opened, and told from what a disk must bring, without waiting.

Reading list: openat2(2), RESOLVE_CACHED (Linux 5.12); cachestat(2) (Linux 6.5); preadv2(2),
RWF_NOWAIT. No library wraps the first two. Each has the same number on every architecture, as all
calls made since Linux 5.1.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

_OPENAT2, _CACHESTAT = 437, 451
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20
_HOW = struct.pack("=QQQ", os.O_RDONLY | os.O_CLOEXEC, 0, _RESOLVE_CACHED)
_COUNTS = 5 * 8
"""Bytes of what cachestat answers; the pages in the cache are the first number."""

_missing: set[int] = set()
"""Calls that this kernel, or a sandbox around us, does not have."""


def _find_syscall() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    # PyDLL keeps the interpreter's lock: the call is over before another thread could take it.
    syscall = ctypes.PyDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return syscall


_syscall = _find_syscall()


def open_cached(path: Path) -> int | None:
    """Return a descriptor for reading; None where a disk might have to be asked, or on any error.

    Whoever gets None opens the file in a thread, which says what is wrong with it.
    """
    long, size = ctypes.c_long, ctypes.c_size_t(len(_HOW))
    return _called(_OPENAT2, long(_AT_FDCWD), os.fsencode(path), _HOW, size)


def is_cached(descriptor: int, offset: int, count: int) -> bool:
    """Whether `count` bytes of a file can be sent without a disk; True where nobody can say.

    A kernel without cachestat is asked for the last byte only: it has read ahead to there, or it
    has not. Some fetch the page of that byte meanwhile and say yes the second time.
    """
    asked = struct.pack("=QQ", offset, count)
    counts = ctypes.create_string_buffer(_COUNTS)
    done = _called(_CACHESTAT, ctypes.c_long(descriptor), asked, counts, ctypes.c_long(0))
    if done is None:
        return _has_byte(descriptor, offset + count - 1)
    pages = (offset + count - 1) // mmap.PAGESIZE - offset // mmap.PAGESIZE + 1
    held: int = struct.unpack_from("=Q", counts)[0]
    return held >= pages


def _called(number: int, *args: object) -> int | None:
    if _syscall is None or number in _missing:
        return None
    result = _syscall(ctypes.c_long(number), *args)
    if result >= 0:
        return result
    if ctypes.get_errno() in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG):
        _missing.add(number)
    return None


def _has_byte(descriptor: int, offset: int) -> bool:
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], offset, flag)
    except OSError as error:
        return error.errno != errno.EAGAIN
    return True
