"""Linking at the first publish: which project a package's own metadata says it belongs to.

Reading list: OCI image-spec annotations.md ("image.source") and config.md ("Labels");
docs/decisions/0015 for what this may give away, and what not.

The first publish is the first manifest under a tag. Reading and parsing happen before its
transaction; inside it stand the rights: a project of the same owner, to which the publisher may
write. Labels are inherited from base images, so such a link never opens a package.
"""

import asyncio
import json
from dataclasses import dataclass

from auth.accounts import OWNER, PROJECT
from auth.permissions import HELD, Access, covered, on
from auth.principals import Principal, Visibility
from auth.projects import HOLD_PROJECT
from auth.sources import parse_source
from registry.manifest_bytes import decode
from registry.manifests import Manifest, annotations
from registry.repositories import record
from storage.blobs import BlobStore, closing
from storage.database import Database, Row, Transaction
from storage.errors import BlobMissing, Invalid

SOURCE = "org.opencontainers.image.source"
CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
MAX_CONFIG = 1024 * 1024
MAX_CHILDREN = 16
"""Manifests of an index that are asked, and no larger than MAX_CHILD bytes."""
MAX_CHILD = 128 * 1024

FIND_CONFIG = """
select b.key, b.size from repository_blobs rb join blobs b on b.id = rb.blob_id
where rb.repository_id = $1 and b.id = (select id from blobs where digest = $2)
  and b.damaged_at is null
"""
FIND_CHILD = """
select c.encoding, c.bytes, c.size, m.media_type from manifests m
  join manifest_contents c on c.id = m.content_id
where m.repository_id = $1 and m.deleted_at is null
  and m.content_id = (select id from manifest_contents where digest = $2)
"""
PUBLISH_PACKAGE = """
update packages set published_at = $2 where id = $1 and published_at is null
returning project_id, own_visibility
"""
FIND_LINKABLE = f"""
select r.id from (
  select s.project_id as id, 0 as rank from project_sources s where s.owner_id = $2 and s.url = $3
  union all
  select q.id, 1 as rank from projects q where q.owner_id = $2 and q.folded_name = $4
    and (exists (select 1 from accounts o where o.id = $2 and o.name = $6)
      or exists (select 1 from owner_aliases y where y.name = $6 and y.account_id = $2))
) named join projects r on r.id = named.id
  left join tokens k on k.id = $5
where r.deleted_at is null and {covered("r.owner_id", "r.id", "0")}
  and (exists (select 1 from accounts u where u.id = $1 and u.is_admin = 1)
    or exists (select 1 from members m cross join grants g where {HELD} and g.role >= 2
      and ({on(OWNER, "r.owner_id")} or {on(PROJECT, "r.id")})))
order by named.rank limit 1
"""
LINK_BY_METADATA = """
update packages set project_id = $2, link_confirmed = 0,
  visibility = case when own_visibility > $3 then cast($3 as smallint) else own_visibility end
where id = $1 and project_id is null
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A source URL as it was written, and where: "annotation" or "label"."""

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Source:
    """A source URL as projects have them.

    If it is a page of ours, `owner` is the name that its owner has or had, and `project` the
    folded name of the project.
    """

    url: str
    where: str
    owner: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that metadata made; `pending` is the visibility that waits for a confirmation."""

    repository: str
    project: str
    pending: Visibility | None

    @property
    def notice(self) -> str:
        """What the publisher is told."""
        said = f"{self.repository} was linked to the project {self.project} by its own metadata"
        if self.pending is None:
            return said
        return (
            f"{said}, and will be {self.pending.name.lower()} like it once "
            f"'packhouse package link {self.repository} {self.project}' confirms that"
        )


class Linking:
    """Reads the source out of what is pushed, before its transaction."""

    def __init__(self, database: Database, store: BlobStore, public_url: str) -> None:
        self._database = database
        self._store = store
        self._base = parse_base(public_url)

    async def source(self, access: Access, manifest: Manifest, data: bytes) -> Source | None:
        """Return the source that a manifest names; None where its package is published already.

        The first that says anything counts: annotation, the children's, then labels. What somebody
        wrote on purpose is not corrected by what a base image brought along.
        """
        if access.published:
            return None
        said = await asyncio.to_thread(_annotation, data)
        if said is None and access.package_id is not None:
            find = self._of_children if manifest.index else self._of_config
            said = await find(access.package_id, manifest)
        return None if said is None else read_source(said, self._base)

    def announced(self, access: Access, text: str) -> Source | None:
        """Return the source that the metadata of a format's package names, as `source` does."""
        if access.published or not text:
            return None
        return read_source(Said(text, "metadata"), self._base)

    async def _of_children(self, package_id: int, manifest: Manifest) -> Said | None:
        children = []
        for member in manifest.members[:MAX_CHILDREN]:
            row = await self._database.fetch_one(FIND_CHILD, package_id, member.digest)
            if row is None or row["size"] > MAX_CHILD:
                continue
            child = await asyncio.to_thread(_read_child, row)
            if child.said is not None:
                return child.said
            children.append(child)
        for child in children:
            said = await self._label(package_id, child.config_type, child.config)
            if said is not None:
                return said
        return None

    async def _of_config(self, package_id: int, manifest: Manifest) -> Said | None:
        for member in manifest.members[:1]:  # the config comes first, if there is one
            if member.where == "config":
                return await self._label(package_id, member.media_type, member.digest)
        return None

    async def _label(self, package_id: int, media_type: str, digest: str) -> Said | None:
        """Read the label in a config, unless it is too large to be an image's."""
        if media_type not in CONFIG_TYPES:
            return None
        row = await self._database.fetch_one(FIND_CONFIG, package_id, digest)
        if row is None or row["size"] > MAX_CONFIG:
            return None
        data = bytearray()
        try:
            async with closing(self._store.read(row["key"], 0, row["size"])) as pieces:
                async for piece in pieces:
                    data += piece
        except BlobMissing:
            return None  # a push is judged by its rows; fsck finds this
        return await asyncio.to_thread(label_of, bytes(data))


