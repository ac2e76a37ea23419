"""Packages: listed, shown, changed, deleted and brought back."""

from typing import Annotated

import msgspec

from auth.principals import Visibility
from registry.api.owners import VISIBILITIES, OwnerName, Time, VisibilityWord, time_of
from registry.package_changes import Change, PackageChanges
from registry.package_lists import Filters, PackageLists
from registry.packages import Packages
from registry.packaging.formats import Formats
from registry.renaming import Renaming
from registry.rest.names import COMPONENT, PROJECT, WORD
from registry.rest.needs import ANYBODY, CHANGE_PACKAGE, DELETE_PACKAGE, READ_PACKAGE, SITE
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_by, page_of
from storage.clock import rfc3339
from storage.database import Row
from storage.names import parse_repository

PACKAGES = "/api/v1/packages"
PACKAGE = PACKAGES + "/{owner}/{package}"
ALIASES = PACKAGE + "/aliases"
ALIAS = "/api/v1/aliases/{owner}/{package}"

Word = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


_PROJECT = f"(?![^/]{{40}}){WORD}/{PROJECT}"
ProjectPath = Annotated[str, msgspec.Meta(pattern=f"^{_PROJECT}$", description="owner/name")]
PackageName = Annotated[
    str, msgspec.Meta(pattern=f"^{COMPONENT}(/{COMPONENT})*$", min_length=1, max_length=215)
]


class PackageQuery(Paging, frozen=True):
    """Which packages, and which page of them. `deleted` ones are those you may restore."""

    owner: OwnerName | None = None
    project: ProjectPath | None = None
    format: Word = ""
    visibility: VisibilityWord | None = None
    deleted: bool = False


class Package(msgspec.Struct, frozen=True):
    """A package. Its `name` begins with its owner's; a project's visibility is its own.

    `true_name` is what the clients of its format call it (`@acme/pad`), "" for a container.
    `unconfirmed` is the visibility it will have once the link to its project is confirmed, by
    setting the project again; metadata alone made that link.
    """

    name: str
    true_name: str
    owner: str
    format: str
    visibility: VisibilityWord
    project: str | None
    unconfirmed: VisibilityWord | None
    created_at: Time
    deleted_at: Time | None


class PackageChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another way; what is absent stays. All of it is done, or nothing.

    `name` (below the owner) and `owner` rename and transfer: the old name goes on answering pulls.
    `project` is `owner/name`; null ends the link.
    """

    owner: OwnerName | msgspec.UnsetType = msgspec.UNSET
    name: PackageName | msgspec.UnsetType = msgspec.UNSET
    project: ProjectPath | msgspec.UnsetType | None = msgspec.UNSET
    visibility: VisibilityWord | msgspec.UnsetType = msgspec.UNSET


class DeletedPackage(msgspec.Struct, frozen=True):
    """What a deletion hid. `complete` is false where a push brought the package back meanwhile."""

    deletion: int
    manifests: int
    tags: int
    complete: bool


class FreedName(msgspec.Struct, frozen=True):
    """A name that is free again, and the package that had it."""

    name: str
    package: str


class PackagesApi:
    """The operations."""

    def __init__(
        self,
        packages: Packages,
        lists: PackageLists,
        changes: PackageChanges,
        renaming: Renaming,
        formats: Formats,
    ) -> None:
        self._packages = packages
        self._lists = lists
        self._changes = changes
        self._renaming = renaming
        self._formats = formats

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", PACKAGES, self.list, "List the packages you may see", ANYBODY,
                answer=Page[Package], query=PackageQuery,
            ),
            Operation("GET", PACKAGE, self.get, "Show a package", READ_PACKAGE, Package),
            Operation(
                "PATCH", PACKAGE, self.change,
                "Rename, transfer, link, open or close a package", CHANGE_PACKAGE,
                answer=Package, body=PackageChange,
            ),
            Operation(
                "DELETE", PACKAGE, self.delete, "Delete a package; it can be restored",
                DELETE_PACKAGE, answer=DeletedPackage,
            ),
            Operation(
                "GET", ALIASES, self.aliases, "List names a package had before",
                READ_PACKAGE, answer=Page[str], query=Paging,
            ),
            Operation(
                "DELETE", ALIAS, self.release,
                "Free a name that a package had before: pulls of it end", SITE, FreedName,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Package]:
        """List packages by name."""
        query: PackageQuery = call.query
        filters = Filters(
            owner=query.owner or "",
            project=query.project or "",
            format=query.format,
            visibility=visibility_of(query.visibility),
            deleted=query.deleted,
        )
        rows = await self._lists.list(call.who, filters, query.after, query.n + 1)
        return page_of(rows, query.n, "repository", self._show)

    async def get(self, call: Call) -> Package:
        """Show a package, by a name that it had before as well."""
        return self._show(await self._lists.find(call.who, call.package_id))

    async def change(self, call: Call) -> Package:
        """Change a package."""
        body, access = await call.read(PackageChange), call.access
        project = body.project or "" if body.project is not msgspec.UNSET else None
        change = Change(
            owner=body.owner if body.owner is not msgspec.UNSET else None,
            name=body.name if body.name is not msgspec.UNSET else None,
            project=project,
            visibility=visibility_of(
                body.visibility if body.visibility is not msgspec.UNSET else None
            ),
        )
        await self._changes.change(call.who, access, change)
        return self._show(await self._lists.find(call.who, call.package_id))

    async def delete(self, call: Call) -> DeletedPackage:
        """Delete a package."""
        done = await self._packages.delete(call.who, str(call.access.repository))
        return DeletedPackage(done.id, done.manifests, done.tags, done.complete)

    async def aliases(self, call: Call) -> Page[str]:
        """List names a package had before."""
        paging: Paging = call.query
        names = await self._renaming.aliases(call.package_id, paging.after, paging.n + 1)
        return page_by(names, paging.n, str, str)

    async def release(self, call: Call) -> FreedName:
        """Free a name."""
        name = f"{call.values['owner'].lower()}/{call.values['package']}"
        return FreedName(name, await self._renaming.release(call.who, name))

    def _show(self, row: Row) -> Package:
        repository = parse_repository(row["repository"])
        return show_package(row, self._formats.true_name(repository, row["name"]))


def visibility_of(word: VisibilityWord | None) -> Visibility | None:
    """Read a visibility."""
    return None if word is None else Visibility[word.upper()]


def show_package(row: Row, true_name: str) -> Package:
    """Return what is shown of a package's row."""
    owner = row["repository"].partition("/")[0]
    pending = row["pending_visibility"]
    return Package(
        name=row["repository"],
        true_name=true_name,
        owner=owner,
        format=row["format"],
        visibility=VISIBILITIES[Visibility(row["visibility"])],
        project=f"{owner}/{row['project']}" if row["project"] else None,
        unconfirmed=None if pending is None else VISIBILITIES[Visibility(pending)],
        created_at=rfc3339(row["created_at"]),
        deleted_at=time_of(row["deleted_at"]),
    )
