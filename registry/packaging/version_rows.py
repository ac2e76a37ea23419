"""The rows of versions: written once, read for documents and downloads.

A version is live while its manifest is; its row stays for ever.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import ManifestUnknown
from registry.packaging.format import State, StoredFile, VersionFacts
from storage.database import Database, Question, Row, Transaction
from storage.digest import Digest
from storage.names import Tag

_LIVE = "join manifests m on m.id = v.manifest_id and m.deleted_at is null"

FIND_NAMED = """
select v.id, v.name, v.tag, v.digest, v.manifest_id, m.deleted_at, m.deletion_id
from package_versions v left join manifests m on m.id = v.manifest_id
where v.package_id = $1 and (v.name = $2 or v.tag = $3)
order by case when v.name = $2 then 0 else 1 end limit 1
"""
INSERT_VERSION = """
insert into package_versions (package_id, name, tag, order_key, prerelease, digest, manifest_id,
  facts, state, published_at, published_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id
"""
ATTACH_VERSION = (
    "update package_versions set manifest_id = $2, facts = $3, state = $4 where id = $1"
)
INSERT_FILE = """
insert into version_files (version_id, name, media_type, digest, size, md5, sha1, sha512)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
UPSERT_THREE_FRAGMENTS = """
insert into version_fragments (version_id, kind, bytes)
values ($1, $2, $3), ($1, $4, $5), ($1, $6, $7)
on conflict (version_id, kind) do update set bytes = excluded.bytes
"""
UPSERT_FRAGMENT = """
insert into version_fragments (version_id, kind, bytes) values ($1, $2, $3)
on conflict (version_id, kind) do update set bytes = excluded.bytes
"""
LIST_FRAGMENTS = f"""
select v.name, v.published_at, f.bytes from package_versions v {_LIVE}
  join version_fragments f on f.version_id = v.id and f.kind = $2
where v.package_id = $1 order by v.published_at, v.id
"""
# Hidden versions count: they may come back.
SUM_FRAGMENTS = """
select cast(coalesce(sum(length(f.bytes)), 0) as bigint) as bytes from package_versions v
  join version_fragments f on f.version_id = v.id and f.kind = $2
where v.package_id = $1
"""
# Hidden versions count: they are passed by, one by one.
MEASURE_FRAGMENTS = """
select count(*) as versions, cast(coalesce(sum(each.size), 0) as bigint) as bytes,
  (select count(*) from (select t.name from tags t where t.repository_id = $1 limit $4) n) as tags
from (select length(f.bytes) as size from package_versions v
    left join version_fragments f on f.version_id = v.id and f.kind = $2
  where v.package_id = $1 limit $3) each
"""
FIND_FRAGMENT = f"""
select f.bytes from package_versions v {_LIVE}
  join version_fragments f on f.version_id = v.id and f.kind = $3
where v.package_id = $1 and v.name = $2
"""
FIND_ALIASED_FRAGMENT = f"""
select f.bytes from tags t join package_versions v on v.manifest_id = t.manifest_id {_LIVE}
  join version_fragments f on f.version_id = v.id and f.kind = $3
where t.repository_id = $1 and t.name = $2 and t.name <> v.tag
"""
LIST_ALIASES = f"""
select t.name as alias, v.name from tags t
  join package_versions v on v.manifest_id = t.manifest_id {_LIVE}
where t.repository_id = $1 and t.name <> v.tag and substr(t.name, 1, 1) <> '_'
  and substr(t.name, 1, 7) not in ('sha256-', 'sha512-')
order by t.name
"""
FIND_LIVE = f"""
select v.id, v.name, v.tag, v.digest, v.manifest_id, v.facts, v.state, v.published_at,
  a.name as publisher
from package_versions v {_LIVE} left join accounts a on a.id = v.published_by
where v.package_id = $1 and v.name = $2
"""
LIST_FILES = """
select name, media_type, digest, size, md5, sha1, sha512 from version_files
where version_id = $1 order by name
"""
FIND_OF_MANIFEST = f"""
select v.name, v.tag from package_versions v {_LIVE} where v.manifest_id = $1
"""
FIND_TAG_NAMED = "select name from tags where repository_id = $1 and name = $2"
FIND_NEWEST = f"""
select v.id, v.name, v.manifest_id, m.content_id from package_versions v {_LIVE}
where v.package_id = $1 and v.prerelease = $2 order by v.order_key desc limit 1
"""


# The newest tag says when a version came or an alias moved.
FIND_MOMENT = """
select p.revision, p.created_at, p.published_at,
  (select max(t.updated_at) from tags t where t.repository_id = p.id) as tagged_at
from packages p where p.id = $1
"""


FEW, SHORT, FEW_TAGS = 9, 24 * 1024, 19
"""Versions, bytes of their parts and tags up to which a document is small, and read at once."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A package's revision, and when it was made and last changed (µs UTC)."""

    revision: int
    created_at: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A live version's part of a document."""

    version: str
    published_at: int
    bytes: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """What a document is rendered of, all of one moment.

    Fragments are the oldest version's first; `more` has the rows of what else was asked.
    """

    moment: Moment
    fragments: Sequence[Fragment]
    aliases: Mapping[str, str]
    more: Sequence[Sequence[Row]] = ()


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """A version that is there; `publisher` is None for one whose account has no row."""

    id: int
    name: str
    tag: Tag
    digest: Digest
    manifest_id: int
    facts: Mapping[str, Any]
    state: State
    published_at: int
    publisher: str | None
    files: Sequence[StoredFile]


class VersionRows:
    """Reads live versions by their package's id, for callers that were authorized."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def parts(self, package_id: int, kind: str, *more: Question) -> Parts:
        """Return the parts of one kind of document, and what else is asked of the same moment.

        Raises ManifestUnknown for a package that is gone.
        """
        return _parts(await self._database.fetch_all(*_asked(package_id, kind), *more))

    async def few_parts(self, package_id: int, kind: str) -> Parts:
        """Do the same for a package whose parts `are_few`."""
        return _parts(await self._database.fetch_few(*_asked(package_id, kind)))

    async def are_few(self, package_id: int, kind: str) -> bool:
        """Say whether `few_parts` is for a package and the parts of one kind."""
        most = (FEW + 1, FEW_TAGS + 1)
        row = await self._database.fetch_one(MEASURE_FRAGMENTS, package_id, kind, *most)
        if row is None or row["bytes"] > SHORT:
            return False
        few: bool = row["versions"] <= FEW and row["tags"] <= FEW_TAGS
        return few

    async def bytes_of(self, package_id: int, kind: str) -> int:
        """Return the bytes of all versions' parts of one kind of document."""
        row = await self._database.fetch_one(SUM_FRAGMENTS, package_id, kind)
        return 0 if row is None else int(row["bytes"])

    async def fragment(self, package_id: int, version: str, kind: str) -> bytes | None:
        """Return one live version's part of a kind of document."""
        row = await self._database.fetch_one(FIND_FRAGMENT, package_id, version, kind)
        return None if row is None else bytes(row["bytes"])

    async def aliases(self, package_id: int) -> dict[str, str]:
        """Return the tags that are no version's own, in order, each with the version it names."""
        return _aliases(await self._database.fetch(LIST_ALIASES, package_id))

    async def find(self, package_id: int, version: str) -> LiveVersion | None:
        """Return a version by its name."""
        row = await self._database.fetch_one(FIND_LIVE, package_id, version)
        if row is None:
            return None
        files = await self._database.fetch(LIST_FILES, row["id"])
        return LiveVersion(
            id=row["id"],
            name=row["name"],
            tag=Tag(row["tag"]),
            digest=Digest(row["digest"]),
            manifest_id=row["manifest_id"],
            facts=json.loads(row["facts"]),
            state=json.loads(row["state"]),
            published_at=row["published_at"],
            publisher=row["publisher"],
            files=[stored_file(file) for file in files],
        )

    async def newest(self, package_id: int) -> str | None:
        """Return the newest version; a prerelease only where there is nothing else."""
        row = await find_newest(self._database, package_id)
        return None if row is None else row["name"]


def aliased(package_id: int, alias: str, kind: str) -> Question:
    """Ask for the part of a kind of document of the version that an alias names: `bytes`."""
    return FIND_ALIASED_FRAGMENT, package_id, alias, kind


def _asked(package_id: int, kind: str) -> tuple[Question, ...]:
    return (
        (FIND_MOMENT, package_id),
        (LIST_FRAGMENTS, package_id, kind),
        (LIST_ALIASES, package_id),
    )


def _parts(found: Sequence[Sequence[Row]]) -> Parts:
    moment, fragments, aliases, *more = found
    return Parts(
        _moment(moment),
        [Fragment(row["name"], row["published_at"], row["bytes"]) for row in fragments],
        _aliases(aliases),
        more,
    )


def _aliases(rows: Sequence[Row]) -> dict[str, str]:
    return {row["alias"]: row["name"] for row in rows}


def _moment(rows: Sequence[Row]) -> Moment:
    if not rows:
        raise ManifestUnknown("this package was deleted a moment ago")
    row = rows[0]
    began = row["published_at"] or row["created_at"]
    return Moment(row["revision"], began, max(began, row["tagged_at"] or 0))


async def find_newest(tx: Transaction, package_id: int) -> Row | None:
    """Return the newest live version's id, name, manifest_id and content_id."""
    for prerelease in (0, 1):
        row = await tx.fetch_one(FIND_NEWEST, package_id, prerelease)
        if row is not None:
            return row
    return None


async def write_facts(
    tx: Transaction, version_id: int, files: Sequence[StoredFile], fragments: Mapping[str, bytes]
) -> None:
    """Write the files of a new version, and its parts of documents."""
    for file in files:
        hashes = (file.md5, file.sha1, file.sha512)
        named = (file.name, file.media_type, file.digest, file.size)
        await tx.execute(INSERT_FILE, version_id, *named, *hashes)
    await write_fragments(tx, version_id, fragments)


async def write_fragments(tx: Transaction, version_id: int, fragments: Mapping[str, bytes]) -> None:
    """Write a version's parts of documents, in the place of what they were."""
    parts = list(fragments.items())
    while len(parts) >= 3:
        one, two, three = parts[:3]
        await tx.execute(UPSERT_THREE_FRAGMENTS, version_id, *one, *two, *three)
        del parts[:3]
    for kind, data in parts:
        await tx.execute(UPSERT_FRAGMENT, version_id, kind, data)


async def insert_row(
    tx: Transaction,
    package_id: int,
    facts: VersionFacts,
    tag: Tag,
    manifest_id: int,
    digest: Digest,
    state: State,
    at: int,
    by: int | None,
) -> int:
    """Insert a version and return its id."""
    row = await tx.fetch_one(
        INSERT_VERSION,
        package_id,
        facts.version,
        tag,
        facts.order.key,
        int(facts.order.prerelease),
        digest,
        manifest_id,
        to_json(facts.computed),
        to_json(state),
        at,
        by,
    )
    if row is None:
        raise RuntimeError("an insert returned no row")
    version_id: int = row["id"]
    return version_id


def to_json(values: Mapping[str, Any]) -> str:
    """Render what a row keeps as JSON: the same values are the same text."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def stored_file(row: Row) -> StoredFile:
    """Read a file of a version from its row; where its bytes lie is not in it."""
    return StoredFile(
        name=row["name"],
        media_type=row["media_type"],
        digest=Digest(row["digest"]),
        size=row["size"],
        md5=row["md5"],
        sha1=row["sha1"],
        sha512=row["sha512"],
    )
