"""What arrives by OCI in a format's repository: admitted, or refused with words that say why.

Reading list: OCI distribution-spec, "Pushing Manifests", "Pushing Manifests with Subject".

A manifest of the format's artifact type is a version, which the adapter reads as if its own client
had published it. Anything else belongs to a manifest that is here: it has a subject, or a tag that
is made from a digest. Tags that begin with `_` are ours.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import BinaryIO

from auth.permissions import Access
from auth.principals import Principal, Role
from registry.blobs import LIVE_MEMBERSHIP
from registry.errors import ManifestInvalid
from registry.manifest_push import check_members
from registry.manifests import Descriptor, Manifest
from registry.our_tags import STATE_TAG, STATE_TYPE
from registry.packaging.admissions import Admission, Attaching, KnownVersion, NewVersion, States
from registry.packaging.arrivals import (
    MAX_METADATA,
    Arrival,
    check_said,
    check_tags,
    created_at,
    names_a_digest,
    read_arrival,
    signs,
)
from registry.packaging.artifact import NAME
from registry.packaging.attached import Attached, is_attached
from registry.packaging.entry import published
from registry.packaging.files import Files
from registry.packaging.format import Format, StoredFile, VersionFacts
from registry.packaging.formats import Formats
from registry.packaging.release_state import ReleaseStates
from registry.packaging.single_flight import SingleFlight
from registry.packaging.state_manifest import read_states
from storage.clock import Clock
from storage.database import Database
from storage.digest import Digest
from storage.errors import Denied, Invalid
from storage.names import Tag, component_of

FIND_FILES = f"""
select b.id, b.digest, b.size, b.key from repository_blobs rb join blobs b on b.id = rb.blob_id
where rb.repository_id = $1 and {LIVE_MEMBERSHIP} and b.damaged_at is null
  and b.id in (select id from blobs
    where digest in (select value from json_each(cast($2 as text))))
"""
FIND_PACKAGE_NAME = "select name from packages where id = $1"
FIND_VERSION_OF = """
select v.name, v.tag from manifests m join manifest_contents c on c.id = m.content_id
  join package_versions v on v.manifest_id = m.id
where m.repository_id = $1 and m.deleted_at is null and c.digest = $2
"""

_PIECE = 1024 * 1024
_PIECES = 16


class Door:
    """Judges manifests before they are kept, for callers that were authorized."""

    def __init__(
        self,
        database: Database,
        files: Files,
        formats: Formats,
        states: ReleaseStates,
        attached: Attached,
        clock: Clock,
    ) -> None:
        self._database = database
        self._files = files
        self._formats = formats
        self._states = states
        self._attached = attached
        self._clock = clock
        self._reading: SingleFlight[tuple[VersionFacts, Sequence[StoredFile]]] = SingleFlight()

    async def admit(
        self,
        who: Principal,
        access: Access,
        manifest: Manifest,
        digest: Digest,
        data: bytes,
        tags: Sequence[Tag],
    ) -> Admission | None:
        """Return what a push does besides keeping its manifest; None where that is all.

        Raises ManifestInvalid, VersionExists, ContentMissing, Denied.
        """
        adapter = self._formats.of(access.repository)
        if adapter is None:
            return None
        if manifest.artifact_type == STATE_TYPE:
            return await self._admit_states(who, access, adapter, manifest, data, tags)
        _refuse_ours(tags)
        if manifest.artifact_type in (adapter.artifact_type, adapter.metadata_type):
            return await self._admit_version(who, access, adapter, manifest, digest, data, tags)
        _check_attachment(access, adapter, manifest, tags)
        return await self._admit_attachment(access, adapter, manifest, data)

    async def _admit_attachment(
        self, access: Access, adapter: Format, manifest: Manifest, data: bytes
    ) -> Admission:
        """Take what belongs to another manifest, which may be a version whose documents grow.

        What says nothing true of the version is kept all the same: the types of bundles say not
        what these are about, and what comes before its version cannot be judged yet.
        """
        subject, package_id = manifest.subject, access.package_id
        if subject is None or package_id is None:  # which holds none of its files either
            return Admission()
        if not is_attached(adapter, manifest.artifact_type):
            return Admission()
        row = await self._attached.subject(package_id, subject.digest)
        if row is None:
            return Attaching(subject.digest, known=False)
        growth = await self._attached.growth(access, package_id, adapter, row, data)
        return Attaching(subject.digest, known=True, growth=growth)

    async def _admit_states(
        self,
        who: Principal,
        access: Access,
        adapter: Format,
        manifest: Manifest,
        data: bytes,
        tags: Sequence[Tag],
    ) -> Admission:
        if access.role < Role.ADMIN:
            raise Denied(
                f"{STATE_TAG} sets the state of every version of {access.repository}: who "
                "administers the package pushes it"
            )
        if set(tags) - {STATE_TAG}:
            raise ManifestInvalid(f"states have the tag {STATE_TAG}, and no other")
        states = await asyncio.to_thread(read_states, manifest, data, adapter)
        if not tags:
            return Admission()
        changes = await self._states.changes(access, adapter, states)
        return States(who, access, states, changes, self._clock())

    async def _admit_version(
        self,
        who: Principal,
        access: Access,
        adapter: Format,
        manifest: Manifest,
        digest: Digest,
        data: bytes,
        tags: Sequence[Tag],
    ) -> Admission:
        if digest.algorithm != "sha256":
            raise ManifestInvalid("a version is known by its sha256 digest: push it by that")
        row = await self._database.fetch_one(FIND_VERSION_OF, access.package_id, digest)
        if row is not None:
            own, version = Tag(row["tag"]), row["name"]
            aliases = _aliases(tags, own, digest)
            check_tags(aliases, adapter, version, own)
            return KnownVersion(access, digest, version, own, own in tags, aliases)
        arrival = await asyncio.to_thread(read_arrival, manifest, data, adapter)
        name = await self._name(access, arrival.said)
        package = adapter.package_name(access.repository, name)
        key = (access.package_id, package, digest)
        facts, files = await self._reading.once(
            key, lambda: self._read(access, adapter, package, arrival)
        )
        check_said(arrival.said, adapter, name, facts)
        own, at = adapter.tag(facts.version), self._clock()
        aliases = _aliases(tags, own, digest)
        check_tags(aliases, adapter, facts.version, own)
        # Who may only write could make a version look older than it is: some clients wait with
        # what is new, so that somebody has looked at it.
        since = created_at(arrival.said, at) if access.role >= Role.ADMIN else at
        version = published(package, facts, files, {}, since, who)
        attached, version = await self._attached.joined(access, adapter, digest, version)
        parts = await asyncio.to_thread(adapter.fragments, version)
        return NewVersion(
            access, digest, facts.version, own, own in tags, aliases, who=who, adapter=adapter,
            row_name=name, package=package, facts=replace(facts, computed=version.computed),
            files=files, parts=parts, attached=attached, since=since, at=at,
        )  # fmt: skip

    async def _name(self, access: Access, said: Mapping[str, str]) -> str:
        """Return the name of the package's row: the one it has, or that its repository spells."""
        rest = access.repository.rest
        row = await self._database.fetch_one(FIND_PACKAGE_NAME, access.package_id)
        if row is not None and row["name"] != "/".join(rest):
            name: str = row["name"]
            return name
        spelled = "/".join(rest[1:])
        announced = said.get(NAME, spelled)
        return announced if component_of(announced) == spelled else spelled

    async def _read(
        self, access: Access, adapter: Format, package: str, arrival: Arrival
    ) -> tuple[VersionFacts, Sequence[StoredFile]]:
        """Let the adapter read the files, and hash them with what its clients know."""
        keys = await self._keys(access, [arrival.config, *arrival.files.values()])
        metadata = await self._files.bytes_of(keys[arrival.config.digest], MAX_METADATA)
        async with AsyncExitStack() as stack:
            opened = {
                name: await stack.enter_async_context(self._files.opened(keys[layer.digest]))
                for name, layer in arrival.files.items()
            }
            stored = await _hash(arrival.files, opened)
            try:
                facts = await self._files.read_by(adapter, package, metadata, opened)
                adapter.tag(facts.version)
            except Invalid as error:
                raise ManifestInvalid(error.message) from error
        return facts, stored

    async def _keys(self, access: Access, members: Sequence[Descriptor]) -> Mapping[str, str]:
        """Return where the bytes of what a manifest names lie. Raises ContentMissing."""
        wanted = json.dumps(sorted({member.digest for member in members}))
        rows = await self._database.fetch(FIND_FILES, access.package_id, wanted)
        check_members(members, [], rows)
        return {row["digest"]: row["key"] for row in rows}


