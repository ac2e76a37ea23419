"""A full database: 100,000 packages, 20,000 of them with manifests, and a large company's people.

Made once by direct SQL and kept in the cache; every run works on a copy. The rows are what pushes
would have left, so that gc finds nothing to do; the bytes of these blobs are nowhere.
"""

import asyncio
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from auth.signing_keys import make_keys
from storage import migrations
from storage.database import Transaction
from storage.sqlite import SqliteDatabase
from tests.clients.pins import CACHE

USERS = 10_000
OWNERS = 200
TEAMS = 1_000
PACKAGES = 100_000
REPOSITORIES = 20_000
"""Packages with manifests: the first."""
MANIFESTS_EACH = 5
MANIFESTS = REPOSITORIES * MANIFESTS_EACH
MANY_TAGS = 50_000

OWNER = "org-000"
USER = "user-00030"
FEW_USER = "few"
FEW = 50
FEW_ID = f"({USERS + OWNERS + TEAMS} + 1)"
"""A user with a role on FEW packages, spread over those with manifests, and on nothing else."""
TAGGED = f"{OWNER}/many-tags"
"""The repository of MANY_TAGS tags. USER, in two teams as most are, may write to all of OWNER."""

FILLED = CACHE.parent / "benchmarks"
BATCH = 2_000
AT = 1_700_000_000_000_000
"""When all of it was made: microseconds since 1970 UTC."""

