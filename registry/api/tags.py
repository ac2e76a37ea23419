"""Tags of a package: which manifest they name, and which they named before."""

from typing import Annotated

import msgspec

from registry.api.owners import Time
from registry.api.packages import PACKAGE
from registry.deletion import Deletion
from registry.manifest_store import unknown
from registry.our_tags import is_shown, shows_all_tags
from registry.packages import Packages
from registry.rest.names import DIGEST
from registry.rest.needs import DELETE_PACKAGE, PUSH_PACKAGE, READ_PACKAGE
from registry.rest.operation import Call, NumberPaging, Operation, Page, Paging
from registry.rest.paging import page_of
from registry.tagging import Tagging
from storage.clock import rfc3339
from storage.database import Row
from storage.digest import Digest
from storage.names import parse_tag

TAGS = PACKAGE + "/tags"
TAG = TAGS + "/{tag}"
HISTORY = TAG + "/history"
CHANGES = PACKAGE + "/history"


class Tag(msgspec.Struct, frozen=True):
    """A tag. `size` is the bytes of the manifest itself."""

    name: str
    digest: str
    size: int
    updated_at: Time


class NewTag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest that a tag is to name: one that the package holds."""

    digest: Annotated[str, msgspec.Meta(pattern=f"^({DIGEST})$")]


class TagChange(msgspec.Struct, frozen=True):
    """What a tag named since `at`; null where it was deleted."""

    tag: str
    digest: str | None
    by: str | None
    at: Time


class ChangePaging(msgspec.Struct, frozen=True):
    """Which page: up to `n` changes after the one that `after` names."""

    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Annotated[
        str, msgspec.Meta(pattern=r"^([0-9]{1,18}\.[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$")
    ] = ""


class TagsApi:
    """The operations."""

    def __init__(self, packages: Packages, tagging: Tagging, deletion: Deletion) -> None:
        self._packages = packages
        self._tagging = tagging
        self._deletion = deletion

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", TAGS, self.list, "List the tags of a package", READ_PACKAGE,
                answer=Page[Tag], query=Paging,
            ),
            Operation("GET", TAG, self.get, "Show a tag", READ_PACKAGE, Tag),
            Operation(
                "PUT", TAG, self.move, "Point a tag at a manifest of the package", PUSH_PACKAGE,
                answer=Tag, body=NewTag,
            ),
            Operation(
                "DELETE", TAG, self.delete, "Delete a tag and nothing else; it can be restored",
                DELETE_PACKAGE, status=204,
            ),
            Operation(
                "GET", HISTORY, self.history, "Say who moved a tag when, newest first",
                READ_PACKAGE, answer=Page[TagChange], query=NumberPaging,
            ),
            Operation(
                "GET", CHANGES, self.changes,
                "Say who moved which tag when: by tag, each newest first", READ_PACKAGE,
                answer=Page[TagChange], query=ChangePaging,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Tag]:
        """List tags by name."""
        paging: Paging = call.query
        asked = (call.package_id, paging.after, paging.n + 1)
        rows = await self._packages.tags(*asked, ours=shows_all_tags(call.access))
        return page_of(rows, paging.n, "name", _show)

    async def get(self, call: Call) -> Tag:
        """Show a tag."""
        return await self._find(call)

    async def move(self, call: Call) -> Tag:
        """Move a tag, as a push of the manifest would."""
        new, tag = await call.read(NewTag), parse_tag(call.values["tag"])
        digest = Digest.parse(new.digest)
        await self._tagging.move(call.who, call.access.repository, tag, digest)
        return await self._find(call)

    async def delete(self, call: Call) -> None:
        """Delete a tag."""
        tag = parse_tag(call.values["tag"])
        await self._deletion.delete_tag(call.who, call.access.repository, tag)

    async def history(self, call: Call) -> Page[TagChange]:
        """Say who moved a tag when."""
        paging, tag = call.query, parse_tag(call.values["tag"])
        if not is_shown(call.access, tag, ""):
            return Page([], None)
        rows = await self._packages.history(
            call.package_id, tag, paging.after or 2**62, paging.n + 1
        )
        return page_of(rows, paging.n, "id", _change)

    async def changes(self, call: Call) -> Page[TagChange]:
        """Say who moved which tag when; those that are gone too."""
        paging: ChangePaging = call.query
        number, _, tag = paging.after.partition(".")
        before = int(number) if paging.after else 2**62
        rows = await self._packages.histories(call.package_id, tag, before, paging.n + 1)
        chosen = rows[: paging.n]
        more = f"{chosen[-1]['id']}.{chosen[-1]['name']}" if len(rows) > paging.n else None
        shown = [row for row in chosen if is_shown(call.access, row["name"], "")]
        return Page([_change(row) for row in shown], more)

    async def _find(self, call: Call) -> Tag:
        tag = parse_tag(call.values["tag"])
        row = await self._packages.tag(call.package_id, tag)
        if row is None or not is_shown(call.access, tag, ""):
            raise unknown(call.access.repository, tag)
        return _show(row)


def _show(row: Row) -> Tag:
    return Tag(row["name"], row["digest"], row["size"], rfc3339(row["updated_at"]))


def _change(row: Row) -> TagChange:
    return TagChange(row["name"], row["digest"], row["account"], rfc3339(row["changed_at"]))
