"""Why something is kept: who holds a blob, a manifest or an object, and until when.

Facts are data with a sentence; times are µs UTC, `until` None where nothing but a deletion ends it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.retention import PURGED, Retention
from storage.clock import SECOND, rfc3339
from storage.database import Database, Row
from storage.digest import Digest
from storage.errors import Invalid

MOST = 1000
"""Holders of each kind that are named."""

_GOING = "purged: gone with the next round of gc"
"""A purge that did not come to its end: its process died, or waited too long for another."""

_KEY = re.compile(r"[0-9a-f]{32,128}")

FIND_BLOB_ROW = """
select id, size, key, created_at, orphaned_at, damaged_at from blobs where digest = $1
"""
LIST_LINKS = """
select p.repository, rb.uploaded_at, rb.orphaned_at,
  case when exists (select 1 from manifest_blobs e where e.repository_id = rb.repository_id
    and e.blob_id = rb.blob_id) then 1 else 0 end as named
from repository_blobs rb join packages p on p.id = rb.repository_id
where rb.blob_id = $1 order by rb.repository_id limit $2
"""
LIST_NAMING_MANIFESTS = """
select p.repository, c.digest, m.id, m.deleted_at, m.deletion_id
from repository_blobs rb
  join manifest_blobs e on e.repository_id = rb.repository_id and e.blob_id = rb.blob_id
  join manifests m on m.id = e.manifest_id
  join manifest_contents c on c.id = m.content_id
  join packages p on p.id = m.repository_id
where rb.blob_id = $1 order by m.id limit $2
"""
LIST_MANIFEST_ROWS = """
select p.repository, m.id, m.subject, m.deleted_at, m.deletion_id
from manifest_contents c
  join manifests m on m.content_id = c.id
  join packages p on p.id = m.repository_id
where c.digest = $1 order by m.id limit $2
"""
LIST_TAG_NAMES = "select name from tags where manifest_id = $1 order by name limit 100"
LIST_PARENT_DIGESTS = """
select c.digest, m.deleted_at from manifest_children e
  join manifests m on m.id = e.parent_id
  join manifest_contents c on c.id = m.content_id
where e.child_id = $1 order by m.id limit 100
"""
# scan: segments live for a day, and a person asks
LIST_HOLDING_UPLOADS = """
select u.id, u.repository, u.updated_at, s.key from upload_segments s
  join uploads u on u.id = s.upload_id
where s.sha256 = $1 or s.sha512 = $1 limit $2
"""
FIND_KEY_IN_BLOBS = "select digest from blobs where key = $1"
FIND_KEY_IN_UPLOADS = """
select u.id, u.repository, u.updated_at, s.key from upload_segments s
  join uploads u on u.id = s.upload_id
where s.key = $1
"""
FIND_KEY_IN_TRASH = "select due_at from trash where store = 0 and key = $1"


@dataclass(frozen=True, slots=True)
class Fact:
    """One holder: its kind, the repository it is in, its name, a sentence, and when it ends."""

    kind: str
    repository: str
    name: str
    text: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that holds one thing; empty when nothing here knows it."""

    subject: str
    facts: Sequence[Fact]