# Statements, each with how many numbers n counts to (0: it needs none).
# Ids: users, then owners, then teams; blobs: a config a manifest, a layer a repository, 100 bases.
NUMBERS = """
with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < cast($1 as bigint))
"""
PEOPLE = [
    (
        USERS,
        """insert into accounts (id, kind, name, created_at)
        select i + 1, 'user', printf('user-%05d', i), $2 from n""",
    ),
    (USERS, "insert into members (user_id, group_id, role) select i + 1, i + 1, 3 from n"),
    (
        USERS,
        """insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
        select i + 1, 1, i + 1, 3, $2 from n""",
    ),
    (
        OWNERS,
        f"""insert into accounts (id, kind, name, created_at)
        select {USERS} + i + 1, 'organization', printf('org-%03d', i), $2 from n""",
    ),
    (
        TEAMS,
        f"""insert into accounts (id, kind, name, owner_id, created_at)
        select {USERS + OWNERS} + i + 1, 'team', printf('org-%03d/team-%d', i % {OWNERS}, i),
          {USERS} + i % {OWNERS} + 1, $2 from n""",
    ),
    (  # 20 users a team, and the first 30 users in 60 teams
        TEAMS * 20,
        f"""insert into members (user_id, group_id)
        select (i * 7919) % {USERS - 30} + 31, {USERS + OWNERS} + i / 20 + 1 from n
        where 1 on conflict do nothing""",
    ),
    (
        30 * 60,
        f"""insert into members (user_id, group_id)
        select i / 60 + 1, {USERS + OWNERS} + (i % 60) * {OWNERS // 50} + 1 from n""",
    ),
    (  # the first team writes to the first owner
        1,
        f"""insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
        select {USERS + OWNERS} + 1, 1, {USERS} + 1, 2, $2 from n""",
    ),
]
PLACES = [
    (
        PACKAGES,
        f"""insert into projects (id, owner_id, name, folded_name, created_at)
        select i + 1, {USERS} + i % {OWNERS} + 1, printf('app-%05d', i), printf('app-%05d', i), $2
        from n""",
    ),
    (  # six teams of a project
        PACKAGES * 6,
        f"""insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
        select {USERS + OWNERS} + (i * 31) % {TEAMS} + 1, 2, i / 6 + 1, 1 + i % 2, $2 from n""",
    ),
    (
        PACKAGES,
        f"""insert into packages (id, owner_id, project_id, name, repository, created_at)
        select i + 1, {USERS} + i % {OWNERS} + 1, i + 1, printf('app-%05d', i),
          printf('org-%03d/app-%05d', i % {OWNERS}, i), $2 from n""",
    ),
    (
        1,
        f"""insert into accounts (id, kind, name, created_at)
        select {FEW_ID}, 'user', '{FEW_USER}', $2 from n""",
    ),
    (1, f"insert into members (user_id, group_id, role) select {FEW_ID}, {FEW_ID}, 3 from n"),
    (
        FEW,
        f"""insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
        select {FEW_ID}, 3, i * {REPOSITORIES // FEW} + 1, 1, $2 from n""",
    ),
    (
        1,
        f"""insert into packages (id, owner_id, name, repository, created_at)
        select {PACKAGES} + 1, {USERS} + 1, 'many-tags', '{TAGGED}', $2 from n""",
    ),
]
INSERT_BLOBS = """
insert into blobs (id, digest, size, key, created_at)
select value ->> 0, value ->> 1, 1000, printf('%032x', value ->> 0), $2 from json_each($1)
"""
INSERT_CONTENTS = """
insert into manifest_contents (id, digest, size, bytes)
select value ->> 0, value ->> 1, length(value ->> 2), cast(value ->> 2 as blob) from json_each($1)
"""
_MEDIA_TYPE = "'application/vnd.oci.image.manifest.v1+json'"
_REPOSITORY = f"i / {MANIFESTS_EACH} + 1"
HOLDINGS = [
    (
        MANIFESTS,
        f"""insert into repository_blobs (repository_id, blob_id)
        select {_REPOSITORY}, i + 1 from n""",
    ),
    *(
        (
            REPOSITORIES,
            f"""insert into repository_blobs (repository_id, blob_id)
            select i + 1, {MANIFESTS} + {blob} + 1 from n""",
        )
        for blob in ("i", f"{REPOSITORIES} + i % 100")
    ),
    (
        MANIFESTS,
        f"""insert into manifests (id, repository_id, content_id, media_type, created_at)
        select i + 1, {_REPOSITORY}, i + 1, {_MEDIA_TYPE}, $2 from n""",
    ),
    *(
        (
            MANIFESTS,
            f"""insert into manifest_blobs (manifest_id, repository_id, blob_id)
            select i + 1, {_REPOSITORY}, {blob} + 1 from n""",
        )
        for blob in (
            "i",
            f"{MANIFESTS} + i / {MANIFESTS_EACH}",
            f"{MANIFESTS + REPOSITORIES} + (i / {MANIFESTS_EACH}) % 100",
        )
    ),
    (
        MANIFESTS,
        f"""insert into tags (repository_id, name, manifest_id, created_at, updated_at)
        select {_REPOSITORY}, printf('v%d', i % {MANIFESTS_EACH}), i + 1, $2, $2 from n""",
    ),
    (
        MANIFESTS,
        f"""insert into tag_history (repository_id, name, content_id, changed_at)
        select {_REPOSITORY}, printf('v%d', i % {MANIFESTS_EACH}), i + 1, $2 from n""",
    ),
]
MANY = [
    (
        0,
        f"""insert into repository_blobs (repository_id, blob_id)
        select {PACKAGES} + 1, blob_id from manifest_blobs where manifest_id = 1""",
    ),
    (
        1,
        f"""insert into manifests (id, repository_id, content_id, media_type, created_at)
        select {MANIFESTS} + 1, {PACKAGES} + 1, 1, {_MEDIA_TYPE}, $2 from n""",
    ),
    (
        0,
        f"""insert into manifest_blobs (manifest_id, repository_id, blob_id)
        select {MANIFESTS} + 1, {PACKAGES} + 1, blob_id from manifest_blobs
        where manifest_id = 1""",
    ),
    (
        MANY_TAGS,
        f"""insert into tags (repository_id, name, manifest_id, created_at, updated_at)
        select {PACKAGES} + 1, printf('v%05d', i), {MANIFESTS} + 1, $2, $2 from n""",
    ),
]


