"""Publishing a version of a package of any format: bytes first, then one transaction for all rows.

The transaction locks the package, asks whether the version's name is new, and writes blobs,
manifest, tags, version, files, parts of documents, words, link and event together. A name that a
version once had takes no other bytes, and is never published twice.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auth.permissions import Permissions
from auth.principals import Action, Principal
from registry.apart import apart
from registry.blobs import Blobs, NewObject, hold
from registry.linking import Link, Linking
from registry.manifest_bytes import encode
from registry.manifest_push import Push
from registry.manifests import Manifest
from registry.our_tags import STATE_TAG
from registry.package_texts import tidy
from registry.packaging.artifact import manifest_of, render_manifest
from registry.packaging.attachments import Attachment, attach
from registry.packaging.entry import exists, insert_new, published
from registry.packaging.files import Files, held
from registry.packaging.format import Format, PublishedVersion, StoredFile, VersionFacts
from registry.packaging.formats import Formats
from registry.packaging.release_state import state_of
from registry.packaging.state_manifest import EMPTY, EMPTY_TYPE
from registry.packaging.taken import Taken, taken
from registry.repositories import record, touch
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import Conflict, Invalid, PackhouseError, Unavailable
from storage.names import RepositoryName, Tag

log = logging.getLogger("packhouse.linking")


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is there from now on; `link` is the one that its metadata made."""

    version: str
    digest: Digest
    link: Link | None


