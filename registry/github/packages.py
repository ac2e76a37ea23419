"""GitHub's operations on packages and their versions, at one of its three doors.

Reading list: GitHub's REST API, "Packages" (version 2022-11-28).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from starlette.responses import Response

from auth.principals import Visibility
from registry.deletion import Deletion
from registry.github.documents import Documents
from registry.github.pages import Numbered, Window, answer
from registry.owned_packages import OwnedPackages, Owner, PackageFacts
from registry.package_lists import Filters
from registry.packages import Packages
from registry.rest.needs import (
    ANYBODY,
    DELETE_PACKAGE,
    READ_PACKAGE,
    RESTORE_PACKAGE,
    SIGNED_IN,
    Need,
)
from registry.rest.operation import Call, Operation
from registry.restoration import Restoration
from registry.versions import Version, Versions
from storage.digest import Digest
from storage.errors import Denied, NotFound
from storage.names import parse_repository

V3 = "/api/v3"

PackageType = Literal["npm", "maven", "rubygems", "docker", "nuget", "container"]


class PackagesQuery(Numbered, frozen=True, kw_only=True):
    """Which packages of an owner are listed, and which page of them."""

    package_type: PackageType
    visibility: Literal["public", "private", "internal"] | None = None


class VersionsQuery(Numbered, frozen=True):
    """Which versions of a package are listed, and which page of them."""

    state: Literal["active", "deleted"] = "active"


@dataclass(frozen=True, slots=True)
class Door:
    """Where packages are asked for: below an organization, a user, or the caller."""

    path: str
    kind: str
    own: bool = False

    def need(self, need: Need) -> Need:
        """Return what an operation here needs."""
        return replace(need, own=self.own)


DOORS = (
    Door(f"{V3}/orgs/{{owner}}", "organization"),
    Door(f"{V3}/users/{{owner}}", "user"),
    Door(f"{V3}/user", "user", own=True),
)


class PackagesApi:
    """The operations at one door."""

    def __init__(
        self,
        door: Door,
        owned: OwnedPackages,
        packages: Packages,
        versions: Versions,
        deletion: Deletion,
        restoration: Restoration,
    ) -> None:
        self._door = door
        self._owned = owned
        self._packages = packages
        self._versions = versions
        self._deletion = deletion
        self._restoration = restoration

    def operations(self) -> list[Operation]:
        """Return what this door answers."""
        door, packages = self._door, f"{self._door.path}/packages"
        package = f"{packages}/{{package_type}}/{{package}}"
        versions, version = f"{package}/versions", f"{package}/versions/{{version}}"
        see = SIGNED_IN if door.own else ANYBODY
        read, delete, restore = map(door.need, (READ_PACKAGE, DELETE_PACKAGE, RESTORE_PACKAGE))
        return [
            Operation("GET", packages, self.list, "List packages", see, query=PackagesQuery),
            Operation("GET", package, self.get, "Show a package", read),
            Operation("DELETE", package, self.delete, "Delete a package", delete, status=204),
            Operation(
                "POST", f"{package}/restore", self.restore, "Restore a package", restore, status=204
            ),
            Operation(
                "GET", versions, self.versions, "List versions", read, query=VersionsQuery
            ),
            Operation("GET", version, self.version, "Show a version", read),
            Operation(
                "DELETE", version, self.delete_version, "Delete a version", delete, status=204
            ),
            Operation(
                "POST", f"{version}/restore", self.restore_version, "Restore a version", delete,
                status=204,
            ),
            Operation(
                "GET", f"{door.path}/docker/conflicts", self.conflicts,
                "List packages that keep others from moving out of GitHub's old Docker registry",
                see,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Response:
        """List the packages of an owner that the caller may see, by name."""
        query: PackagesQuery = call.query
        window, owner = Window.of(query), await self._owner(call)
        seen = None if query.visibility is None else Visibility[query.visibility.upper()]
        filters = Filters(format=query.package_type, visibility=seen)
        found, total = await self._owned.page(call.who, owner, filters, window.skip, window.size)
        counts = await self._versions.count([package.id for package in found])
        documents = Documents(call.base)
        items = [documents.package(package, counts[package.id]) for package in found]
        place = f"{documents.account_url(owner)}/packages"
        asked = {"package_type": query.package_type, "visibility": query.visibility}
        return answer(items, window, total, place, asked)

    async def get(self, call: Call) -> dict[str, Any]:
        """Show a package."""
        package = await self._package(call)
        counts = await self._versions.count([package.id])
        return Documents(call.base).package(package, counts[package.id])

    async def delete(self, call: Call) -> None:
        """Delete a package and all it holds."""
        package = await self._package(call)
        await self._packages.delete(call.who, package.repository)

    async def restore(self, call: Call) -> None:
        """Restore a package, with all that was deleted with it."""
        package = await self._package(call)
        if package.deletion_id is None:
            raise NotFound(f"{package.repository} is not deleted, or can no longer be restored")
        await self._restoration.restore(call.who, package.repository, package.deletion_id)

    async def versions(self, call: Call) -> Response:
        """List the versions of a package, newest first."""
        query: VersionsQuery = call.query
        window, package = Window.of(query), await self._package(call)
        deleted = query.state == "deleted"
        found = await self._versions.list(
            package.id, limit=window.size, skip=window.skip, deleted=deleted
        )
        total = window.skip + len(found)
        if not window.ends_with(len(found)):
            total = await self._count(package, deleted=deleted)
        documents = Documents(call.base)
        items = [documents.version(package, version) for version in found]
        place = f"{documents.package_url(package)}/versions"
        return answer(items, window, total, place, {"state": query.state})

    async def version(self, call: Call) -> dict[str, Any]:
        """Show a version."""
        package = await self._package(call)
        version = await self._version(call, package, deleted=False)
        return Documents(call.base).version(package, version)

    async def delete_version(self, call: Call) -> None:
        """Delete a version, with what exists only because of it."""
        package = await self._package(call)
        version = await self._version(call, package, deleted=False)
        repository = parse_repository(package.repository)
        await self._deletion.delete_manifest(call.who, repository, Digest(version.digest))

    async def restore_version(self, call: Call) -> None:
        """Restore a version, with all that was deleted together with it."""
        package = await self._package(call)
        version = await self._version(call, package, deleted=True)
        if version.deletion_id is None:
            raise RuntimeError("a deleted version belongs to no deletion")
        await self._restoration.restore(call.who, package.repository, version.deletion_id)

    async def conflicts(self, call: Call) -> Sequence[Any]:
        """List nothing: there never was an old Docker registry here to move out of."""
        await self._owner(call)
        return []

    async def _owner(self, call: Call) -> Owner:
        if not self._door.own:
            return await self._owned.owner(call.who, call.values["owner"], self._door.kind)
        owner = await self._owned.caller(call.who)
        if owner.kind != self._door.kind:
            raise Denied(f"{owner.name} is a robot and owns nothing: ask for its owner's packages")
        return owner

    async def _package(self, call: Call) -> PackageFacts:
        """Return the package that was judged. Raises NotFound for one of another format."""
        package_id, name = call.access.package_id, str(call.access.repository)
        if package_id is None:
            package_id = (await self._packages.get(name))["id"]
        package = await self._owned.package(call.who, package_id)
        same = package.owner.kind == self._door.kind
        if not same or package.format != call.values["package_type"]:
            raise NotFound(f"{name} is not known, or you may not see it")
        return package

    async def _version(self, call: Call, package: PackageFacts, *, deleted: bool) -> Version:
        text = call.values["version"]
        found = None
        if text.isascii() and text.isdigit() and len(text) < 19:
            found = await self._versions.find(package.id, int(text), deleted=deleted)
        if found is None:
            state = "deleted version" if deleted else "version"
            raise NotFound(f"{package.repository} has no {state} with the id {text[:40]}")
        return found

    async def _count(self, package: PackageFacts, *, deleted: bool) -> int:
        if deleted:
            return await self._versions.count_deleted(package.id)
        counts = await self._versions.count([package.id])
        return counts[package.id]