def copy_filled(directory: Path) -> None:
    """Put a full database into a data directory, making it first where the cache has none."""
    copy_kept(directory, "filled", version(), lambda made: asyncio.run(_fill(made)))


def copy_kept(directory: Path, kind: str, version: str, make: Callable[[Path], None]) -> None:
    """Copy a database out of the cache, which keeps the newest of each kind."""
    kept = FILLED / f"{kind}-{version}"
    if not kept.is_dir():
        FILLED.mkdir(parents=True, exist_ok=True)
        for old in FILLED.glob(f"{kind}-*"):
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=FILLED, prefix=".partial-") as partial:
            made = Path(partial) / kind
            made.mkdir(mode=0o700)
            make(made)
            made.rename(kept)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in kept.glob("packhouse.db*"):
        shutil.copy2(file, directory)


def keep_few(directory: Path) -> None:
    """Take all packages but FEW_USER's out of a full database, and all that others may do."""
    with closing(sqlite3.connect(directory / "packhouse.db")) as database:
        few = f"(select resource_id from grants where grantee_id = {FEW_ID} and resource_kind = 3)"
        for sql in (
            f"delete from tags where repository_id not in {few}",
            f"delete from tag_history where repository_id not in {few}",
            f"delete from manifest_blobs where repository_id not in {few}",
            f"delete from manifests where repository_id not in {few}",
            f"delete from repository_blobs where repository_id not in {few}",
            f"delete from packages where id not in {few}",
            "delete from grants where resource_kind = 2",
            "delete from projects where id not in (select project_id from packages)",
            "analyze",
        ):
            database.execute(sql)
        database.commit()


def tag(number: int) -> str:
    """The name of a tag of TAGGED."""
    return f"v{number:05}"


def version(*files: str) -> str:
    """Changes with the schema, with this file, and with other ones."""
    paths = map(Path, (__file__, *files))
    parts = [sql for _, sql in migrations.load()] + [path.read_text("utf-8") for path in paths]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


async def _fill(directory: Path) -> None:
    async with await SqliteDatabase.open(directory) as database:
        await database.migrate(migrations.load())
        await database.write(_insert(PEOPLE + PLACES))
        for rows, sql in ((_blobs(), INSERT_BLOBS), (_contents(), INSERT_CONTENTS)):
            while batch := json.dumps(list(islice(rows, BATCH))).removeprefix("[]"):
                await database.write(lambda tx, sql=sql, batch=batch: tx.execute(sql, batch, AT))
        await database.write(_insert(HOLDINGS + MANY))
        await database.write(lambda tx: make_keys(tx, AT))


def _insert(steps: list[tuple[int, str]]) -> Any:
    async def work(tx: Transaction) -> None:
        for count, sql in steps:
            if count:
                times = [AT] if "$2" in sql else []
                await tx.execute(NUMBERS + sql, count, *times)
            else:
                await tx.execute(sql)

    return work


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob_digest(number: int) -> str:
    return _digest(b"benchmark blob %d" % number)


def _blobs() -> Iterator[tuple[int, str]]:
    for number in range(MANIFESTS + REPOSITORIES + 100):
        yield number + 1, _blob_digest(number)


def _contents() -> Iterator[tuple[int, str, str]]:
    for number in range(MANIFESTS):
        repository = number // MANIFESTS_EACH
        layers = (MANIFESTS + REPOSITORIES + repository % 100, MANIFESTS + repository)
        text = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": _descriptor("config.v1+json", number),
                "layers": [_descriptor("layer.v1.tar+gzip", layer) for layer in layers],
            }
        )
        yield number + 1, _digest(text.encode()), text


def _descriptor(kind: str, blob: int) -> dict[str, Any]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": _blob_digest(blob),
        "size": 1000,
    }
