"""What the push of an admitted manifest does in its transaction, besides keeping the manifest.

`check` comes first, before anything is written, and `record` last, when the tags stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auth.permissions import Access
from auth.principals import Principal
from registry.errors import ManifestInvalid
from registry.manifest_push import Kept, point
from registry.package_texts import PackageText, tidy
from registry.packaging.attached import Growth, list_attached
from registry.packaging.entry import exists, insert_version
from registry.packaging.format import Format, State, StoredFile, VersionFacts
from registry.packaging.release_state import LIST_VERSIONS, remove_replaced
from registry.packaging.rendering import FIND_WHOLE_OF, Moved
from registry.packaging.state_changes import Change, apply
from registry.packaging.version_rows import FIND_NAMED, FIND_TAG_NAMED, to_json
from registry.repositories import record
from storage.database import Transaction
from storage.digest import Digest
from storage.errors import Conflict
from storage.names import Tag


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
class KnownVersion(Admission):
    """A version that is here already, and the aliases it gets; `tagged` is whether by its own tag.

    A tag made from its own digest is none of them: cosign copies what it copies under such a one.
    """

    access: Access
    digest: Digest
    version: str
    own: Tag
    tagged: bool
    aliases: Sequence[Tag]

    @property
    def publishes(self) -> bool:
        """Whether its own tag names it."""
        return self.tagged

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
        for alias in self.aliases:
            other = await tx.fetch_one(FIND_NAMED, package_id, alias, alias)
            if other is not None:
                raise Conflict(f"{alias} is version {other['name']} of this package, for ever")

    async def _check_new(self, tx: Transaction, package_id: int) -> None:
        if self.aliases and not self.tagged:
            raise ManifestInvalid(
                f"version {self.version} is not here yet: push it as {self.own} first, then under "
                "other tags"
            )
        if self.tagged and await tx.fetch_one(FIND_TAG_NAMED, package_id, self.own) is not None:
            raise Conflict(f"{self.own} names another version of this package: remove it first")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion(KnownVersion):
    """A version that was read as if its own client had published it.

    It is one once its own tag names it. `since` is when it was published, `at` when it came;
    `attached` are the referrers that its facts already speak of.
    """

    who: Principal
    adapter: Format
    row_name: str
    package: str
    facts: VersionFacts
    files: Sequence[StoredFile]
    parts: Mapping[str, bytes]
    attached: Sequence[int]
    since: int
    at: int

    @property
    def name(self) -> str | None:
        """The name of the package's row."""
        return self.row_name

    @property
    def text(self) -> PackageText | None:
        """What the version says about the package."""
        return tidy(self.facts.text) if self.tagged else None

    async def record(self, tx: Transaction, package_id: int, kept: Kept) -> None:
        """Make it a version, and the default alias name it where that names nothing.

        Raises Moved where something came that refers to it.
        """
        if not self.tagged:
            return
        known = await tx.fetch_one(FIND_NAMED, package_id, self.version, self.own)
        if known is not None:
            return  # another push of the same bytes was first
        if await list_attached(tx, package_id, self.digest, self.adapter) != self.attached:
            raise Moved
        await insert_version(
            tx, self.who, package_id, kept.manifest_id, self.digest, self.adapter, self.package,
            self.facts, self.files, self.since, self.parts,
        )  # fmt: skip
        said, default = [str(self.digest), *self.aliases], self.adapter.default_alias
        if default and await tx.fetch_one(FIND_TAG_NAMED, package_id, default) is None:
            ids = (kept.manifest_id, kept.content_id)
            await point(tx, self.who, package_id, default, *ids, self.at)
            said.append(default)
        by = (self.who, self.access, package_id)
        await record(tx, "version.publish", *by, self.version, " ".join(said), self.at)


@dataclass(frozen=True, slots=True)
class Attaching(Admission):
    """What may stand in the documents of the version it refers to, `known` if that is here."""

    subject: Digest
    known: bool
    growth: Growth | None = None

    async def check(self, tx: Transaction, package_id: int) -> None:
        """Raises Moved where its version came or went meanwhile."""
        row = await tx.fetch_one(FIND_WHOLE_OF, package_id, self.subject)
        if (row is not None) != self.known:
            raise Moved

    async def record(self, tx: Transaction, _package_id: int, _kept: Kept) -> None:
        """Let documents speak of it. Raises Moved where its version changed meanwhile."""
        if self.growth is not None:
            await self.growth.write(tx)


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
