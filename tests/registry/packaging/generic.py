"""A format of our own, as small as the contract lets it be: one metadata document, one file.

A package is `owner:name`, a version three numbers and perhaps a prerelease; its file
`name-version.bin` begins with the version on a line.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from registry.package_texts import PackageText
from registry.packaging.format import (
    InstallCommand,
    Order,
    PublishedVersion,
    State,
    VersionFacts,
)
from storage.errors import Invalid, NameInvalid
from storage.names import RepositoryName, Tag

BIN = "application/vnd.packhouse.generic.file.v1"
NOTE = "application/vnd.packhouse.generic.note"
"""Of a referrer whose file is `version: text`; documents say the text."""
_VERSION = re.compile(
    r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([a-z0-9.]{1,50}))?([+_][a-z0-9]{1,20})?"
)
_NAME = re.compile(r"[A-Za-z0-9-]{1,60}")


class Generic:
    """The adapter."""

    name = "generic"
    artifact_type = "application/vnd.packhouse.generic.package.v1"
    metadata_type = "application/vnd.packhouse.generic.config.v1+json"
    default_alias = "latest"
    joined = ("full", "short")
    attached = (NOTE,)

    def package_name(self, repository: RepositoryName, name: str) -> str:
        """Return `owner:name`."""
        if len(repository.rest) != 2 or not _NAME.fullmatch(name):
            raise NameInvalid(f"{repository} is not owner/generic/name")
        return f"{repository.owner}:{name}"

    def install_commands(self, package: str, version: str, site: str) -> list[InstallCommand]:
        """Return what no client of this format exists for."""
        return [InstallCommand("generic", (f"generic get {site} {package} {version}",))]

    def media_type(self, file_name: str) -> str:
        """Return the one media type."""
        if not file_name.endswith(".bin"):
            raise Invalid("a file's name ends in .bin")
        return BIN

    def tag(self, version: str) -> Tag:
        """Return the version with '_' for '+'."""
        if not _VERSION.fullmatch(version):
            raise Invalid(f"{version!r} is no version: write 1.2.3 or 1.2.3-beta")
        return Tag(version.replace("+", "_"))

    def is_alias(self, tag: Tag) -> bool:
        """Whether it is a word."""
        return tag.isalpha()

    def read(self, package: str, metadata: bytes, files: Mapping[str, BinaryIO]) -> VersionFacts:
        """Read name and version, and compare the file's first line."""
        document = json.loads(metadata)
        version = document["version"]
        if document["package"] != package:
            raise Invalid(f"the metadata is that of {document['package']!r}, not of {package!r}")
        (file,) = files.values()
        if file.readline() != f"{version}\n".encode():
            raise Invalid("the file does not begin with its version")
        return facts(document)

    def check_state(self, state: Mapping[str, Any]) -> State:
        """Accept {"deprecated": text}."""
        if not set(state) <= {"deprecated"}:
            raise Invalid("a state says 'deprecated', and nothing else")
        return dict(state)

    def with_attached(self, version: PublishedVersion, files: Sequence[bytes]) -> Mapping[str, Any]:
        """Keep the notes about this version."""
        begin = f"{version.version}: "
        said = [file.decode() for file in files]
        found = {text.removeprefix(begin) for text in said if text.startswith(begin)}
        if not found:
            return version.computed
        return {**version.computed, "notes": sorted({*version.computed.get("notes", ()), *found})}

    def fragments(self, version: PublishedVersion) -> Mapping[str, bytes]:
        """Return all that is known as "full", and the version alone as "short"."""
        full = {
            "package": version.package,
            "metadata": json.loads(version.metadata),
            "computed": dict(version.computed),
            "files": [file.name for file in version.files],
            "publisher": version.publisher,
            **version.state,
        }
        return {"full": json.dumps(full).encode(), "short": version.version.encode()}


def facts(document: Mapping[str, Any]) -> VersionFacts:
    """Return what a version's metadata says."""
    found = _VERSION.fullmatch(document["version"])
    assert found is not None
    numbers, prerelease = found.groups()[:3], found[4] or ""
    key = ".".join(f"{int(number):09}" for number in numbers) + f"-{prerelease or '~'}"
    return VersionFacts(
        version=document["version"],
        order=Order(key, bool(prerelease)),
        metadata=json.dumps(document).encode(),
        text=PackageText(
            title=document["package"],
            description=document.get("description", ""),
            source=document.get("source", ""),
        ),
        computed={"length": len(document["version"])},
    )
