"""Release states: facts of versions that change without changing bytes (deprecated, yanked).

They are rows; the manifest under the tag `_state` is made of them whenever one changes, so that
whoever copies the package's tags takes them along, and its arrival sets them. Parts of documents
are rendered before a transaction, which ends without a trace where others changed states since.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from auth.permissions import Access, Permissions
from auth.principals import Action, Principal
from registry.blobs import Blobs, NewObject, keep
from registry.errors import ManifestUnknown
from registry.manifest_bytes import decode, encode
from registry.manifest_push import Push, point
from registry.manifests import OCI_MANIFEST, Manifest, parse_manifest
from registry.our_tags import STATE_TAG, STATE_TYPE
from registry.packaging.files import Files, held
from registry.packaging.format import Format, State
from registry.packaging.formats import Formats
from registry.packaging.rendering import Moved, Rendering
from registry.packaging.state_changes import Change, apply, change_of
from registry.packaging.state_manifest import (
    EMPTY,
    EMPTY_TYPE,
    kept_states,
    render_states,
)
from registry.packaging.version_rows import to_json
from registry.repositories import lock
from storage.clock import Clock
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import Unavailable
from storage.names import RepositoryName

T = TypeVar("T")

MOST_TRIES = 50
PURGED = 0
"""`deleted_at` of what is past every window."""

LIST_STATES = """
select v.name, v.state from package_versions v
where v.package_id = $1 and v.state <> '{}' order by v.name
"""
LIST_VERSIONS = "select name, state, manifest_id from package_versions where package_id = $1"
FIND_STATE_MANIFEST = """
select m.id, c.digest, c.encoding, c.bytes from tags t
  join manifests m on m.id = t.manifest_id and m.deleted_at is null and m.artifact_type = $3
  join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and t.name = $2
"""
REMOVE_REPLACED = """
update manifests set deleted_at = $4, deletion_id = null
where repository_id = $1 and artifact_type = $2 and id <> $3 and deleted_at is null
  and not exists (select 1 from tags t where t.manifest_id = manifests.id)
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """The states of a package at one moment, and the digest of the manifest that holds them."""

    states: tuple[tuple[str, str], ...]
    digest: str


class ReleaseStates:
    """Sets states; `set` authorizes its caller."""

    def __init__(
        self,
        database: Database,
        files: Files,
        blobs: Blobs,
        permissions: Permissions,
        formats: Formats,
        rendering: Rendering,
        clock: Clock,
    ) -> None:
        self._database = database
        self._files = files
        self._rendering = rendering
        self._blobs = blobs
        self._permissions = permissions
        self._formats = formats
        self._clock = clock

    async def set(
        self, who: Principal, repository: RepositoryName, states: Mapping[str, State]
    ) -> None:
        """Give live versions the states named, in the place of those they had.

        Raises ManifestUnknown, Invalid for a state that is none, Conflict where they are too much
        to travel, ReservedName, and what judge raises.
        """
        access = await self._permissions.require(who, Action.PUSH, repository)
        adapter = self._formats.adapter_of(repository)
        checked = {version: adapter.check_state(state) for version, state in states.items()}
        if access.package_id is None:
            raise ManifestUnknown(f"{repository} has no versions")
        package_id = access.package_id
        await until_still(lambda: self._set(who, access, package_id, adapter, checked))

    async def of(self, package_id: int) -> dict[str, State]:
        """Return the states of the versions that have one, for a caller who was authorized."""
        rows = await self._database.fetch(LIST_STATES, package_id)
        return {row["name"]: json.loads(row["state"]) for row in rows}

    async def changes(
        self, access: Access, adapter: Format, states: Mapping[str, State]
    ) -> Sequence[Change]:
        """Return what has to change for versions to have the states named, and no others one."""
        found: list[Change] = []
        if access.package_id is None:
            return found
        package_id = access.package_id
        for version in await self._database.fetch(LIST_VERSIONS, package_id):
            state = states.get(version["name"], {})
            if version["manifest_id"] is None or version["state"] == to_json(state):
                continue
            row = await self._rendering.named(package_id, version["name"])
            if row is not None:
                whole = await self._rendering.version(access, package_id, adapter, row)
                found.append(await change_of(adapter, row, whole, state))
        return found

    async def _set(
        self,
        who: Principal,
        access: Access,
        package_id: int,
        adapter: Format,
        states: Mapping[str, State],
    ) -> None:
        picture = await picture_of(self._database, package_id)
        changes = []
        for version, state in states.items():
            row = await self._rendering.named(package_id, version)
            if row is None or row["deleted_at"] is not None:
                raise ManifestUnknown(f"{access.repository} has no version {version[:100]!a}")
            if row["state"] != to_json(state):
                whole = await self._rendering.version(access, package_id, adapter, row)
                changes.append(await change_of(adapter, row, whole, state))
        if not changes:
            return
        merged = await self._merged(package_id, picture, states)
        push = await asyncio.to_thread(_push, who, access, adapter, merged, self._clock())
        replaced = await self._blobs.replaceable_key(Digest.of(EMPTY))
        (empty,) = await self._files.keep([held("empty", EMPTY_TYPE, EMPTY)])
        new = NewObject(empty.digest, empty.size, empty.key)
        writing = _Writing(push, package_id, picture, changes, new, replaced)
        try:
            await self._database.write(writing.run)
        except Unavailable:
            raise  # which may come after the commit
        except Exception:
            await self._files.discard([empty])
            raise

    async def _merged(
        self, package_id: int, picture: Picture, states: Mapping[str, State]
    ) -> Mapping[str, State]:
        """Return all states as they are to be: those that wait for their versions stay."""
        rows = await self._database.fetch(LIST_VERSIONS, package_id)
        here = {row["name"] for row in rows}
        waiting = {
            version: state
            for version, state in (await held_states(self._database, package_id)).items()
            if version not in here
        }
        kept = {version: json.loads(state) for version, state in picture.states}
        return {**waiting, **kept, **states}


