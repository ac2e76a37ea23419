"""What was deleted in a package, and how it comes back."""

from operator import attrgetter

import msgspec

from registry.api.owners import Time, time_of
from registry.api.packages import PACKAGE
from registry.packages import Packages
from registry.rest.needs import PURGE_PACKAGE, RESTORE_PACKAGE
from registry.rest.operation import Call, NumberPaging, Operation, Page
from registry.rest.paging import page_by
from registry.restoration import ListedDeletion, Restoration, Restored
from storage.clock import rfc3339

DELETIONS = PACKAGE + "/deletions"
DELETION = DELETIONS + "/{id}"
RESTORE = DELETION + "/restore"
PACKAGE_RESTORE = PACKAGE + "/restore"


class ListedPackageDeletion(msgspec.Struct, frozen=True):
    """One deletion, which is undone as one. `what` is a package, a manifest or a tag.

    The times are null for what was purged, and is just being removed.
    """

    id: int
    what: str
    deleted_by: str | None
    deleted_at: Time | None
    restorable_until: Time | None
    manifests: int
    tags: int


class RestoredContent(msgspec.Struct, frozen=True):
    """What came back; `conflicts` says of each tag that did not why."""

    manifests: int
    tags: int
    conflicts: dict[str, str]


class DeletionsApi:
    """The operations."""

    def __init__(self, packages: Packages, restoration: Restoration) -> None:
        self._packages = packages
        self._restoration = restoration

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "POST", PACKAGE_RESTORE, self.restore_package,
                "Restore a package that was deleted as a whole", RESTORE_PACKAGE, RestoredContent,
            ),
            Operation(
                "GET", DELETIONS, self.list, "List what was deleted, oldest first",
                RESTORE_PACKAGE, answer=Page[ListedPackageDeletion], query=NumberPaging,
            ),
            Operation(
                "POST", RESTORE, self.restore, "Undo a deletion",
                RESTORE_PACKAGE, RestoredContent,
            ),
            Operation(
                "DELETE", DELETION, self.purge,
                "Let nobody undo a deletion, and remove the bytes that nothing else needs",
                PURGE_PACKAGE,
                status=204,
            ),
        ]  # fmt: skip

    async def restore_package(self, call: Call) -> RestoredContent:
        """Restore a package."""
        name = str(call.access.repository)
        deletion_id = await self._packages.deletion_of(name)
        return show_restored(await self._restoration.restore(call.who, name, deletion_id))

    async def list(self, call: Call) -> Page[ListedPackageDeletion]:
        """List deletions."""
        paging: NumberPaging = call.query
        found = await self._restoration.list(
            str(call.access.repository), paging.after, paging.n + 1
        )
        return page_by(found, paging.n, attrgetter("id"), _show)

    async def restore(self, call: Call) -> RestoredContent:
        """Undo a deletion."""
        name, deletion_id = str(call.access.repository), call.number("id")
        return show_restored(await self._restoration.restore(call.who, name, deletion_id))

    async def purge(self, call: Call) -> None:
        """End the time in which a deletion can be undone, and remove what it hid."""
        name, deletion_id = str(call.access.repository), call.number("id")
        await self._restoration.purge(call.who, name, deletion_id)


def show_restored(restored: Restored) -> RestoredContent:
    """Return what is shown of what came back."""
    return RestoredContent(restored.manifests, restored.tags, restored.conflicts)


def _show(deletion: ListedDeletion) -> ListedPackageDeletion:
    until = deletion.restorable_until
    return ListedPackageDeletion(
        id=deletion.id,
        what=deletion.reason,
        deleted_by=deletion.deleted_by,
        deleted_at=None if until is None else rfc3339(deletion.deleted_at),
        restorable_until=time_of(until),
        manifests=deletion.manifests,
        tags=deletion.tags,
    )
