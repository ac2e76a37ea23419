"""One push of a manifest, as the steps of a transaction that may run again.

Whoever pushes has locked the repository before: content, manifest, edges, tags, history, link and
words are written together, and a manifest never names what the repository does not hold.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auth.permissions import Access
from auth.principals import Principal
from registry.blobs import LIVE_MEMBERSHIP
from registry.errors import ContentMissing, ManifestInvalid
from registry.linking import Link, Source, publish
from registry.manifests import Descriptor, Manifest
from registry.package_texts import PackageText
from registry.search_terms import describe, follow_visibility
from storage.database import Row, Transaction, Value
from storage.digest import Digest
from storage.names import Tag

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
# Bytes that are there stay as they are: the update is for their id.
KEEP_CONTENT = """
insert into manifest_contents (digest, size, encoding, bytes) values ($1, $2, $3, $4)
on conflict (digest) do update set size = manifest_contents.size returning id
"""
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
UPSERT_TAGS = """
insert into tags (repository_id, name, manifest_id, created_at, updated_at, updated_by)
select cast($1 as bigint), value, cast($3 as bigint), cast($4 as bigint), cast($4 as bigint),
  cast($5 as bigint)
from json_each(cast($2 as text)) where 1 = 1
on conflict (repository_id, name) do update set manifest_id = excluded.manifest_id,
  updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
INSERT_TAG_HISTORIES = """
insert into tag_history (repository_id, name, content_id, changed_by, changed_at)
select cast($1 as bigint), value, cast($3 as bigint), cast($4 as bigint), cast($5 as bigint)
from json_each(cast($2 as text))
"""
INSERT_TAG_HISTORY = """
insert into tag_history (repository_id, name, content_id, changed_by, changed_at)
values ($1, $2, $3, $4, $5)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a manifest that was kept, and of its bytes."""

    manifest_id: int
    content_id: int


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest that was read: `size` bytes, which a row keeps as `encoding` and `kept`."""

    who: Principal
    access: Access
    manifest: Manifest
    digest: Digest
    size: int
    encoding: int
    kept: bytes
    source: Source | None
    text: PackageText | None
    at: int

    async def keep(
        self, tx: Transaction, repository_id: int, held: Mapping[str, int] | None = None
    ) -> Kept:
        """Keep the manifest and what it names: blobs that this transaction holds, if it says which.

        Raises ContentMissing, ManifestInvalid.
        """
        children: list[int] = []
        if held is None:
            blobs, children = await self._resolve(tx, repository_id)
        else:
            blobs = sorted({held[member.digest] for member in self.manifest.members})
        content_id = await _id(tx, KEEP_CONTENT, self.digest, self.size, self.encoding, self.kept)
        manifest_id = await self._insert(tx, repository_id, content_id)
        if blobs:
            ids = json.dumps(blobs)
            await tx.execute(INSERT_BLOB_EDGES, manifest_id, repository_id, ids)
            if held is None:
                await tx.execute(HOLD_BLOBS, repository_id, ids)
        if children:
            await tx.execute(INSERT_CHILD_EDGES, manifest_id, json.dumps(children))
            await tx.execute(HOLD_CHILDREN, json.dumps(children))
        return Kept(manifest_id, content_id)

    async def tag(
        self, tx: Transaction, repository_id: int, kept: Kept, tags: Iterable[Tag]
    ) -> None:
        """Point tags at it, and write that into their history."""
        names, by = list(dict.fromkeys(tags)), self.who.account_id or None
        if names:
            said = (repository_id, json.dumps(names))
            await tx.execute(UPSERT_TAGS, *said, kept.manifest_id, self.at, by)
            await tx.execute(INSERT_TAG_HISTORIES, *said, kept.content_id, by, self.at)

    async def publish(self, tx: Transaction, repository_id: int) -> Link | None:
        """Do what only a manifest under a tag does: link, and let the package be found."""
        if self.text is not None:
            await describe(tx, repository_id, self.text, self.at)
        if self.access.published:
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
        check_members(self.manifest.members, children, blobs)
        child_digests = {row["digest"] for row in children}
        return (
            sorted(row["id"] for row in blobs if row["digest"] not in child_digests),
            sorted(row["id"] for row in children),
        )

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


async def point(
    tx: Transaction,
    who: Principal,
    repository_id: int,
    tag: str,
    manifest_id: int,
    content_id: int,
    at: int,
) -> None:
    """Let a tag name a manifest from now on."""
    by = who.account_id or None
    await tx.execute(UPSERT_TAG, repository_id, tag, manifest_id, at, by)
    await tx.execute(INSERT_TAG_HISTORY, repository_id, tag, content_id, by, at)


async def _id(tx: Transaction, sql: str, *args: Value) -> int:
    row = await tx.fetch_one(sql, *args)
    if row is None:
        raise RuntimeError("a row just written was not found")
    found: int = row["id"]
    return found


def check_members(
    members: Iterable[Descriptor], children: Sequence[Row], blobs: Sequence[Row]
) -> None:
    """Refuse members that are not here, or not as they say. Raises ContentMissing, ManifestInvalid.

    Rows of children have their digest, size and media type, rows of blobs digest and size.
    """
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
