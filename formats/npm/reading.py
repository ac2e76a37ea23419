"""A version read against its tarball: hashes, and a package.json that says the same.

Reading list: ssri (integrity); npm's package.json page; formats/npm/installed.py for which fields
must agree.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from formats.npm.installed import differences, install_scripts
from formats.npm.members import check_text, parse_object, read_object, text_in
from formats.npm.metadata import check_version_object
from formats.npm.names import PackageName, parse_name
from formats.npm.tarball import Inspection, inspect
from formats.npm.texts import readme_of, text_of
from formats.npm.versions import check_version, order_of, tag_of
from registry.packaging.format import VersionFacts
from storage.digest import quoted
from storage.errors import Invalid

MAX_METADATA = 4 * 1024 * 1024
"""Bytes of a version object."""
_CHUNK = 1024 * 1024

_INTEGRITY = re.compile(r"(sha1|sha256|sha384|sha512)-([A-Za-z0-9+/]+={0,2})(?:\?.*)?")
_HEX = re.compile(r"[0-9a-f]{40}")


def read(package: str, metadata: bytes, files: Mapping[str, BinaryIO]) -> VersionFacts:
    """Check a version's metadata against its tarball, and return its facts. Raises Invalid."""
    if len(metadata) > MAX_METADATA:
        raise Invalid(f"the metadata is larger than {MAX_METADATA} bytes: shorten its readme")
    published = parse_object(metadata, "the metadata")
    name = parse_name(package)
    version = check_version(text_in(published, "version"))
    tag_of(version)
    check_version_object(published, name, version)
    tarball = _only_file(files, name.file(version))
    _check_hashes(published.get("dist") or {}, tarball)
    inspection = inspect(tarball)
    packed = read_object(inspection.package_json, "package.json in the tarball")
    _check_agreement(published, packed, name, version)
    return VersionFacts(
        version=version,
        order=order_of(version),
        metadata=metadata,
        text=text_of(published),
        computed=_computed(published, inspection),
    )


def _computed(published: Mapping[str, Any], inspection: Inspection) -> dict[str, Any]:
    found: dict[str, Any] = {
        "fileCount": inspection.file_count,
        "unpackedSize": inspection.unpacked_size,
    }
    compiled = inspection.has_install_script and published.get("gypfile") is not False
    if compiled or install_scripts(published):
        found["hasInstallScript"] = True
    if inspection.readme and not readme_of(published):  # which pnpm and yarn leave in the tarball
        found["readme"] = inspection.readme.decode(errors="replace")
    if inspection.has_shrinkwrap:
        found["_hasShrinkwrap"] = True
    return found


def _only_file(files: Mapping[str, BinaryIO], name: str) -> BinaryIO:
    if list(files) != [name]:
        shown = ", ".join(quoted(each) for each in list(files)[:3]) or "none"
        raise Invalid(f"a version has one file, {name}; here: {shown}")
    return files[name]


def _check_hashes(dist: Mapping[str, Any], tarball: BinaryIO) -> None:
    """Refuse integrity and shasum that are not the tarball's."""
    announced = _announced(dist)
    for algorithm, found in _hashed(tarball, announced).items():
        if found not in announced[algorithm]:
            shown = base64.b64encode(found).decode()
            raise Invalid(
                f"the tarball's {algorithm} is {algorithm}-{shown}, which is not what 'dist' "
                "says: it was changed on its way, so publish again"
            )


def _hashed(tarball: BinaryIO, algorithms: Iterable[str]) -> dict[str, bytes]:
    hashes = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
    tarball.seek(0)
    while chunk := tarball.read(_CHUNK):
        for hash_ in hashes.values():
            hash_.update(chunk)
    return {algorithm: hash_.digest() for algorithm, hash_ in hashes.items()}


def _announced(dist: Mapping[str, Any]) -> dict[str, set[bytes]]:
    """Return the hashes that `dist` names, by algorithm. SRI allows several of one."""
    integrity, shasum = dist.get("integrity"), dist.get("shasum")
    found: dict[str, set[bytes]] = {}
    if integrity:
        for part in check_text(integrity, "dist.integrity").split():
            match = _INTEGRITY.fullmatch(part)
            if match is None:
                raise Invalid(f"dist.integrity {quoted(part)} is not one: write sha512-<base64>")
            found.setdefault(match[1], set()).add(_base64(match[2]))
    if shasum:
        text = check_text(shasum, "dist.shasum").lower()
        if not _HEX.fullmatch(text):
            raise Invalid(f"dist.shasum {quoted(text)} is not a sha1 in hex")
        digest = bytes.fromhex(text)
        if found.setdefault("sha1", {digest}) != {digest}:
            raise Invalid("dist.integrity and dist.shasum name different sha1")
    return found


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Invalid(f"dist.integrity {quoted(text)} is not base64") from error


def _check_agreement(
    published: Mapping[str, Any], packed: Mapping[str, Any], name: PackageName, version: str
) -> None:
    """Refuse metadata that promises another installation than the tarball's package.json."""
    if packed.get("name") != name.text:
        raise Invalid(
            f"package.json in the tarball is of {quoted(str(packed.get('name')))}, "
            f"not of {name.text}"
        )
    if _clean(packed.get("version")) != version:
        raise Invalid(
            f"package.json in the tarball has version {quoted(str(packed.get('version')))}, "
            f"not {version}"
        )
    fields = differences(published, packed)
    if fields:
        raise Invalid(
            f"what was published differs from package.json in the tarball in "
            f"{', '.join(fields)}: publish what was packed"
        )


def _clean(version: object) -> str:
    """Return a version as npm cleans it: without spaces, leading v or =, and build metadata."""
    return str(version).strip().lstrip("=v").strip().partition("+")[0]
