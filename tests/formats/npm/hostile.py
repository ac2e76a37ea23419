"""Publications that hurt others: the catalogue's faults as bodies for npm's door."""

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.formats.archives import EOF, entry, pax, tgz

NAME, VERSION = "@acme/pad", "1.0.0"
TGZ = "@acme/pad-1.0.0.tgz"
SAID: dict[str, Any] = {"name": NAME, "version": VERSION}
PACKAGE_JSON = entry("package/package.json", json.dumps(SAID).encode())
SOUND = tgz(PACKAGE_JSON)


def attached(tarball: bytes, **more: object) -> dict[str, Any]:
    """An attachment as clients send one."""
    return {
        "content_type": "application/octet-stream",
        "data": base64.b64encode(tarball).decode(),
        "length": len(tarball),
        **more,
    }


def publication(
    tarball: bytes = SOUND,
    said: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    **more: object,
) -> dict[str, Any]:
    """A body as npm sends it; `said` are words of the version object, `more` of the document."""
    version = {**SAID, **(said or {})}
    return {
        "_id": NAME,
        "name": NAME,
        "dist-tags": {"latest": VERSION} if tags is None else tags,
        "versions": {VERSION: version},
        "_attachments": {TGZ: attached(tarball)},
        **more,
    }


@dataclass(frozen=True, slots=True)
class Archive:
    """A tarball that others unpacked to their harm; `row` is where the catalogue tells of it."""

    row: str
    fault: str
    tarball: bytes
    words: str
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> bytes:
        """The version object that is pushed with it by OCI."""
        return json.dumps({**SAID, **self.said}).encode()

    def __str__(self) -> str:
        return f"{self.row}: {self.fault}"


def holding(*entries: bytes) -> bytes:
    """A tarball with a sound package.json first."""
    return tgz(PACKAGE_JSON, *entries)


def packing(**said: object) -> bytes:
    """A tarball whose package.json says this."""
    return tgz(entry("package/package.json", json.dumps({**SAID, **said}).encode()))


def bomb() -> bytes:
    """A thousand to one: 80 MiB of zeros."""
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=1) as packing:
        packing.write(PACKAGE_JSON + entry("package/zeros", b"", size=b"%011o\0" % (80 << 20)))
        for _ in range(80):
            packing.write(bytes(1 << 20))
        packing.write(EOF)
    return packed.getvalue()


