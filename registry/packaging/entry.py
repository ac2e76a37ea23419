"""What makes a manifest that was kept a version: its rows, or the reason why it cannot be one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from auth.permissions import Access
from auth.principals import Principal
from registry.errors import VersionExists
from registry.packaging.format import (
    Format,
    PublishedVersion,
    State,
    StoredFile,
    VersionFacts,
)
from registry.packaging.release_state import state_of
from registry.packaging.version_rows import (
    ATTACH_VERSION,
    FIND_NAMED,
    SUM_FRAGMENTS,
    insert_row,
    to_json,
    write_facts,
)
from storage.database import Row, Transaction
from storage.digest import Digest
from storage.errors import TooLarge

MAX_JOINED = 64 * 1024 * 1024
"""Bytes of one kind of document about a package: that of some ten thousand versions."""
LOOKED_AT = 64
"""After so many small versions all of a package's are added up: each time would take the longer,
the more there are. So a document may be larger by LOOKED_AT small ones, a sixty-fourth.
"""


async def insert_version(
    tx: Transaction,
    who: Principal,
    package_id: int,
    manifest_id: int,
    digest: Digest,
    adapter: Format,
    package: str,
    facts: VersionFacts,
    files: Sequence[StoredFile],
    at: int,
    parts: Mapping[str, bytes] | None = None,
) -> None:
    """Write a version of the package called `package`, whose manifest was kept.

    One that is back with the bytes it had stays as it was. `parts` are its fragments without a
    state, where they were rendered before. Raises VersionExists for other bytes.
    """
    row = await tx.fetch_one(FIND_NAMED, package_id, facts.version, adapter.tag(facts.version))
    if row is not None and (row["name"], row["digest"]) != (facts.version, digest):
        raise VersionExists(f"{package} {row['name']} has other bytes: {row['digest']}")
    if row is not None and row["manifest_id"] is not None:
        return
    state = await state_of(tx, package_id, facts.version)
    about = (adapter, package, facts, files, at, parts, state)
    if row is None:
        await insert_new(tx, who, package_id, manifest_id, digest, *about)
        return
    version_id, said = row["id"], (to_json(facts.computed), to_json(state))
    await tx.execute(ATTACH_VERSION, version_id, manifest_id, *said)
    await _describe(tx, who, package_id, version_id, *about)


async def insert_new(
    tx: Transaction,
    who: Principal,
    package_id: int,
    manifest_id: int,
    digest: Digest,
    adapter: Format,
    package: str,
    facts: VersionFacts,
    files: Sequence[StoredFile],
    at: int,
    parts: Mapping[str, bytes] | None,
    state: State,
) -> None:
    """Do as `insert_version` does for a version that never was, which has a `state` by now."""
    by, tag = who.account_id or None, adapter.tag(facts.version)
    version_id = await insert_row(tx, package_id, facts, tag, manifest_id, digest, state, at, by)
    about = (adapter, package, facts, files, at, parts, state)
    await _describe(tx, who, package_id, version_id, *about)


async def _describe(
    tx: Transaction,
    who: Principal,
    package_id: int,
    version_id: int,
    adapter: Format,
    package: str,
    facts: VersionFacts,
    files: Sequence[StoredFile],
    at: int,
    parts: Mapping[str, bytes] | None,
    state: State,
) -> None:
    """Write a version's files, and its parts of documents. Raises TooLarge."""
    if parts is None or state:
        parts = adapter.fragments(published(package, facts, files, state, at, who))
    await write_facts(tx, version_id, files, parts)
    largest = max((len(parts[kind]) for kind in adapter.joined), default=0)
    if largest > MAX_JOINED // 4096 or version_id % LOOKED_AT == 0:
        await _require_room(tx, package_id, adapter, package)


async def _require_room(tx: Transaction, package_id: int, adapter: Format, package: str) -> None:
    """Keep documents at a size that is rendered, sent and changed in memory. Raises TooLarge."""
    for kind in adapter.joined:
        row = await tx.fetch_one(SUM_FRAGMENTS, package_id, kind)
        if row is not None and row["bytes"] > MAX_JOINED:
            raise TooLarge(
                f"with this version all versions of {package} would say more than {MAX_JOINED} "
                "bytes of metadata: shorten it, or purge versions that nobody needs"
            )


def published(
    package: str,
    facts: VersionFacts,
    files: Sequence[StoredFile],
    state: State,
    at: int,
    who: Principal,
) -> PublishedVersion:
    """Return what the fragments of a version are rendered from."""
    kept = [replace(file, key="", held=None) for file in files]
    named = (package, facts.version, facts.metadata, facts.computed)
    return PublishedVersion(*named, kept, state, at, who.name if who.account_id else "")


def exists(row: Row, access: Access, package: str, version: str) -> VersionExists:
    """Return the answer for a version that is there, or was; `row` is of FIND_NAMED."""
    detail = {"version": row["name"], "digest": row["digest"]}
    if row["name"] != version:
        said = f"version {row['name']} of {package} has the tag {row['tag']}, as this one would"
    elif row["manifest_id"] is not None and row["deleted_at"] is None:
        said = f"{package} {version} is published, and a version never changes"
    elif row["deletion_id"] is not None and row["deleted_at"]:
        said = (
            f"{package} {version} was deleted, and takes no other bytes: restore it with "
            f"'packhouse package restore {access.repository} --digest {row['digest']}'"
        )
        return VersionExists(f"{said}, or publish another version", detail=detail)
    else:
        said = f"{package} {version} was deleted for good, and its name is never used again"
    return VersionExists(f"{said}: publish another version", detail=detail)
