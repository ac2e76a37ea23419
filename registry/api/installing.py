"""How a package is installed: the lines to type for each client that reads it."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from registry.api.packages import PACKAGE
from registry.packages import Packages
from registry.packaging.format import Format, InstallCommand
from registry.packaging.formats import Formats
from registry.packaging.version_rows import VersionRows
from registry.rest.needs import READ_PACKAGE
from registry.rest.operation import Call, Operation
from storage.errors import Conflict, NotFound
from storage.names import RepositoryName, is_tag

INSTALL = PACKAGE + "/install"
USUAL = "latest"


class InstallQuery(msgspec.Struct, frozen=True):
    """Which version, or tag; without one the newest."""

    version: Annotated[str, msgspec.Meta(max_length=255)] = ""


class Instructions(msgspec.Struct, frozen=True):
    """What to type for one client, line by line."""

    client: str
    lines: Sequence[str]


class NoAddress(Conflict):
    """A command on a machine where no server runs and none is named."""


class InstallingApi:
    """The operation."""

    def __init__(self, packages: Packages, formats: Formats, versions: VersionRows) -> None:
        self._packages = packages
        self._formats = formats
        self._versions = versions

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", INSTALL, self.show, "Say how a package is installed", READ_PACKAGE,
                answer=list[Instructions], query=InstallQuery,
            )
        ]  # fmt: skip

    async def show(self, call: Call) -> list[Instructions]:
        """Say how a package is installed."""
        if not call.base:
            raise NoAddress(
                "nobody knows what clients call this server: set public_url, start it, or ask it "
                "with --url"
            )
        repository = call.access.repository
        adapter, wanted = self._formats.of(repository), call.query.version
        if adapter is None:
            tag = await self._tag(call.package_id, repository, wanted)
            commands: Sequence[InstallCommand] = container_commands(repository, tag, call.base)
        else:
            version = await self._version(call.package_id, repository, adapter, wanted)
            name = (await self._packages.get(str(repository)))["name"]
            package = adapter.package_name(repository, name)
            commands = adapter.install_commands(package, version, call.base)
        return [Instructions(each.client, each.lines) for each in commands]

    async def _tag(self, package_id: int, repository: RepositoryName, wanted: str) -> str:
        asked = wanted or USUAL
        found = await self._packages.tag(package_id, asked) if is_tag(asked) else None
        if found is None and not wanted:
            rows = await self._packages.tags(package_id, limit=1)
            found = rows[0] if rows else None
        if found is None:
            raise NotFound(f"{repository} has no tag {wanted or USUAL}")
        name: str = found["name"]
        return name

    async def _version(
        self, package_id: int, repository: RepositoryName, adapter: Format, wanted: str
    ) -> str:
        aliases = await self._versions.aliases(package_id)
        asked = wanted or adapter.default_alias
        named = aliases.get(asked, wanted) or await self._versions.newest(package_id)
        if named is None or await self._versions.find(package_id, named) is None:
            raise NotFound(f"{repository} has no version {asked[:100]!r}")
        return named


def container_commands(repository: RepositoryName, tag: str, site: str) -> list[InstallCommand]:
    """Return how container clients pull an image."""
    image = f"{urlsplit(site).netloc}/{repository}:{tag}"
    return [
        InstallCommand("docker", (f"docker pull {image}",)),
        InstallCommand("podman", (f"podman pull {image}",)),
    ]