def zip_too() -> bytes:
    """A gzip stream that ends in the directory of a zip archive."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("package.json", b"{}")
    tail = entry("package/data", inner.getvalue())
    return gzip.compress(PACKAGE_JSON + tail, compresslevel=0)


def _pax_record(text: bytes) -> bytes:
    return entry("PaxHeader", text, b"x")


_LINKED = entry("package/up", b"", b"2", link="../../..")
_FILE = entry("package/a", b"1")

ARCHIVES = [
    Archive(
        *("CVE-2018-1000073", "leads out by a name"),
        holding(entry("package/../../../etc/cron.d/x", b"1")),
        "holds the name",
    ),
    Archive(
        *("CVE-2007-0469", "begins at the root"),
        holding(entry("/etc/passwd", b"1")),
        "holds the name",
    ),
    Archive(
        *("CVE-2018-1000075", "a size below zero"),
        holding(entry("package/a", b"", size=b"-0000000512\0")),
        "no number",
    ),
    Archive(
        *("CVE-2025-8194", "a size below zero, in base 256"),
        holding(entry("package/a", b"", size=b"\xff" * 12)),
        "no number",
    ),
    Archive(
        *("CVE-2018-1000079", "a symbolic link that leads out"),
        holding(_LINKED, entry("package/up/etc/cron.d/x", b"1")),
        "a symbolic link",
    ),
    Archive(
        *("CVE-2019-8320", "a symbolic link in the place of a directory that is removed"),
        holding(entry("package/lib", b"", b"2", link="/home"), entry("package/lib/", b"", b"5")),
        "a symbolic link",
    ),
    Archive(
        *("CVE-2026-50162", "a hard link to a file outside"),
        holding(entry("package/a", b"", b"1", link="../../etc/passwd"), _FILE),
        "a hard link",
    ),
    Archive(
        *("CVE-2026-50163", "a link that pax spells"),
        holding(pax({"linkpath": "/etc/passwd"}), _FILE),
        "read differently",
    ),
    Archive(
        *("RUSTSEC-2025-0110", "two sizes: pax and header"),
        holding(pax({"size": "512"}), entry("package/a", b"")),
        "two sizes",
    ),
    Archive(
        *("RUSTSEC-2026-0066", "a pax header that says more than it holds"),
        holding(_pax_record(b"999999 path=package/b\n"), _FILE),
        "cannot be read",
    ),
    Archive(
        *("RUSTSEC-2026-0067", "a pax header without an equals sign"),
        holding(_pax_record(b"7 path\n"), _FILE),
        "cannot be read",
    ),
    Archive(
        *("RUSTSEC-2026-0068", "a link that chmod follows"),
        holding(entry("package/bin", b"", b"2", link="/bin"), entry("package/bin", b"", b"5")),
        "a symbolic link",
    ),
    Archive(
        *("RUSTSEC-2026-0145", "a record within a record"),
        holding(pax({"comment": "x\n30 path=package/package.json"}), _FILE),
        "read differently",
    ),
    Archive(
        *("RUSTSEC-2025-0168", "bytes behind the end of the archive"),
        tgz(PACKAGE_JSON, bytes(1024), entry("package/package.json", b"{}")),
        "goes on after the end",
    ),
    Archive(
        *("CVE-2025-4517", "a long path that leads out at its end"),
        holding(pax({"path": "package/" + "d/" * 1500 + "../" * 1600 + "x"}), _FILE),
        "holds a name",
    ),
    Archive(
        *("CVE-2025-4330", "a link to a link"),
        holding(entry("package/a", b"", b"2", link="b"), entry("package/b", b"", b"1", link="a")),
        "a symbolic link",
    ),
    Archive(
        *("CVE-2025-4435", "an entry that some leave out"),
        holding(entry("package/a", b"", b"7")),
        "an unknown kind",
    ),
    Archive(
        *("CVE-2019-20907", "a pax record of no length"),
        holding(_pax_record(b"0 path=a\n"), _FILE),
        "cannot be read",
    ),
    Archive(
        *("CVE-2025-8291", "a directory of zip at the end"),
        zip_too(),
        "a zip archive at the same time",
    ),
    Archive(*("CVE-2025-54368", "two gzip streams"), SOUND + SOUND, "goes on after the end"),
    Archive(*("CVE-2026-48702", "a bomb"), bomb(), "more than 100 times its size"),
    Archive(
        *("CVE-2026-39399", "two package.json"),
        holding(entry("other/package.json", b'{"name":"@acme/admin"}')),
        "twice",
    ),
    Archive(
        *("CVE-2026-39399", "package.json in other capitals"),
        holding(entry("package/Package.JSON", b"{}")),
        "take for package.json",
    ),
    Archive(*("CVE-2026-39399", "no package.json"), tgz(entry("package/a", b"")), "no package"),
    Archive(
        *("CVE-2026-39399", "a sign that cuts an address"),
        packing(name="@acme/pad#../../admin"),
        "is of '@acme/pad#../../admin'",
    ),
    Archive(*("gitlab#211636", "another name inside"), packing(name="../../x"), "not of @acme/pad"),
    Archive(*("gitlab#211636", "another version inside"), packing(version="../../x"), "not 1.0.0"),
    Archive(
        *("gitlab#211636", "a name of 64 KB inside"), packing(name="a" * 65_536), "not of @acme/pad"
    ),
    Archive(
        *("CVE-2017-0899", "a name that commands terminals"),
        packing(name="\x1b[2J\x9b31m"),
        r"'\x1b[2J\x9b31m'",
    ),
    Archive(
        *("manifest confusion", "other dependencies inside"),
        packing(dependencies={"left-pad": "1"}),
        "differs from package.json in the tarball in dependencies",
    ),
    Archive(
        *("manifest confusion", "a script that is only inside"),
        packing(scripts={"postinstall": "sh evil"}),
        "differs from package.json in the tarball in scripts",
    ),
    Archive(
        *("manifest confusion", "a command that is only outside"),
        SOUND,
        "differs from package.json in the tarball in bin",
        {"bin": {"ls": "evil.js"}},
    ),
    Archive(
        *("CVE-2024-6915", "other bytes than were announced"),
        SOUND,
        "which is not what 'dist' says",
        {"dist": {"shasum": "0" * 40}},
    ),
    Archive(*("no gzip", "no archive at all"), b"MZ\x90\x00" * 200, "not gzip"),
    Archive(*("no gzip", "an archive cut short"), SOUND[:-9], "cut short"),
]
