"""npm packages for the benchmarks, and what an `npm publish` of each would send."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import filling

SCOPE = f"@{filling.OWNER}"
SMALL, LARGE = 14_000, 1_000_000
"""Bytes of a tarball: as they are, and large ones."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a package of SCOPE, with a tarball of about `size` bytes."""

    name: str
    version: str
    size: int = SMALL
    dependencies: Sequence[str] = ()

    @property
    def file(self) -> str:
        """The name of its tarball."""
        return f"{self.name}-{self.version}.tgz"

    def about(self) -> dict[str, Any]:
        """Its package.json, of the length that they have."""
        return {
            "name": f"{SCOPE}/{self.name}",
            "version": self.version,
            "description": f"Does what a {self.name} does, as well as it can be done",
            "keywords": ["bench", "mark", self.name],
            "license": "MIT",
            "author": {"name": "Ada Example", "email": "ada@example.com"},
            "homepage": f"https://example.com/{self.name}#readme",
            "bugs": {"url": f"https://example.com/{self.name}/issues"},
            "main": "index.js",
            "engines": {"node": ">=18"},
            "scripts": {"test": "node --test", "lint": "eslint ."},
            "dependencies": {f"{SCOPE}/{name}": "^1.0.0" for name in self.dependencies},
            "devDependencies": {f"tool-{number}": f"^{number}.1.0" for number in range(12)},
        }

    def tarball(self) -> bytes:
        """Bytes of its archive: package.json, and a file that does not compress."""
        made = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=made, mode="wb", compresslevel=1, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name, data in (
                ("package/package.json", json.dumps(self.about(), indent=2).encode()),
                ("package/index.js", os.urandom(self.size - 700)),
            ):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        return made.getvalue()

    def publication(self) -> bytes:
        """The body of its publish."""
        tarball, name = self.tarball(), f"{SCOPE}/{self.name}"
        dist = {
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode(),
            "shasum": hashlib.sha1(tarball).hexdigest(),
            "tarball": f"http://127.0.0.1/{name}/-/{name}-{self.version}.tgz",
        }
        about = {**self.about(), "_id": f"{name}@{self.version}", "dist": dist}
        attachment = {
            "content_type": "application/octet-stream",
            "data": base64.b64encode(tarball).decode(),
            "length": len(tarball),
        }
        document = {
            "_id": name,
            "name": name,
            "description": about["description"],
            "dist-tags": {"latest": self.version},
            "versions": {self.version: about},
            "access": None,
            "_attachments": {f"{name}-{self.version}.tgz": attachment},
        }
        return json.dumps(document).encode()


def write(path: Path, versions: Iterable[Version]) -> list[list[Any]]:
    """Write the bodies of publishes into one file; returns where each is, and its target."""
    bodies, offset = [], 0
    with path.open("wb") as file:
        for version in versions:
            size = file.write(version.publication())
            bodies.append([str(path), offset, size, target(version.name)])
            offset += size
    return bodies


def target(name: str) -> str:
    """The target of a package, below the registry's, as npm writes it."""
    return f"/{SCOPE}%2f{name}"
