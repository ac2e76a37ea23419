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
from registry.package_texts import PackageText, read_text
from registry.packaging.formats import Formats
from registry.repositories import record, touch
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import DigestInvalid
from storage.names import RepositoryName, Tag

log = logging.getLogger("packhouse.linking")

FIND_BY_TAG = f"""
with {ACCESS}
select access.*, m.media_type, c.digest, c.size, c.encoding, c.bytes
from access
  left join tags t on t.repository_id = access.package_id and t.name = $5
  left join manifests m on m.id = t.manifest_id and m.deleted_at is null
  left join manifest_contents c on c.id = m.content_id
"""
FIND_BY_DIGEST = f"""
with {ACCESS}
select access.*, m.media_type, c.digest, c.size, c.encoding, c.bytes
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


class ManifestStore:
    """Finds and pushes; every method authorizes its caller."""

    def __init__(
        self,
        database: Database,
        permissions: Permissions,
        linking: Linking,
        formats: Formats,
        clock: Clock,
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._linking = linking
        self._formats = formats
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
        ReservedName, and what judge raises.
        """
        access = await self.require(who, repository)
        algorithm = digest.algorithm if digest is not None else "sha256"
        manifest, found, packed, text = await asyncio.to_thread(
            _read, data, content_type, algorithm, tags
        )
        if digest is not None and found != digest:
            raise DigestInvalid(f"the manifest that came is {found}, not {digest}")
        source = await self._linking.source(access, manifest, data) if tags else None
        at = self._clock()
        push = Push(who, access, manifest, found, len(data), *packed, source, text, at)
        link = await self._database.write(lambda tx: _push(tx, push, tags))
        if link is not None:
            log.info("%s", link.notice)
        return PushedManifest(found, manifest.subject.digest if manifest.subject else None, link)

    async def require(self, who: Principal, repository: RepositoryName) -> Access:
        """Return the caller's right to push. Raises what judge raises, and ReservedName."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        self._formats.check_push(repository)
        return access


def _read(
    data: bytes, content_type: str | None, algorithm: str, tags: Sequence[Tag]
) -> tuple[Manifest, Digest, tuple[int, bytes], PackageText | None]:
    """Parse, hash and pack: a large manifest takes too long for the event loop."""
    manifest = parse_manifest(data, content_type)
    return manifest, Digest.of(data, algorithm), encode(data), read_text(manifest, data, tags)


async def _push(tx: Transaction, push: Push, tags: Sequence[Tag]) -> Link | None:
    repository_id = await touch(tx, push.who, push.access, push.at)
    kept = await push.keep(tx, repository_id)
    await push.tag(tx, repository_id, kept, tags)
    by, said = (push.who, push.access), " ".join(tags)
    await record(tx, "manifest.push", *by, repository_id, push.digest, said, push.at)
    return await push.publish(tx, repository_id) if tags else None


def unknown(repository: RepositoryName, reference: Digest | Tag) -> ManifestUnknown:
    """Return the answer for a tag or digest that is not there."""
    kind = "manifest" if isinstance(reference, Digest) else "tag"
    return ManifestUnknown(
        f"{repository} holds no {kind} {reference}", detail={kind: str(reference)}
    )