def _refuse_ours(tags: Sequence[Tag]) -> None:
    for tag in tags:
        if tag.startswith("_"):
            raise Denied(f"tag {tag} is not yours to set: tags that begin with '_' are made here")


def _aliases(tags: Sequence[Tag], own: Tag, digest: Digest) -> Sequence[Tag]:
    """Return the tags that are neither the version's own nor made from its digest."""
    return [tag for tag in dict.fromkeys(tags) if tag not in (own, digest.fallback_tag)]


def _check_attachment(
    access: Access, adapter: Format, manifest: Manifest, tags: Sequence[Tag]
) -> None:
    """Refuse what belongs to no other manifest. Raises ManifestInvalid.

    The other may come later, as the specification has it: regctl and cosign copy what belongs to a
    manifest before it. So may the tag of a signature: oras copies all by digest first.
    """
    for tag in tags:
        if not names_a_digest(tag):
            raise ManifestInvalid(
                f"only versions of {adapter.name} packages have tags like {tag}: push an artifact "
                f"of the type {adapter.artifact_type}, or one that refers to a version"
            )
    if manifest.subject is None and not tags and not signs(manifest):
        raise ManifestInvalid(
            f"{access.repository} holds {adapter.name} packages: push an artifact of the type "
            f"{adapter.artifact_type}, or one that refers to a version by its subject"
        )


async def _hash(
    layers: Mapping[str, Descriptor], opened: Mapping[str, BinaryIO]
) -> Sequence[StoredFile]:
    """Read each file once through the hashes that package clients know."""
    found = []
    for name, layer in layers.items():
        running = [hashlib.new(word) for word in ("md5", "sha1", "sha512")]
        while await asyncio.to_thread(_update, running, opened[name]):
            pass  # a large file shares the threads with everybody else
        md5, sha1, sha512 = (each.hexdigest() for each in running)
        about = (layer.media_type, layer.digest, layer.size)
        found.append(StoredFile(name, *about, md5, sha1, sha512))
    return found


def _update(running: Sequence["hashlib._Hash"], file: BinaryIO) -> bool:
    """Hash some more of a file; False at its end, where it is wound back."""
    for _ in range(_PIECES):
        piece = file.read(_PIECE)
        if not piece:
            file.seek(0)
            return False
        for each in running:
            each.update(piece)
    return True
