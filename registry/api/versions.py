"""Versions of a package: the manifests that a person would call one."""

from operator import attrgetter

import msgspec

from registry.api.deletions import RestoredContent, show_restored
from registry.api.owners import Time, time_of
from registry.api.packages import PACKAGE
from registry.deletion import Deletion
from registry.manifest_store import unknown
from registry.rest.needs import DELETE_PACKAGE, READ_PACKAGE
from registry.rest.operation import Call, NumberPaging, Operation, Page
from registry.rest.paging import page_by
from registry.restoration import Restoration
from registry.versions import Version, Versions
from storage.clock import rfc3339
from storage.digest import Digest

VERSIONS = PACKAGE + "/versions"
VERSION = VERSIONS + "/{digest}"
PLAN = VERSION + "/deletion"
VERSION_RESTORE = VERSION + "/restore"


class VersionsQuery(NumberPaging, frozen=True):
    """Which page of versions; `deleted` asks for those that can be restored."""

    deleted: bool = False


class PackageVersion(msgspec.Struct, frozen=True):
    """A version. `size` is the bytes of all it is made of, each part counted once.

    `name` is what the packages of a format call it (`1.0.0`), "" for a container's.
    A deleted one has the tags that come back with it.
    """

    name: str
    digest: str
    media_type: str
    artifact_type: str
    size: int
    tags: list[str]
    pushed_by: str | None
    created_at: Time
    updated_at: Time
    deleted_at: Time | None
    restorable_until: Time | None


class DeletionPlan(msgspec.Struct, frozen=True):
    """What would be deleted with a version: itself, and what exists only because of it."""

    digests: list[str]
    tags: list[str]


class VersionsApi:
    """The operations."""

    def __init__(self, versions: Versions, deletion: Deletion, restoration: Restoration) -> None:
        self._versions = versions
        self._deletion = deletion
        self._restoration = restoration

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", VERSIONS, self.list, "List the versions of a package, newest first",
                READ_PACKAGE, answer=Page[PackageVersion], query=VersionsQuery,
            ),
            Operation("GET", VERSION, self.get, "Show a version", READ_PACKAGE, PackageVersion),
            Operation(
                "DELETE", VERSION, self.delete,
                "Delete a version and what exists only because of it; it can be restored",
                DELETE_PACKAGE, status=204,
            ),
            Operation(
                "GET", PLAN, self.plan,
                "Say what deleting a version would delete", DELETE_PACKAGE, DeletionPlan,
            ),
            Operation(
                "POST", VERSION_RESTORE, self.restore,
                "Restore a version, with all that was deleted together with it",
                DELETE_PACKAGE, RestoredContent,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[PackageVersion]:
        """List versions."""
        query: VersionsQuery = call.query
        before = query.after or 2**62
        found = await self._versions.list(
            call.package_id, before, query.n + 1, deleted=query.deleted
        )
        return page_by(found, query.n, attrgetter("id"), _show)

    async def get(self, call: Call) -> PackageVersion:
        """Show a version."""
        return _show(await self._find(call, deleted=False))

    async def delete(self, call: Call) -> None:
        """Delete a version."""
        digest = Digest.parse(call.values["digest"])
        await self._deletion.delete_manifest(call.who, call.access.repository, digest)

    async def plan(self, call: Call) -> DeletionPlan:
        """Say what would be deleted."""
        digest = Digest.parse(call.values["digest"])
        plan = await self._deletion.plan(call.who, call.access.repository, digest)
        return DeletionPlan(list(plan.digests), list(plan.tags))

    async def restore(self, call: Call) -> RestoredContent:
        """Restore a version."""
        version = await self._find(call, deleted=True)
        name = str(call.access.repository)
        if version.deletion_id is None:
            raise RuntimeError("a deleted version belongs to no deletion")
        restored = await self._restoration.restore(call.who, name, version.deletion_id)
        return show_restored(restored)

    async def _find(self, call: Call, *, deleted: bool) -> Version:
        digest = Digest.parse(call.values["digest"])
        version = await self._versions.find(call.package_id, digest, deleted=deleted)
        if version is None:
            raise unknown(call.access.repository, digest)
        return version


def _show(version: Version) -> PackageVersion:
    return PackageVersion(
        name=version.name,
        digest=version.digest,
        media_type=version.media_type,
        artifact_type=version.artifact_type,
        size=version.size,
        tags=list(version.tags),
        pushed_by=version.pushed_by,
        created_at=rfc3339(version.created_at),
        updated_at=rfc3339(version.updated_at),
        deleted_at=time_of(version.deleted_at),
        restorable_until=time_of(version.restorable_until),
    )
