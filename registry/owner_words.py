"""What search finds the packages of a renamed owner by: followed after the rename, in chunks.

Names change at once, words a little later: for 100,000 packages they cost three times as much as
the names. How far they are stands in the row of the old name; after a crash the sweep goes on.
"""

from registry.package_deletion import Write
from registry.package_texts import words_of
from registry.retention import CHUNK, ids
from storage.database import Transaction

FIRST = "/"
"""What stands between the owner and the first package: `words_after` of a rename that just was."""

FIND_PENDING = """
select o.id, o.name, y.words_after from owner_aliases y join accounts o on o.id = y.account_id
where y.name = $1 and y.words_after is not null
"""
# scan: those whose words are not done yet, which an index holds alone
LIST_PENDING = """
select name from owner_aliases where words_after is not null order by name limit $1
"""
LIST_NAMED = """
select id, repository from packages where owner_id = $1 and repository > $2 and repository < $3
order by repository limit $4
"""
HOLD_PACKAGES = """
update packages set revision = revision
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_WORD = """
delete from search_terms
where package_id in (select cast(value as bigint) from json_each(cast($1 as text))) and term = $2
  and not exists (
    select 1 from package_texts x join json_each(x.terms) w on w.value = $2
    where x.package_id = search_terms.package_id)
  and exists (
    select 1 from (
      select '/' || replace(replace(replace(p.repository, '.', '/'), '_', '/'), '-', '/') || '/'
        as spaced
      from packages p where p.id = search_terms.package_id) n
    where replace(n.spaced, '/' || cast($2 as text) || '/', '') = n.spaced)
"""
"""Takes a word from packages, but where their name or text holds it."""
INSERT_WORD = """
insert into search_terms (package_id, term, owner_id, visibility)
select p.id, cast($2 as text), p.owner_id, p.visibility from packages p
where p.id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and exists (select 1 from search_terms s where s.package_id = p.id)
on conflict (package_id, term) do nothing
"""
SET_PROGRESS = "update owner_aliases set words_after = $2 where name = $1"


async def follow_words(write: Write, old: str) -> None:
    """Let all packages of who was called `old` be found by their names of now."""

    async def work(tx: Transaction) -> bool:
        return await _follow_some(tx, old)

    while await write(work):
        pass


async def _follow_some(tx: Transaction, old: str) -> bool:
    """Do a chunk; whether more may be left."""
    owner = await tx.fetch_one(FIND_PENDING, old)
    if owner is None:
        return False
    now, after = owner["name"], owner["words_after"]
    found = await tx.fetch(LIST_NAMED, owner["id"], f"{now}{after}", f"{now}0", CHUNK)
    chosen = ids(found)
    await tx.execute(HOLD_PACKAGES, chosen)
    for word in words_of([old]):
        await tx.execute(DELETE_WORD, chosen, word)
    for word in words_of([now]):
        await tx.execute(INSERT_WORD, chosen, word)
    rest = found[-1]["repository"].removeprefix(now) if len(found) == CHUNK else None
    await tx.execute(SET_PROGRESS, old, rest)
    return rest is not None