class Publishing:
    """Publishes; it authorizes its caller."""

    def __init__(
        self,
        database: Database,
        files: Files,
        blobs: Blobs,
        permissions: Permissions,
        linking: Linking,
        formats: Formats,
        clock: Clock,
    ) -> None:
        self._database = database
        self._files = files
        self._blobs = blobs
        self._permissions = permissions
        self._linking = linking
        self._formats = formats
        self._clock = clock

    async def publish(
        self,
        who: Principal,
        repository: RepositoryName,
        name: str,
        facts: VersionFacts,
        files: Sequence[StoredFile],
        aliases: Sequence[Tag] = (),
        attached: Sequence[Attachment] = (),
    ) -> Published:
        """Publish a version of the package that is called `name`, and point aliases at it.

        Whatever goes wrong, all files are then forgotten. Raises VersionExists, Conflict for a
        repository that has another package, Invalid for an alias that is none, ReservedName,
        NoSpace, and what judge raises.
        """
        made = [*files, *(each.file for each in attached)]
        try:
            tagged = (aliases, attached)
            publication = await self._prepare(who, repository, name, facts, files, made, *tagged)
        except BaseException:
            await self._files.discard(made)
            raise
        try:
            link = await self._database.write(publication.run)
        except PackhouseError as error:
            if not isinstance(error, Unavailable):  # which may come after the commit
                await self._files.discard(made)
            raise
        if link is not None:
            log.info("%s", link.notice)
        return Published(facts.version, publication.push.digest, link)

    async def _prepare(
        self,
        who: Principal,
        repository: RepositoryName,
        name: str,
        facts: VersionFacts,
        files: Sequence[StoredFile],
        made: list[StoredFile],
        aliases: Sequence[Tag],
        attached: Sequence[Attachment],
    ) -> "_Publication":
        """Do all that needs no transaction; the config joins what was made, and all is written."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        adapter, at = self._formats.adapter_of(repository), self._clock()
        tags = _Tags(adapter.tag(facts.version), aliases, adapter.default_alias)
        _check(adapter, facts.version, tags, files)
        data = facts.metadata
        config = await apart(len(data), held, "config", adapter.metadata_type, data)
        made.append(config)
        if attached:
            made.append(held("empty", EMPTY_TYPE, EMPTY))
        package = adapter.package_name(repository, name)
        version = published(package, facts, files, {}, at, who)
        read = await apart(len(data), _render, adapter, name, facts, config, version)
        source = await self._linking.source(access, read.manifest, read.data)
        push = Push(
            who, access, read.manifest, read.digest, len(read.data), *read.packed, source,
            tidy(facts.text), at,
        )  # fmt: skip
        made[:] = await self._files.keep(made)
        objects, referrers = await self._objects(made), attach(push, attached)
        return _Publication(
            push, referrers, adapter, name, package, facts, files, objects, tags, read.parts
        )

    async def _objects(self, made: Sequence[StoredFile]) -> list[tuple[NewObject, str | None]]:
        """Return what is to be linked in an order that all agree on, and what each may replace."""
        replaced = await self._blobs.replaceable_keys([file.digest for file in made])
        return [
            (NewObject(file.digest, file.size, file.key), replaced.get(file.digest))
            for file in sorted(made, key=lambda file: file.digest)
        ]


@dataclass(frozen=True, slots=True)
class _Tags:
    """The tag of a version, the aliases that shall name it, and the one that it may get."""

    own: Tag
    aliases: Sequence[Tag]
    default: str


@dataclass(frozen=True, slots=True)
class _Rendered:
    """What was made of a version before its transaction."""

    data: bytes
    manifest: Manifest
    digest: Digest
    packed: tuple[int, bytes]
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Publication:
    """One version as a transaction that may run again."""

    push: Push
    referrers: Sequence[Push]
    adapter: Format
    name: str
    package: str
    facts: VersionFacts
    files: Sequence[StoredFile]
    objects: Sequence[tuple[NewObject, str | None]]
    tags: _Tags
    parts: Mapping[str, bytes]

    async def run(self, tx: Transaction) -> Link | None:
        push, version = self.push, self.facts.version
        package_id = await touch(tx, push.who, push.access, push.at, self.name)
        names = [version, self.tags.own, *self.tags.aliases, self.tags.default, STATE_TAG]
        known = await taken(tx, package_id, names)
        self._require_new(known)
        aliases = self._aliases(known)
        held = await hold(tx, package_id, self.objects, push.at)
        kept = await push.keep(tx, package_id, held)
        await push.tag(tx, package_id, kept, [self.tags.own, *aliases])
        state = await state_of(tx, package_id, version) if STATE_TAG in known.tags else {}
        await insert_new(
            tx, push.who, package_id, kept.manifest_id, push.digest, self.adapter, self.package,
            self.facts, self.files, push.at, self.parts, state,
        )  # fmt: skip
        for referrer in self.referrers:
            await referrer.keep(tx, package_id, held)
        by, said = (push.who, push.access), " ".join([push.digest, *aliases])
        await record(tx, "version.publish", *by, package_id, version, said, push.at)
        return await push.publish(tx, package_id)

    def _require_new(self, known: Taken) -> None:
        own, version = self.tags.own, self.facts.version
        row = known.by(version, own)
        if row is not None:
            raise exists(row, self.push.access, self.package, version)
        if own in known.tags:
            raise Conflict(f"{own} names another version of {self.package}: remove it first")

    def _aliases(self, known: Taken) -> Sequence[Tag]:
        aliases, default = list(self.tags.aliases), self.tags.default
        for alias in aliases:
            row = known.by(alias, alias)
            if row is not None:
                raise Conflict(f"{alias} is version {row['name']} of {self.package}, for ever")
        if default and default not in known.tags:
            aliases.append(Tag(default))
        return list(dict.fromkeys(aliases))


def _check(adapter: Format, version: str, tags: _Tags, files: Sequence[StoredFile]) -> None:
    """Refuse aliases that are none, and files of one name. Raises Invalid."""
    for alias in tags.aliases:
        if not adapter.is_alias(alias):
            raise Invalid(f"{alias!r} is no alias that {adapter.name} packages have")
    if len({file.name for file in files}) < len(files):
        raise Invalid(f"version {version} has two files of one name")


def _render(
    adapter: Format, name: str, facts: VersionFacts, config: StoredFile, version: PublishedVersion
) -> _Rendered:
    data = render_manifest(adapter, name, facts, config, version.files, version.published_at)
    parts = adapter.fragments(version)
    manifest = manifest_of(adapter, config, version.files)
    return _Rendered(data, manifest, Digest.of(data), encode(data), parts)
