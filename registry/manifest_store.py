"""Manifests of a repository: found by tag or digest, and pushed.

A push is one transaction: lock the repository, check that everything named is here, then content,
manifest, edges, tags, history and event together.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from auth.permissions import ACCESS, Access, Permissions, question
from auth.principals import Action, Principal, Visibility
from registry.errors import ManifestUnknown
from registry.linking import Link, Linking
from registry.manifest_bytes import decode, encode
from registry.manifest_push import Push
from registry.manifests import Manifest, parse_manifest
from registry.our_tags import is_shown
from registry.package_texts import PackageText, read_text
from registry.packaging.admissions import Admission
from registry.packaging.door import Door
from registry.packaging.formats import Formats
from registry.packaging.release_state import until_still
from registry.repositories import record, touch
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import DigestInvalid
from storage.names import RepositoryName, Tag

log = logging.getLogger("packhouse.linking")

FIND_BY_TAG = f"""
with {ACCESS}
select access.*, m.media_type, m.artifact_type, c.digest, c.size, c.encoding, c.bytes
from access
  left join tags t on t.repository_id = access.package_id and t.name = $5
  left join manifests m on m.id = t.manifest_id and m.deleted_at is null
  left join manifest_contents c on c.id = m.content_id
"""
FIND_BY_DIGEST = f"""
with {ACCESS}
select access.*, m.media_type, m.artifact_type, c.digest, c.size, c.encoding, c.bytes
from access
  left join manifests m on m.repository_id = access.package_id and m.deleted_at is null
    and m.content_id = (select id from manifest_contents where digest = $5)
  left join manifest_contents c on c.id = m.content_id
"""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed, byte for byte."""

    digest: Digest
    media_type: str
    data: bytes
    public: bool


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """What a push made: the digest it is known by, that of its subject, the link to a project."""

    digest: Digest
    subject: Digest | None
    link: Link | None


@dataclass(frozen=True, slots=True)
class _Read:
    """A manifest that came, read; `packed` is how a row keeps its bytes."""

    data: bytes
    manifest: Manifest
    digest: Digest
    packed: tuple[int, bytes]
    text: PackageText | None


class ManifestStore:
    """Finds and pushes; every method authorizes its caller."""

    def __init__(
        self,
        database: Database,
        permissions: Permissions,
        linking: Linking,
        formats: Formats,
        door: Door,
        clock: Clock,
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._linking = linking
        self._formats = formats
        self._door = door
        self._clock = clock

    async def find(
        self, who: Principal, repository: RepositoryName, reference: Digest | Tag
    ) -> StoredManifest:
        """Return a manifest by tag or digest. Raises ManifestUnknown, and what judge raises."""
        sql = FIND_BY_DIGEST if isinstance(reference, Digest) else FIND_BY_TAG
        row = await self._database.fetch_one(sql, *question(who, repository), reference)
        access = self._permissions.judge(row, who, Action.PULL, repository)
        if row is None or access.package_id is None or row["digest"] is None:
            raise unknown(repository, reference)
        if not is_shown(access, reference, row["artifact_type"]):
            raise unknown(repository, reference)
        return StoredManifest(
            digest=Digest(row["digest"]),
            media_type=row["media_type"],
            data=decode(row),
            public=access.visibility is Visibility.PUBLIC,
        )

    async def put(
        self,
        who: Principal,
        repository: RepositoryName,
        digest: Digest | None,
        tags: Sequence[Tag],
        data: bytes,
        content_type: str | None,
    ) -> PushedManifest:
        """Keep a manifest and point `tags` at it; `digest` is the one the client named, if any.

        Raises ManifestInvalid, DigestInvalid, ContentMissing naming each missing descriptor,
        ReservedName, what a format's door raises, and what judge raises.
        """
        access = await self.require(who, repository)
        algorithm = digest.algorithm if digest is not None else "sha256"
        read = await asyncio.to_thread(_read, data, content_type, algorithm, tags)
        if digest is not None and read.digest != digest:
            raise DigestInvalid(f"the manifest that came is {read.digest}, not {digest}")
        link = await until_still(lambda: self._keep(who, access, read, tags))
        if link is not None:
            log.info("%s", link.notice)
        subject = read.manifest.subject
        return PushedManifest(read.digest, subject.digest if subject else None, link)

    async def _keep(
        self, who: Principal, access: Access, read: _Read, tags: Sequence[Tag]
    ) -> Link | None:
        """Do it all in one transaction. Raises Moved where that has to begin anew."""
        manifest, digest, data = read.manifest, read.digest, read.data
        admission = await self._door.admit(who, access, manifest, digest, data, tags)
        text, publishes = read.text, bool(tags)
        if admission is not None:
            text, publishes = admission.text, admission.publishes
        source = await self._linking.source(access, manifest, data) if publishes else None
        if source is None and admission is not None and text is not None:
            source = self._linking.announced(access, text.source)
        at = self._clock()
        push = Push(who, access, manifest, digest, len(data), *read.packed, source, text, at)
        pushing = _Pushing(push, tags, admission, publishes)
        return await self._database.write(pushing.run)

    async def require(self, who: Principal, repository: RepositoryName) -> Access:
        """Return the caller's right to push. Raises what judge raises, and ReservedName."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        self._formats.check_push(repository)
        return access


def _read(data: bytes, content_type: str | None, algorithm: str, tags: Sequence[Tag]) -> _Read:
    """Parse, hash and pack: a large manifest takes too long for the event loop."""
    manifest = parse_manifest(data, content_type)
    digest = Digest.of(data, algorithm)
    return _Read(data, manifest, digest, encode(data), read_text(manifest, data, tags))


@dataclass(frozen=True, slots=True)
class _Pushing:
    """One push as a transaction that may run again."""

    push: Push
    tags: Sequence[Tag]
    admission: Admission | None
    publishes: bool

    async def run(self, tx: Transaction) -> Link | None:
        push, tags, admission = self.push, self.tags, self.admission
        name = None if admission is None else admission.name
        repository_id = await touch(tx, push.who, push.access, push.at, name)
        if admission is not None:
            await admission.check(tx, repository_id)
        kept = await push.keep(tx, repository_id)
        await push.tag(tx, repository_id, kept, tags)
        by, said = (push.who, push.access), " ".join(tags)
        await record(tx, "manifest.push", *by, repository_id, push.digest, said, push.at)
        if admission is not None:
            await admission.record(tx, repository_id, kept)
        return await push.publish(tx, repository_id) if self.publishes else None


def unknown(repository: RepositoryName, reference: Digest | Tag) -> ManifestUnknown:
    """Return the answer for a tag or digest that is not there."""
    kind = "manifest" if isinstance(reference, Digest) else "tag"
    return ManifestUnknown(
        f"{repository} holds no {kind} {reference}", detail={kind: str(reference)}
    )
