"""Versions whose states change: their parts of documents, rendered before and written with them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auth.permissions import Access
from auth.principals import Principal
from registry.packaging.format import Format, PublishedVersion, State
from registry.packaging.rendering import Moved
from registry.packaging.version_rows import to_json, write_fragments
from registry.repositories import record
from storage.database import Row, Transaction

SET_STATE = """
update package_versions set state = $3
where id = $1 and state = $2 and manifest_id = $4 and facts = $5
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A version's new state, with its parts of documents, which also speak of its facts."""

    version_id: int
    version: str
    manifest_id: int
    facts: str
    before: str
    after: str
    parts: Mapping[str, bytes]


async def change_of(adapter: Format, row: Row, version: PublishedVersion, state: State) -> Change:
    """Render a version, whose row is given, with another state."""
    parts = await asyncio.to_thread(adapter.fragments, replace(version, state=state))
    was = (row["id"], row["name"], row["manifest_id"], row["facts"], row["state"])
    return Change(*was, to_json(state), parts)


async def apply(
    tx: Transaction,
    who: Principal,
    access: Access,
    package_id: int,
    changes: Sequence[Change],
    at: int,
) -> None:
    """Write states and parts of documents. Raises Moved where a version is not as it was read."""
    for change in changes:
        was = (change.version_id, change.before)
        is_still = (change.manifest_id, change.facts)
        if not await tx.execute(SET_STATE, *was, change.after, *is_still):
            raise Moved
        await write_fragments(tx, change.version_id, change.parts)
        said = " ".join(sorted(json.loads(change.after))) or "none"
        await record(tx, "version.state", who, access, package_id, change.version, said, at)
