"""Tar archives of strangers: what is in them, refused where two readers could see it differently.

Reading list: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar,
"Basic Tar Format"; node-tar header.js, parse.js and pax.js; RUSTSEC-2025-0110, CVE-2025-8194.

The standard library's tarfile is kind to what is broken, and loops on negative sizes before Python
3.11.14; so headers are read here, strictly. Nothing is extracted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from storage.digest import quoted
from storage.errors import Invalid

BLOCK = 512
MAX_PATH = 4096
"""Bytes of a path."""
MAX_EXTENSION = 1024 * 1024
"""Bytes of a pax header; node-tar overlooks larger ones."""

_OCTAL = re.compile(rb" *+([0-7]++)[ \0]*+")
_MAGICS = (b"ustar\x0000", b"ustar  \0", bytes(8))
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ")
_FORBIDDEN = re.compile(rb"GNU\.sparse\.|type\Z|linkpath\Z")
_SMUGGLED = re.compile(rb"\n[0-9]+ (?:path|size|linkpath|type)=")
_FILES = (b"0", b"\0")
_NOTHING = ("", ".")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"K": "a link",
    b"S": "a sparse file",
}


class Source(Protocol):
    """Where an archive comes from, front to back."""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer where the source ends."""

    def skip(self, size: int) -> int:
        """Read past `size` bytes; return how many there were."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory. `path` is as it was written, without '.' and '' after its first part.

    The first part may be '.': installers strip whatever it is.
    """

    path: str
    size: int
    directory: bool


class Tar:
    """The entries of an archive in their order; `read` gives the current one's first bytes.

    Every method raises Invalid.
    """

    def __init__(self, source: Source, most_entries: int) -> None:
        self._source = source
        self._left = most_entries
        self._unread = 0
        self._padding = 0
        self._path: bytes | None = None
        self._size: int | None = None

    def __iter__(self) -> Iterator[Entry]:
        while header := self._header():
            self._left -= 1
            if self._left < 0:
                raise Invalid("the tarball has too many entries")
            entry = self._entry(header)
            if entry:
                yield entry
            self._pass()

    def read(self, most: int) -> bytes:
        """Return up to `most` bytes of the current entry, from where the last call stopped.

        Fewer come where the archive is cut short, which is refused on the way to the next entry.
        """
        found = self._source.read(min(most, self._unread))
        self._unread -= len(found)
        return found

    def _header(self) -> bytes | None:
        """Return the next header, None at the end: all that follows the first zeros is zeros."""
        block = self._source.read(BLOCK)
        if len(block) == BLOCK and any(block):
            return block
        while block:
            if block.strip(b"\0"):
                raise Invalid("the tarball is cut short, or goes on after the end of its archive")
            block = self._source.read(BLOCK * BLOCK)
        if self._path is not None or self._size is not None:
            raise _cut_short()
        return None

    def _entry(self, header: bytes) -> Entry | None:
        """Return what a header describes; None where it describes the next one."""
        _check_sum(header)
        kind, size = header[156:157], _size(header)
        self._unread, self._padding = size, -size % BLOCK
        if kind in (b"x", b"g", b"L"):
            self._extend(kind, size)
            return None
        if kind not in (*_FILES, b"5"):
            raise Invalid(f"the tarball holds {_KINDS.get(kind, 'an entry of an unknown kind')}")
        if _text(header[157:257]):
            raise Invalid("the tarball holds a file that is also a link")
        name = _name(header) if self._path is None else self._path
        if self._size not in (None, size):
            raise Invalid("the tarball holds a file of two sizes, in its header and before it")
        self._path = self._size = None
        directory = kind == b"5" or name.endswith(b"/")
        if directory and size:
            raise Invalid("the tarball holds a directory that has bytes")
        return Entry(_path(name), size, directory)

    def _extend(self, kind: bytes, size: int) -> None:
        """Read a header that says more about the next one, or (g) about all that follow."""
        if size > MAX_EXTENSION:
            raise Invalid("the tarball holds an extended header that is too large")
        data = self.read(size)
        if kind == b"L":
            return self._override(data[:-1] if data.endswith(b"\0") else data, None)
        said = _records(data)
        path, length = said.get(b"path"), said.get(b"size")
        if kind == b"g" and (path is not None or length is not None):
            raise Invalid("the tarball gives all of its files one name or size")
        if length is not None and not (length.isdigit() and len(length) < 20):
            raise Invalid("the tarball holds a size that is no number")
        return self._override(path, None if length is None else int(length))

    def _override(self, path: bytes | None, size: int | None) -> None:
        if None not in (path, self._path) or None not in (size, self._size):
            raise Invalid("the tarball holds a file that has two names or sizes")
        self._path = self._path if path is None else path
        self._size = self._size if size is None else size

    def _pass(self) -> None:
        left = self._unread + self._padding
        if self._source.skip(left) != left:
            raise _cut_short()


def _check_sum(header: bytes) -> None:
    if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
        raise Invalid("the tarball is damaged, or no tar archive: a header's checksum is wrong")
    if header[257:265] not in _MAGICS:
        raise Invalid("the tarball holds a header of an unknown kind")


def _size(header: bytes) -> int:
    field = header[124:136]
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    return _octal(field)


def _octal(field: bytes) -> int:
    found = _OCTAL.fullmatch(field)
    if not found:
        raise Invalid("the tarball holds a header whose size or checksum is no number")
    return int(found[1], 8)


def _name(header: bytes) -> bytes:
    """Return the name of a header; only POSIX has a prefix (GNU and star keep times there)."""
    name = _text(header[:100])
    prefix = b""
    if header[257:265] == _MAGICS[0]:
        # star ends the prefix at 130 bytes, and shows it by a zero in the last
        prefix = _text(header[345:500] if header[475] else header[345:475])
    return b"/".join((prefix, name)) if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _path(name: bytes) -> str:
    """Return a name as text. Raises Invalid for what leads out, or is read in two ways."""
    try:
        path = name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(
            f"the tarball holds a name that is not UTF-8: {quoted(repr(name))}"
        ) from error
    if len(name) > MAX_PATH:
        raise Invalid(f"the tarball holds a name of more than {MAX_PATH} bytes")
    first, *others = path.split("/")
    odd = not first or first[1:2] == ":" or ".." in (first, *others)
    if odd or "\\" in path or "\0" in path:
        raise Invalid(
            f"the tarball holds the name {quoted(path)}: names are relative and plain, without "
            "'..', drives, backslashes and NUL"
        )
    return "/".join((first, *(each for each in others if each not in _NOTHING)))


def _records(data: bytes) -> dict[bytes, bytes]:
    """Read a pax header: records "LENGTH KEY=VALUE\\n", each key once."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        start = _RECORD.match(data, at)
        end = at + int(start[1]) if start else 0
        record = data[start.end() : end] if start else b""
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not (record.endswith(b"\n") and key and equals and end <= len(data)):
            raise Invalid("the tarball holds an extended header that cannot be read")
        if key in found or _FORBIDDEN.match(key) or _SMUGGLED.search(record):
            raise Invalid("the tarball holds an extended header that readers read differently")
        found[key] = value
        at = end
    return found


def _cut_short() -> Invalid:
    return Invalid("the tarball is cut short: its last file is not complete")
