"""Packages as real clients published them.

odd_packages.tsv: whole bodies of small packages whose package.json is written in every odd way, by
npm 11, pnpm 10 and 12, yarn 1 and 4. real_packages.jsonl.gz: known packages, published again by the
same clients: package.json, the version object (readme cut short), and which files matter beside.
changes.tsv: what npm 11 PUTs to change the package that `shelf` is.
"""

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formats.npm.changes import Current
from formats.npm.fragments import FULL, render_fragments
from formats.npm.members import join, members
from formats.npm.metadata import parse_publish
from formats.npm.names import PackageName, parse_name
from formats.npm.packument import render_packument
from registry.packaging.document import DocumentKey, make
from registry.packaging.format import PublishedVersion, StoredFile
from registry.packaging.version_rows import Fragment
from storage.digest import Digest
from tests.formats.archives import entry, tgz

RECORDED = Path(__file__).parent / "recorded"
AT = 1_795_000_000_123_456


@dataclass(frozen=True, slots=True)
class Odd:
    """A recorded body."""

    client: str
    body: bytes

    @property
    def package(self) -> PackageName:
        return parse_name(json.loads(self.body)["name"])

    @property
    def tarball(self) -> bytes:
        (attachment,) = json.loads(self.body)["_attachments"].values()
        return base64.b64decode(attachment["data"])


@dataclass(frozen=True, slots=True)
class Real:
    """A recorded publication; `tarball` is made anew of what matters in it."""

    client: str
    roots: tuple[str, ...]
    package_json: bytes
    metadata: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.metadata)
        return found

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def tarball(self) -> bytes:
        beside = [entry(f"package/{name}", b"") for name in self.roots]
        return tgz(entry("package/package.json", self.package_json), *beside)


def odd() -> list[Odd]:
    lines = (RECORDED / "odd_packages.tsv").read_bytes().splitlines()
    return [
        Odd(json.loads(client), body) for client, _, body in (x.partition(b"\t") for x in lines)
    ]


def odd_one(name: str, client: str = "npm 11") -> Odd:
    return next(each for each in odd() if (each.package.name, each.client) == (name, client))


def real() -> list[Real]:
    lines = gzip.decompress((RECORDED / "real_packages.jsonl.gz").read_bytes()).splitlines()
    return [
        Real(x["client"], tuple(x["roots"]), x["package_json"].encode(), x["metadata"].encode())
        for x in map(json.loads, lines)
    ]


def changed(command: str) -> bytes:
    lines = (RECORDED / "changes.tsv").read_bytes().splitlines()
    return dict(line.split(b"\t") for line in lines)[command.encode()]


def with_dist(metadata: bytes, **dist: object) -> bytes:
    """The version object with another `dist`."""
    return join(members(metadata) | {"dist": json.dumps(dist).encode()})


def stored(name: str, data: bytes) -> StoredFile:
    md5, sha1, sha512 = (hashlib.new(each, data).hexdigest() for each in ("md5", "sha1", "sha512"))
    digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
    return StoredFile(name, "application/gzip", digest, len(data), md5, sha1, sha512)


def published(
    metadata: bytes, tarball: bytes = b"x", state: dict[str, Any] | None = None, **computed: object
) -> PublishedVersion:
    said = json.loads(metadata)
    file = stored(f"{said['name'].rpartition('/')[2]}-{said['version']}.tgz", tarball)
    return PublishedVersion(
        said["name"], said["version"], metadata, computed, [file], state or {}, AT, "alice"
    )


def opened(name: str, data: bytes) -> dict[str, io.BytesIO]:
    return {name: io.BytesIO(data)}


def fragments(metadata: Iterable[bytes], kind: str) -> list[Fragment]:
    versions = [published(each) for each in metadata]
    return [Fragment(v.version, v.published_at, render_fragments(v)[kind]) for v in versions]


NUMBERS = {
    b'"a":1,': b'"a":1.0,',
    b'"b":1000': b'"b":1e3',
    b"4567000": b"4567890",
    b'"d":0': b'"d":-0',
}


def shelf() -> Current:
    """A package of three versions, as it was when npm sent back the recorded changes."""
    plain = parse_publish(odd_one("numbers").body, odd_one("numbers").package).metadata
    for short, said in NUMBERS.items():  # as they may stand in what was pushed by OCI
        plain = plain.replace(short, said)
    versions = [
        plain.replace(b'"version":"1.0.0"', b'"version":"%s"' % text).replace(
            b"numbers@1.0.0", b"numbers@%s" % text
        )
        for text in (b"1.0.0", b"1.1.0", b"2.0.0-rc.1")
    ]
    tags = {"latest": "1.1.0", "next": "2.0.0-rc.1", "old": "1.0.0"}
    return Current("@acme/numbers", 7, fragments(versions, FULL), tags, ["alice"])


def shelf_document(base: str) -> bytes:
    """The full document about it."""
    now = shelf()
    document = render_packument(
        now.name,
        revision=now.revision,
        created=AT,
        modified=AT + 5_000_000,
        fragments=now.fragments,
        dist_tags=now.dist_tags,
        maintainers=now.maintainers,
        readme="# numbers\n",
    )
    return addressed(document, base, now.name)


def addressed(data: bytes, base: str, name: str) -> bytes:
    """A document as it leaves for who calls the registry by `base`."""
    return make(DocumentKey(1, "full", 1, base, f"/{name}"), data, kept=False).plain