async def publish(
    tx: Transaction, who: Principal, access: Access, package_id: int, source: Source | None, at: int
) -> Link | None:
    """Mark a package published, and link it to the project its source names if this is the first.

    A project of the same owner, to which the publisher may write. The owner's default, which an
    unlinked package has, stays the widest it is seen until somebody confirms the link.
    """
    package = await tx.fetch_one(PUBLISH_PACKAGE, package_id, at)
    if package is None or package["project_id"] is not None or source is None:
        return None
    page = (source.project, who.token_id, source.owner)
    found = await tx.fetch_one(FIND_LINKABLE, who.account_id, access.owner_id, source.url, *page)
    project = None if found is None else await tx.fetch_one(HOLD_PROJECT, found["id"])
    if project is None:
        return None
    visibility = Visibility(project["visibility"])
    await tx.execute(LINK_BY_METADATA, package_id, project["id"], visibility)
    pending = visibility if visibility > package["own_visibility"] else None
    path = f"{access.repository.owner}/{project['name']}"
    detail = source.where if pending is None else f"{source.where}, {pending.name.lower()} waits"
    await record(tx, "package.link", who, access, package_id, path, detail, at)
    return Link(str(access.repository), path, pending)


def parse_base(public_url: str) -> str:
    """Return our own host as source URLs name it; "" where it is not configured."""
    return parse_source(f"{public_url}/x").removesuffix("x") if public_url else ""


def read_source(said: Said, base: str) -> Source | None:
    """Return what a manifest says as projects have it; None for what is no source URL."""
    try:
        url = parse_source(said.text)
    except Invalid:
        return None
    path = url.removeprefix(base).split("/") if base and url.startswith(base) else []
    page = path if len(path) == 2 else ("", "")
    return Source(url, said.where, *page)


def label_of(config: bytes) -> Said | None:
    """Return what the labels of an image's config say; None for bytes that are no config."""
    try:
        text = json.loads(config)["config"]["Labels"][SOURCE]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return Said(text, "label") if isinstance(text, str) and text else None


def _annotation(data: bytes) -> Said | None:
    text = annotations(data).get(SOURCE)
    return Said(text, "annotation") if text else None


@dataclass(frozen=True, slots=True)
class _Child:
    """What a manifest of an index says, and where its labels are."""

    said: Said | None
    config_type: str
    config: str


def _read_child(row: Row) -> _Child:
    data = decode(row)
    config = json.loads(data).get("config") or {}
    return _Child(_annotation(data), config.get("mediaType", ""), config.get("digest", ""))
