"""Manifests of a repository: found by tag or digest, and pushed.

A push is one transaction: lock the repository, check that everything named is here, then content,
manifest, edges, tags, history and event together.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auth.permissions import ACCESS, Access, Permissions, question
from auth.principals import Action, Principal, Visibility
from registry.blobs import LIVE_MEMBERSHIP
from registry.errors import ContentMissing, ManifestInvalid, ManifestUnknown
from registry.linking import Link, Linking, Source, publish
from registry.manifest_bytes import decode, encode
from registry.manifests import Descriptor, Manifest, parse_manifest
from registry.package_texts import PackageText, read_text
from registry.repositories import check_container_name, record, touch
from registry.search_terms import describe, follow_visibility
from storage.clock import Clock
from storage.database import Database, Row, Transaction
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
FIND_BLOBS = f"""
select b.id, b.digest, b.size from repository_blobs rb join blobs b on b.id = rb.blob_id
where rb.repository_id = $1 and {LIVE_MEMBERSHIP}
  and b.id in (select id from blobs
    where digest in (select value from json_each(cast($2 as text))))
"""
FIND_MANIFESTS = """
select m.id, c.digest, c.size, m.media_type
from manifests m join manifest_contents c on c.id = m.content_id
where m.repository_id = $1 and m.deleted_at is null
  and m.content_id in (select id from manifest_contents
    where digest in (select value from json_each(cast($2 as text))))