class Explainer:
    """Reads rows and says what they mean; changes nothing."""

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    async def why(self, subject: str) -> Explanation:
        """Explain a digest, or the key of an object. Raises DigestInvalid, Invalid."""
        if ":" not in subject:
            if not _KEY.fullmatch(subject):
                raise Invalid(f"{subject[:100]!a} is neither a digest nor the key of an object")
            return Explanation(subject, await self._key(subject))
        digest = Digest.parse(subject)
        found = [*await self._blob(digest), *await self._manifests(digest)]
        uploads = await self._database.fetch(LIST_HOLDING_UPLOADS, digest, MOST)
        return Explanation(subject, [*found, *(self._upload(row) for row in uploads)])

    async def _blob(self, digest: Digest) -> list[Fact]:
        row = await self._database.fetch_one(FIND_BLOB_ROW, digest)
        if row is None:
            return []
        links = await self._database.fetch(LIST_LINKS, row["id"], MOST)
        named = await self._database.fetch(LIST_NAMING_MANIFESTS, row["id"], MOST)
        return [
            _bytes(row),
            *[await self._naming(manifest) for manifest in named],
            *[self._link(link) for link in links if not link["named"]],
            *([] if links else [self._unlinked(row)]),
        ]

    async def _naming(self, row: Row) -> Fact:
        where = f"manifest {row['digest']} of {row['repository']} names it"
        text, until = await self._state(row)
        return Fact("manifest", row["repository"], row["digest"], f"{where}: {text}", until)

    async def _manifests(self, digest: Digest) -> list[Fact]:
        facts = []
        for row in await self._database.fetch(LIST_MANIFEST_ROWS, digest, MOST):
            text, until = await self._state(row)
            sentence = f"it is a manifest of {row['repository']}: {text}"
            facts.append(Fact("manifest", row["repository"], str(digest), sentence, until))
            facts += await self._parents(row)
        return facts

    async def _parents(self, row: Row) -> list[Fact]:
        found = await self._database.fetch(LIST_PARENT_DIGESTS, row["id"])
        return [
            Fact(
                "index",
                row["repository"],
                parent["digest"],
                f"it is part of the {'live' if parent['deleted_at'] is None else 'deleted'} index "
                f"{parent['digest']} of {row['repository']}",
            )
            for parent in found
        ]

    async def _state(self, manifest: Row) -> tuple[str, int | None]:
        """Say what holds a manifest, and until when."""
        deleted_at = manifest["deleted_at"]
        if deleted_at is None:
            tags = await self._database.fetch(LIST_TAG_NAMES, manifest["id"])
            names = ", ".join(row["name"] for row in tags)
            return (f"live, tagged {names}" if names else "live without a tag: kept"), None
        if deleted_at == PURGED:
            return _GOING, PURGED
        until = deleted_at + self._retention.restore * SECOND
        return (
            f"deleted {rfc3339(deleted_at)} by deletion {manifest['deletion_id']}: can be "
            f"restored until {rfc3339(until)}",
            until,
        )

    def _link(self, link: Row) -> Fact:
        repository = link["repository"]
        if link["orphaned_at"] is None:
            text = f"{repository} links it for nothing: the next sweep sees that"
            return Fact("link", repository, repository, text)
        if link["orphaned_at"] == PURGED:
            return Fact("link", repository, repository, f"{repository} held it: {_GOING}", PURGED)
        until = link["orphaned_at"] + self._retention.grace * SECOND
        how = "was pushed or mounted" if link["uploaded_at"] is not None else "is hidden"
        text = f"it {how} in {repository} and no manifest names it: kept until {rfc3339(until)}"
        return Fact("link", repository, repository, text, until)

    def _unlinked(self, row: Row) -> Fact:
        if row["orphaned_at"] is None:
            return Fact("grace", "", row["key"], "no repository links it: the next sweep sees that")
        if row["orphaned_at"] == PURGED:
            return Fact("grace", "", row["key"], f"no repository links it: {_GOING}", PURGED)
        until = row["orphaned_at"] + self._retention.grace * SECOND
        text = f"no repository links it: its bytes go into the trash after {rfc3339(until)}"
        return Fact("grace", "", row["key"], text, until)

    def _upload(self, row: Row) -> Fact:
        until = row["updated_at"] + self._retention.upload * SECOND
        text = (
            f"an unfinished upload to {row['repository']} holds these bytes in object "
            f"{row['key']}: until {rfc3339(until)}"
        )
        return Fact("upload", row["repository"], row["id"], text, until)

    async def _key(self, key: str) -> list[Fact]:
        facts = []
        if row := await self._database.fetch_one(FIND_KEY_IN_BLOBS, key):
            facts = [Fact("blob", "", row["digest"], f"it holds the bytes of {row['digest']}")]
            facts += (await self.why(row["digest"])).facts
        facts += [self._upload(row) for row in await self._database.fetch(FIND_KEY_IN_UPLOADS, key)]
        if row := await self._database.fetch_one(FIND_KEY_IN_TRASH, key):
            until: int = row["due_at"]
            when = _GOING if until == PURGED else f"removed {rfc3339(until)}"
            facts.append(Fact("trash", "", key, f"it is trash: {when}", until))
        return facts


def _bytes(row: Row) -> Fact:
    text = f"it is a blob of {row['size']} bytes in object {row['key']}"
    if row["damaged_at"] is not None:
        text += f", damaged since {rfc3339(row['damaged_at'])}: pushing it again heals it"
    return Fact("blob", "", row["key"], text)
