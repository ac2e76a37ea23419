"""What the push of an admitted manifest does in its transaction, besides keeping the manifest.

`check` comes first, before anything is written, and `record` last, when the tags stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auth.permissions import Access
from auth.principals import Principal
from registry.errors import ManifestInvalid
from registry.manifest_push import Kept, point
from registry.package_texts import PackageText
from registry.packaging.format import Format, State, StoredFile, VersionFacts
from registry.packaging.publishing import FIND_TAG_NAMED, exists, insert_version
from registry.packaging.release_state import (
    LIST_VERSIONS,
    Change,
    Moved,
    apply,
    remove_replaced,
)
from registry.packaging.version_rows import FIND_NAMED, to_json
from registry.repositories import record
from storage.database import Transaction
from storage.digest import Digest
from storage.errors import Conflict
from storage.names import Tag

FIND_SUBJECT = """
select m.id from manifests m join manifest_contents c on c.id = m.content_id
where m.repository_id = $1 and m.deleted_at is null and c.digest = $2
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """A manifest that is kept, and makes no version."""

    @property
    def name(self) -> str | None:
        """The name that the package's row has from now on, where this knows it."""
        return None

    @property
    def text(self) -> PackageText | None:
        """What the package is about from now on, where this says it."""
        return None

    @property
    def publishes(self) -> bool:
        """Whether the package is published with it."""
        return False

    async def check(self, tx: Transaction, package_id: int) -> None:
        """Refuse it for what is there, which nobody else changes now."""

    async def record(self, tx: Transaction, package_id: int, kept: Kept) -> None:
        """Write the rows that it makes."""


@dataclass(frozen=True, slots=True)
class Attachment(Admission):
    """What belongs to a manifest that is here; `subject` is None where its tag says to which."""

    access: Access
    subject: Digest | None

    async def check(self, tx: Transaction, package_id: int) -> None:
        """Raises ManifestInvalid."""
        if self.subject is None:
            return
        if await tx.fetch_one(FIND_SUBJECT, package_id, self.subject) is None:
            raise ManifestInvalid(
                f"{self.access.repository} does not hold the subject {self.subject}: push that "
                "first"
            )


@dataclass(frozen=True, slots=True)
class KnownVersion(Admission):
    """A version that is here already: it may get aliases."""

    access: Access
    digest: Digest
    tags: Sequence[Tag]
    version: str
    own: Tag

    @property
    def publishes(self) -> bool:
        """Whether it has a tag."""
        return bool(self.tags)

    async def check(self, tx: Transaction, package_id: int) -> None:
        """Raises VersionExists for other bytes or a deleted version, Conflict, ManifestInvalid."""
        row = await tx.fetch_one(FIND_NAMED, package_id, self.version, self.own)
        if row is not None and (
            (row["name"], row["digest"]) != (self.version, self.digest)
            or row["manifest_id"] is None
            or row["deleted_at"] is not None
        ):
            raise exists(row, self.access, str(self.access.repository), self.version)
        if row is None:
            await self._check_new(tx, package_id)
        for tag in set(self.tags) - {self.own}:
            other = await tx.fetch_one(FIND_NAMED, package_id, tag, tag)
            if other is not None:
                raise Conflict(f"{tag} is version {other['name']} of this package, for ever")

    async def _check_new(self, tx: Transaction, package_id: int) -> None:
        if self.tags and self.own not in self.tags:
            raise ManifestInvalid(
                f"version {self.version} is not here yet: push it as {self.own} first, then under "
                "other tags"
            )
        if self.tags and await tx.fetch_one(FIND_TAG_NAMED, package_id, self.own) is not None:
            raise Conflict(f"{self.own} names another version of this package: remove it first")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion(KnownVersion):
    """A version that was read as if its own client had published it.

    It is one once its own tag names it. `since` is when it was published, `at` when it came.
    """

    who: Principal
    adapter: Format
    row_name: str
    package: str
    facts: VersionFacts
    files: Sequence[StoredFile]
    parts: Mapping[str, bytes]
    since: int
    at: int

    @property
    def name(self) -> str | None:
        """The name of the package's row."""
        return self.row_name

    @property
    def text(self) -> PackageText | None:
        """What the version says about the package."""
        return self.facts.text if self.tags else None

    async def record(self, tx: Transaction, package_id: int, kept: Kept) -> None:
        """Make it a version, and the default alias name it where that names nothing."""
        if self.own not in self.tags:
            return
        known = await tx.fetch_one(FIND_NAMED, package_id, self.version, self.own)
        if known is not None:
            return  # another push of the same bytes was first
        await insert_version(
            tx, self.who, package_id, kept.manifest_id, self.digest, self.adapter, self.package,
            self.facts, self.files, self.since, self.parts,
        )  # fmt: skip
        aliases = [tag for tag in dict.fromkeys(self.tags) if tag != self.own]
        said, default = [str(self.digest), *aliases], self.adapter.default_alias
        if default and await tx.fetch_one(FIND_TAG_NAMED, package_id, default) is None:
            ids = (kept.manifest_id, kept.content_id)
            await point(tx, self.who, package_id, default, *ids, self.at)
            said.append(default)
        by = (self.who, self.access, package_id)
        await record(tx, "version.publish", *by, self.version, " ".join(said), self.at)


@dataclass(frozen=True, slots=True)
class States(Admission):
    """The states of all versions, as another registry has them."""

    who: Principal
    access: Access
    states: Mapping[str, State]
    changes: Sequence[Change]
    at: int

    async def record(self, tx: Transaction, package_id: int, kept: Kept) -> None:
        """Set them. Raises Moved where versions came or changed since they were read."""
        await apply(tx, self.who, self.access, package_id, self.changes, self.at)
        wanted = {version: to_json(state) for version, state in self.states.items()}
        for row in await tx.fetch(LIST_VERSIONS, package_id):
            if row["manifest_id"] is not None and row["state"] != wanted.get(row["name"], "{}"):
                raise Moved
        await remove_replaced(tx, package_id, kept.manifest_id)