"""
INSERT_CONTENT = """
insert into manifest_contents (digest, size, encoding, bytes) values ($1, $2, $3, $4)
on conflict (digest) do nothing
"""
FIND_CONTENT = "select id from manifest_contents where digest = $1"
UPSERT_MANIFEST = """
insert into manifests (repository_id, content_id, media_type, artifact_type, subject, pushed_by,
  created_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (repository_id, content_id) do update set media_type = excluded.media_type,
  artifact_type = excluded.artifact_type, deleted_at = null, deletion_id = null, orphaned_at = null
returning id
"""
INSERT_BLOB_EDGES = """
insert into manifest_blobs (manifest_id, repository_id, blob_id)
select cast($1 as bigint), cast($2 as bigint), id from blobs
where id in (select cast(value as bigint) from json_each(cast($3 as text)))
on conflict (manifest_id, blob_id) do nothing
"""
INSERT_CHILD_EDGES = """
insert into manifest_children (parent_id, child_id)
select cast($1 as bigint), id from manifests
where id in (select cast(value as bigint) from json_each(cast($2 as text)))
on conflict (parent_id, child_id) do nothing
"""
HOLD_BLOBS = """
update repository_blobs set uploaded_at = null, orphaned_at = null
where repository_id = $1
  and blob_id in (select cast(value as bigint) from json_each(cast($2 as text)))
  and (uploaded_at is not null or orphaned_at is not null)
"""
HOLD_CHILDREN = """
update manifests set orphaned_at = null
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and orphaned_at is not null
"""
UPSERT_TAG = """
insert into tags (repository_id, name, manifest_id, created_at, updated_at, updated_by)
values ($1, $2, $3, $4, $4, $5)
on conflict (repository_id, name) do update set manifest_id = excluded.manifest_id,
  updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
INSERT_TAG_HISTORY = """
insert into tag_history (repository_id, name, content_id, changed_by, changed_at)
values ($1, $2, $3, $4, $5)
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
        self, database: Database, permissions: Permissions, linking: Linking, clock: Clock
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._linking = linking
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
        push = _Push(who, access, manifest, found, tags, len(data), *packed, source, text, at)
        link = await self._database.write(push.run)
        if link is not None:
            log.info("%s", link.notice)
        return PushedManifest(found, manifest.subject.digest if manifest.subject else None, link)

    async def require(self, who: Principal, repository: RepositoryName) -> Access:
        """Return the caller's right to push. Raises what judge raises, and ReservedName."""
        access = await self._permissions.require(who, Action.PUSH, repository)
        check_container_name(repository)
        return access


def _read(
    data: bytes, content_type: str | None, algorithm: str, tags: Sequence[Tag]
) -> tuple[Manifest, Digest, tuple[int, bytes], PackageText | None]:
    """Parse, hash and pack: a large manifest takes too long for the event loop."""
    manifest = parse_manifest(data, content_type)
    return manifest, Digest.of(data, algorithm), encode(data), read_text(manifest, data, tags)


@dataclass(frozen=True, slots=True)
class _Push:
    """One manifest push as a transaction that may run again."""

    who: Principal
    access: Access
    manifest: Manifest
    digest: Digest
    tags: Sequence[Tag]
    size: int
    encoding: int
    kept: bytes
    source: Source | None
    text: PackageText | None
    at: int

    async def run(self, tx: Transaction) -> Link | None:
        repository_id = await touch(tx, self.who, self.access, self.at)
        blobs, children = await self._resolve(tx, repository_id)
        content_id = await self._content(tx)
        manifest_id = await self._insert(tx, repository_id, content_id)
        if blobs:
            ids = json.dumps(blobs)
            await tx.execute(INSERT_BLOB_EDGES, manifest_id, repository_id, ids)
            await tx.execute(HOLD_BLOBS, repository_id, ids)
        if children:
            await tx.execute(INSERT_CHILD_EDGES, manifest_id, json.dumps(children))
            await tx.execute(HOLD_CHILDREN, json.dumps(children))
        by = self.who.account_id or None
        for tag in dict.fromkeys(self.tags):
            await tx.execute(UPSERT_TAG, repository_id, tag, manifest_id, self.at, by)
            await tx.execute(INSERT_TAG_HISTORY, repository_id, tag, content_id, by, self.at)
        await record(
            tx,
            "manifest.push",
            self.who,
            self.access,
            repository_id,
            self.digest,
            " ".join(self.tags),
            self.at,
        )
        return await self._publish(tx, repository_id)

    async def _publish(self, tx: Transaction, repository_id: int) -> Link | None:
        """Do what only a manifest under a tag does: link, and let the package be found."""
        if self.text is not None:
            await describe(tx, repository_id, self.text, self.at)
        if self.access.published or not self.tags:
            return None
        link = await publish(tx, self.who, self.access, repository_id, self.source, self.at)
        if link is not None:
            await follow_visibility(tx, repository_id)
        return link

    async def _resolve(self, tx: Transaction, repository_id: int) -> tuple[list[int], list[int]]:
        """Return the ids of the blobs and child manifests named. Raises ContentMissing."""
        wanted = json.dumps(sorted({member.digest for member in self.manifest.members}))
        children = (
            await tx.fetch(FIND_MANIFESTS, repository_id, wanted) if self.manifest.index else []
        )
        blobs = await tx.fetch(FIND_BLOBS, repository_id, wanted)
        _check_members(self.manifest.members, children, blobs)
        child_digests = {row["digest"] for row in children}
        return (
            sorted(row["id"] for row in blobs if row["digest"] not in child_digests),
            sorted(row["id"] for row in children),
        )

    async def _content(self, tx: Transaction) -> int:
        await tx.execute(INSERT_CONTENT, self.digest, self.size, self.encoding, self.kept)
        return await _id(tx, FIND_CONTENT, self.digest)

    async def _insert(self, tx: Transaction, repository_id: int, content_id: int) -> int:
        return await _id(
            tx,
            UPSERT_MANIFEST,
            repository_id,
            content_id,
            self.manifest.media_type,
            self.manifest.artifact_type,
            self.manifest.subject.digest if self.manifest.subject else None,
            self.who.account_id or None,
            self.at,
        )


async def _id(tx: Transaction, sql: str, *args: str | int | None) -> int:
    row = await tx.fetch_one(sql, *args)
    if row is None:
        raise RuntimeError("a row just written was not found")
    found: int = row["id"]
    return found


def _check_members(
    members: Iterable[Descriptor], children: Sequence[Row], blobs: Sequence[Row]
) -> None:
    sizes = {row["digest"]: row["size"] for row in (*blobs, *children)}
    types = {row["digest"]: row["media_type"] for row in children}
    missing = []
    for member in members:
        size = sizes.get(member.digest)
        if size is None:
            if not member.foreign:
                missing.append(member)
        elif size != member.size:
            raise ManifestInvalid(
                f"{member.where} says {member.size} bytes, but {member.digest} has {size}"
            )
        elif types.get(member.digest, member.media_type) != member.media_type:
            raise ManifestInvalid(
                f"{member.where} says {member.media_type}, but {member.digest} was pushed as "
                f"{types[member.digest]}"
            )
    if missing:
        raise ContentMissing(
            "push these first: " + ", ".join(f"{m.where} {m.digest}" for m in missing[:20]),
            detail=[{"where": m.where, "digest": str(m.digest)} for m in missing[:100]],
        )


def unknown(repository: RepositoryName, reference: Digest | Tag) -> ManifestUnknown:
    """Return the answer for a tag or digest that is not there."""
    kind = "manifest" if isinstance(reference, Digest) else "tag"
    return ManifestUnknown(
        f"{repository} holds no {kind} {reference}", detail={kind: str(reference)}
    )
