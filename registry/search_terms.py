"""The words that packages are found by: written in the transaction of what changes a package.

A package is found once it has a manifest under a tag, and no longer while it is deleted.
"""

import json

from registry.manifest_bytes import decode
from registry.package_texts import PackageText, text_of, words_json
from registry.retention import CHUNK, HOLD_PACKAGE
from storage.database import Database, Row, Transaction, Work

FIND_TEXT = """
select x.title, x.description, x.source, x.licenses, x.terms,
  (select count(*) from (select 1 from search_terms s where s.package_id = $1 limit 1) f) as found
from package_texts x where x.package_id = $1
"""
UPSERT_TEXT = """
insert into package_texts (package_id, title, description, source, licenses, terms, updated_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (package_id) do update set title = excluded.title,
  description = excluded.description, source = excluded.source, licenses = excluded.licenses,
  terms = excluded.terms, updated_at = excluded.updated_at
"""
FIND_INDEXED = """
select p.repository, p.owner_id, p.visibility, p.deleted_at, x.terms
from packages p join package_texts x on x.package_id = p.id where p.id = $1
"""
DELETE_TERMS = "delete from search_terms where package_id = $1"
INSERT_TERMS = """
insert into search_terms (package_id, term, owner_id, visibility)
select cast($1 as bigint), value, cast($2 as bigint), cast($3 as smallint)
from json_each(cast($4 as text))
"""
FOLLOW_VISIBILITY = """
update search_terms set visibility = (select p.visibility from packages p where p.id = $1)
where package_id = $1
"""
# scan: once at each start, for what came before there was a search
LIST_UNREAD = """
select p.id from packages p
where p.id > $1 and p.published_at is not null
  and not exists (select 1 from package_texts x where x.package_id = p.id)
order by p.id limit $2
"""
FIND_NEWEST = """
select c.encoding, c.bytes from tags t
  join manifests m on m.id = t.manifest_id and m.subject is null
  join manifest_contents c on c.id = m.content_id
where t.repository_id = $1 and not (t.name >= 'sha256-' and t.name < 'sha256.')
  and not (t.name >= 'sha512-' and t.name < 'sha512.')
order by t.updated_at desc, t.name limit 1
"""


async def describe(tx: Transaction, package_id: int, text: PackageText, at: int) -> None:
    """Keep what a package is about, and its words; most pushes say what was said before."""
    kept, terms = await tx.fetch_one(FIND_TEXT, package_id), json.dumps(text.terms)
    said = (text.title, text.description, text.source, text.licenses)
    if kept is not None and kept["found"] and (*_shown(kept), kept["terms"]) == (*said, terms):
        return
    await tx.execute(UPSERT_TEXT, package_id, *said, terms, at)
    await write_terms(tx, package_id)


async def write_terms(tx: Transaction, package_id: int) -> None:
    """Write a package's words anew: it has another name, or came or went."""
    await tx.execute(DELETE_TERMS, package_id)
    row = await tx.fetch_one(FIND_INDEXED, package_id)
    if row is not None and row["deleted_at"] is None:
        words = words_json(row["repository"], row["terms"])
        await tx.execute(INSERT_TERMS, package_id, row["owner_id"], row["visibility"], words)


async def follow_visibility(tx: Transaction, package_id: int) -> None:
    """Let a package be found by whoever sees it now."""
    await tx.execute(FOLLOW_VISIBILITY, package_id)


async def read_older(database: Database, at: int) -> int:
    """Read the packages that were published before there was a search; return how many.

    A package a transaction: what is pushed meanwhile has the last word.
    """
    count = after = 0
    while page := await database.fetch(LIST_UNREAD, after, CHUNK):
        after = page[-1]["id"]
        for row in page:
            newest = await database.fetch_one(FIND_NEWEST, row["id"])
            text = PackageText() if newest is None else text_of(decode(newest))
            await database.write(_reading(row["id"], text, at))
            count += 1
    return count


def _reading(package_id: int, text: PackageText, at: int) -> Work[None]:
    async def work(tx: Transaction) -> None:
        await tx.execute(HOLD_PACKAGE, package_id)
        if await tx.fetch_one(FIND_TEXT, package_id) is None:
            await describe(tx, package_id, text, at)

    return work


def _shown(row: Row) -> tuple[str, str, str, str]:
    return row["title"], row["description"], row["source"], row["licenses"]
