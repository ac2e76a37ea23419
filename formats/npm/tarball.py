"""npm's tarballs: what is in one, from its headers; nothing is extracted.

Reading list: pacote lib/fetcher.js (`strip: 1`, so the root directory may have any name, and each
file its own); npm-packlist; read-package-json (binding.gyp, README).
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

from formats.gunzip import Gunzip
from formats.tar import Entry, Tar
from storage.digest import quoted
from storage.errors import Invalid

MAX_UNPACKED = 2 * 1024 * 1024 * 1024
MAX_ENTRIES = 100_000
MAX_PACKAGE_JSON = 1024 * 1024
MAX_README = 64 * 1024
"""Bytes of a README that are kept, as the public registry does."""

_PACKAGE_JSON = "package.json"
_README = re.compile(r"readme(?:\.[a-z0-9]{1,12})?")
_DIRECTORY, _ONCE = b"directory", b"once"
_CHUNK = 256 * 1024
_ZIP_END = b"PK\x05\x06"
_ZIP_END_LENGTH = 22
_ZIP64 = b"PK\x06\x07"
_ZIP_TAIL = 65_535 + _ZIP_END_LENGTH


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a tarball holds.

    `readme` is the beginning of the root's README, None without one. `has_install_script`: it holds
    a binding.gyp, for which npm runs node-gyp; what package.json says of scripts is not looked at.
    """

    package_json: bytes
    readme: bytes | None
    file_count: int
    unpacked_size: int
    has_shrinkwrap: bool
    has_install_script: bool


def inspect(
    file: BinaryIO, most: int = MAX_UNPACKED, most_entries: int = MAX_ENTRIES
) -> Inspection:
    """Read a tarball from its beginning; it unpacks to at most so many bytes and entries.

    It computes for as long as unpacking takes: call it in a thread. Raises Invalid.
    """
    _check_no_zip(file)
    file.seek(0)
    tar = Tar(Gunzip(file, most), most_entries)
    contents = _Contents()
    for entry in tar:
        contents.add(entry, tar)
    return contents.inspection()


class _Contents:
    """What was found so far, under the names that files have once the root is stripped."""

    def __init__(self) -> None:
        self._seen: dict[bytes, bytes] = {}
        self._roots: dict[str, bytes] = {}
        self._readme_name = ""
        self._files = 0
        self._bytes = 0

    def add(self, entry: Entry, tar: Tar) -> None:
        root, _, path = entry.path.partition("/")
        if not path and not entry.directory:
            raise Invalid(
                f"the tarball holds {quoted(root)} beside the package's directory: files lie "
                "inside one, as in 'package/package.json'"
            )
        self._check_once(path, entry, tar)
        if entry.directory:
            return
        self._files += 1
        self._bytes += entry.size
        self._keep(path, entry, tar)

    def inspection(self) -> Inspection:
        package_json = self._roots.get(_PACKAGE_JSON)
        if package_json is None:
            raise Invalid("the tarball holds no package/package.json")
        return Inspection(
            package_json=package_json,
            readme=self._roots.get(self._readme_name),
            file_count=self._files,
            unpacked_size=self._bytes,
            has_shrinkwrap="npm-shrinkwrap.json" in self._roots,
            has_install_script="binding.gyp" in self._roots,
        )

    def _check_once(self, path: str, entry: Entry, tar: Tar) -> None:
        """Refuse what would be written twice: the last wins for some, the first for others.

        Where both are the same nobody can tell, and packages that people use hold such files.
        """
        folded = unicodedata.normalize("NFKC", path.partition("/")[0]).casefold()
        if folded == _PACKAGE_JSON and (path != _PACKAGE_JSON or entry.directory):
            raise Invalid(
                f"the tarball holds {quoted(entry.path)}, which some file systems take for "
                "package.json: rename it"
            )
        key = hashlib.blake2b(path.encode(), digest_size=16).digest()
        found, known = _mark(path, entry, tar), self._seen.get(key)
        if known is not None and (known != found or known == _ONCE):
            raise Invalid(f"the tarball holds {quoted(entry.path)} twice")
        self._seen[key] = found

    def _keep(self, name: str, entry: Entry, tar: Tar) -> None:
        """Keep of the root's files what is asked for; no name of these holds a slash."""
        if name == _PACKAGE_JSON:
            if entry.size > MAX_PACKAGE_JSON:
                raise Invalid(f"package.json is larger than {MAX_PACKAGE_JSON} bytes")
            self._roots[name] = tar.read(MAX_PACKAGE_JSON)
        elif name in ("npm-shrinkwrap.json", "binding.gyp"):
            self._roots[name] = b""
        elif _README.fullmatch(name.lower()) and self._readme_name.lower() != "readme.md":
            self._roots.pop(self._readme_name, None)
            self._readme_name, self._roots[name] = name, tar.read(MAX_README)


def _mark(path: str, entry: Entry, tar: Tar) -> bytes:
    """Return what tells an entry from another one of its path."""
    if entry.directory:
        return _DIRECTORY
    if "/" not in path:
        return _ONCE
    digest = hashlib.sha256()
    while chunk := tar.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def _check_no_zip(file: BinaryIO) -> None:
    """Refuse a file that is a zip archive too, whose directory is found from the file's end."""
    start = max(0, file.seek(0, 2) - _ZIP_TAIL)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_ZIP_END)
    while at >= 0:
        size, offset = (int.from_bytes(tail[at + 4 * n : at + 4 * n + 4], "little") for n in (3, 4))
        places = (start + at - size, offset)
        if tail[max(0, at - 20) : at].startswith(_ZIP64) or any(
            _is_zip_directory(file, place) for place in places
        ):
            raise Invalid("the tarball is a zip archive at the same time")
        at = tail.rfind(_ZIP_END, 0, at)


def _is_zip_directory(file: BinaryIO, place: int) -> bool:
    file.seek(max(0, place))
    return file.read(4) == b"PK\x01\x02"