async def until_still(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try again while others change the same package in between. Raises Unavailable."""
    for _ in range(MOST_TRIES):
        try:
            return await attempt()
        except Moved:
            continue
    raise Unavailable("others are changing this package all the time: try again in a moment")


async def state_of(tx: Transaction, package_id: int, version: str) -> State:
    """Return the state that came before its version did; {} for none."""
    return (await held_states(tx, package_id)).get(version, {})


async def held_states(tx: Transaction, package_id: int) -> Mapping[str, State]:
    """Return the states that the manifest under `_state` holds."""
    row = await tx.fetch_one(FIND_STATE_MANIFEST, package_id, STATE_TAG, STATE_TYPE)
    return {} if row is None else kept_states(decode(row))


async def picture_of(tx: Transaction, package_id: int) -> Picture:
    """Return the states as they are."""
    rows = await tx.fetch(LIST_STATES, package_id)
    held = await tx.fetch_one(FIND_STATE_MANIFEST, package_id, STATE_TAG, STATE_TYPE)
    states = tuple((row["name"], row["state"]) for row in rows)
    return Picture(states, "" if held is None else held["digest"])


async def remove_replaced(tx: Transaction, package_id: int, manifest_id: int) -> None:
    """End what `_state` named before this manifest: it says nothing any more."""
    await tx.execute(REMOVE_REPLACED, package_id, STATE_TYPE, manifest_id, PURGED)


@dataclass(frozen=True, slots=True)
class _Writing:
    """New states as a transaction that may run again."""

    push: Push
    package_id: int
    picture: Picture
    changes: Sequence[Change]
    new: NewObject
    replaced: str | None

    async def run(self, tx: Transaction) -> None:
        push, package_id = self.push, self.package_id
        await lock(tx, package_id)
        if await picture_of(tx, package_id) != self.picture:
            raise Moved
        await apply(tx, push.who, push.access, package_id, self.changes, push.at)
        await keep(tx, package_id, self.new, self.replaced, push.at)
        kept = await push.keep(tx, package_id)
        ids = (kept.manifest_id, kept.content_id)
        await point(tx, push.who, package_id, STATE_TAG, *ids, push.at)
        await remove_replaced(tx, package_id, kept.manifest_id)


def _push(
    who: Principal, access: Access, adapter: Format, states: Mapping[str, State], at: int
) -> Push:
    data = render_states(adapter.name, states)
    manifest: Manifest = parse_manifest(data, OCI_MANIFEST)
    digest = Digest.of(data)
    return Push(who, access, manifest, digest, len(data), *encode(data), None, None, at)
