"""Finding packages by words: what the caller may see, in pages that cost what is on them.

Every word must be one of the package's; the last may be the beginning of one. The rarest leads: its
index is read in order, and each package found there is checked for the others.

Where few packages have the word that leads, all are read, and the caller's right to each is looked
up; so are the first of many, as many as the caller has roles. Where these do not fill a page, what
the caller may not see is not read: the index begins with the visibility, packages seen by a role on
their owner are read owner by owner, and the others grant by grant. Nothing of what is hidden shows
in counts or pages.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.permissions import HELD, IS_SITE, OPEN, Permissions, covered, on
from auth.principals import Principal, Scope, Visibility
from registry.package_lists import PROJECT_SEEN
from registry.package_texts import words_of
from storage.database import Database, Row, Value
from storage.errors import Invalid

MOST_WORDS = 8
RARE = 300
"""Packages that have a word which is not rare; no more are counted of one visibility."""
_KEY = re.compile(r"([0-9])\.([0-9]{1,18})\.(\w+)")
LAST = "\U0010ffff"
"""Sorts after every character of a word."""

_FROM = """
search_terms s join packages p on p.id = s.package_id
  left join accounts u on u.id = $1 left join tokens k on k.id = $2
"""
_COVERED = covered("p.owner_id", "p.project_id", "p.id")
_MATCHES = """
(s.term, s.package_id) > ($5, $6) and p.deleted_at is null
  and (cast($10 as text) = '' or p.format = $10)
  and not exists (
    select 1 from search_terms x
    where x.package_id = s.package_id and x.term >= $3 and x.term < s.term)
  and not exists (select 1 from json_each(cast($7 as text)) w where not exists (
    select 1 from search_terms x where x.package_id = s.package_id and x.term = w.value))
  and (cast($8 as text) = '' or exists (
    select 1 from search_terms x
    where x.package_id = s.package_id and x.term >= $8 and x.term <= $9))
"""
"""$3 and $4 the first and last term of the word that leads, $5 and $6 what was found last, $7 the
other words, $8 and $9 the bounds of one that is only begun, $10 format, $11 visibility, $12 the
size of a page, $13 owner."""


_TO_LAST = "and s.term <= $4"
_TO_ONE = "and (s.term, s.package_id) <= ($4, $13)"
"""How far the index is read: to the last term, or to one package under $4."""


def _arm(visibility: Visibility, owner: str, seen: str, to: str = _TO_LAST) -> str:
    """Return a page of what has one visibility, in the order of the index."""
    return f"""
select term, package_id from (
  select s.term, s.package_id from {_FROM}
  where s.visibility = {visibility:d} {owner} {to} and {seen} and {_MATCHES}
    and (cast($11 as smallint) < 0 or cast($11 as smallint) = {visibility:d})
  order by s.term, s.package_id limit $12
) of_visibility_{visibility:d}
"""


def _held(kind: int, resource: str, owner: str) -> str:
    """Return what $1 holds grants on by itself, or by its project."""
    return f"""
  select s.term, s.package_id from members m cross join grants g cross join packages p
    cross join search_terms s left join tokens k on k.id = $2
  where {HELD} and {on(kind, resource)} and s.package_id = p.id {owner} and {_COVERED}
    {_TO_LAST} and {_MATCHES} and (cast($11 as smallint) < 0 or p.visibility = $11)
"""


def _found(*arms: str) -> str:
    """Return a page of what the arms find."""
    return f"""
select v.term, p.id, p.repository, p.format, p.visibility, r.name as project, x.title,
  x.description, x.source, x.licenses
from ({" union ".join(arms)}) v join packages p on p.id = v.package_id
  join package_texts x on x.package_id = p.id
  left join accounts u on u.id = $1 left join tokens k on k.id = $2
  left join projects r on r.id = p.project_id and {PROJECT_SEEN}
order by v.term, v.package_id limit $12
"""


def _open(owner: str) -> str:
    of_packages = owner.replace("s.", "p.")
    return _found(
        _arm(Visibility.PUBLIC, owner, OPEN),
        # Nothing internal is open to the anonymous, who would read all of it for that.
        _arm(Visibility.INTERNAL, owner, f"$1 <> 0 and {OPEN} and {_COVERED}"),
        _held(PROJECT, "p.project_id", of_packages),
        _held(PACKAGE, "p.id", of_packages),
    )


def _all(owner: str, seen: str) -> str:
    """Return a page of all that a condition shows; what is public needs none."""
    shown = f"(p.visibility = {Visibility.PUBLIC:d} or ({seen} and {_COVERED}))"
    return _found(*(_arm(each, owner, shown) for each in Visibility))


def _few(owner: str) -> str:
    """Return a page of what the caller sees of the packages up to one, each of them judged."""
    return _found(
        _arm(Visibility.PUBLIC, owner, OPEN, _TO_ONE),
        # The anonymous hold nothing: none of it is read for them.
        _arm(
            Visibility.INTERNAL, owner, f"$1 <> 0 and ({OPEN} or {_HOLDS}) and {_COVERED}", _TO_ONE
        ),
        _arm(Visibility.PRIVATE, owner, f"$1 <> 0 and {_HOLDS} and {_COVERED}", _TO_ONE),
    )


def _count(owner: str) -> str:
    """Return how many packages have a term from $1 to $2, of each visibility up to $3."""
    counts = (
        f"(select count(*) from (select 1 from search_terms s where s.visibility = {each:d}"
        f" {owner} and s.term >= $1 and s.term <= $2 limit $3) of_{each:d})"
        for each in Visibility
    )
    return f"select {' + '.join(counts)} as found"


def _ends(owner: str) -> str:
    """Return where the index was read far enough: $5 packages of one visibility after ($3, $4)."""
    arms = (
        f"select term, package_id from (select s.term, s.package_id from search_terms s"
        f" where s.visibility = {each:d} {owner} and (s.term, s.package_id) > ($3, $4)"
        f" and s.term >= $1 and s.term <= $2 order by s.term, s.package_id limit 1 offset $5)"
        f" of_{each:d}"
        for each in Visibility
    )
    return f"select term, package_id from ({' union all '.join(arms)}) v order by 1, 2 limit 1"


_OF_OWNER = "and s.owner_id = $13"
_ON_OWNER = f"""
exists (select 1 from members m cross join grants g where {HELD} and {on(OWNER, "$13")})
"""
_HOLDS = f"""
exists (select 1 from members m cross join grants g where {HELD} and (
  {on(OWNER, "p.owner_id")} or {on(PROJECT, "p.project_id")} or {on(PACKAGE, "p.id")}))
"""
SEARCH_FEW = _few("")
SEARCH_FEW_OF_OWNER = _few("and s.owner_id = $14")
FIND_END = _ends("")
FIND_END_OF_OWNER = _ends("and s.owner_id = $6")
COUNT_HELD = """
select count(*) as found from (
  select 1 from members m cross join grants g
  where m.user_id = $1 and g.grantee_id = m.group_id limit $2) held
"""
SEARCH_OPEN = _open("")
SEARCH_OPEN_OF_OWNER = _open(_OF_OWNER)
SEARCH_ALL = _all("", IS_SITE)
SEARCH_ALL_OF_OWNER = _all(_OF_OWNER, IS_SITE)
SEARCH_HELD = _all(_OF_OWNER, _ON_OWNER)
LIST_OWNERS = f"""
select distinct g.resource_id as id from members m cross join grants g
where {HELD} and g.resource_kind = {OWNER} and (cast($2 as bigint) = 0 or g.resource_id = $2)
order by g.resource_id
"""
COUNT_TERMS = _count("")
COUNT_TERMS_OF_OWNER = _count("and s.owner_id = $4")
FIND_OWNER = "select id from accounts where name = $1 and kind in ('user', 'organization')"
MOST_JUDGED = 2000
"""Packages of one visibility that are read in the order of the index, at most."""
LAST_ID = 2**62
"""After every package."""
NOBODY = -1
"""An owner that has nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for; `after` is the key of the last one found, "" for the first page."""

    words: str
    owner: str = ""
    format: str = ""
    visibility: Visibility | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: the word that leads, by its number, and what was found last."""

    lead: int
    term: str
    package_id: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """What a package must have: whole words, and one that may be a beginning. Pure."""

    whole: Sequence[str]
    begun: str

    @property
    def count(self) -> int:
        """How many words there are; the one that may be a beginning is the last."""
        return len(self.whole) + 1

    def bounds(self, number: int) -> tuple[str, str]:
        """Return the first and last term that a word stands for."""
        if number < len(self.whole):
            return self.whole[number], self.whole[number]
        return self.begun, self.begun + LAST

    def parameters(self, at: Position) -> tuple[Value, ...]:
        """Return $3 to $9 for a page that begins there."""
        others = [word for number, word in enumerate(self.whole) if number != at.lead]
        begun = ("", "") if at.lead == len(self.whole) else self.bounds(len(self.whole))
        first, last = self.bounds(at.lead)
        return (first, last, at.term, at.package_id, json.dumps(others), *begun)


@dataclass(frozen=True, slots=True)
class Results:
    """A page of packages, and the key of the next one."""

    rows: Sequence[Row]
    next: str | None


class Search:
    """Finds packages; every caller sees what is open to it, and what its roles show it."""

    def __init__(
        self,
        database: Database,
        permissions: Permissions,
        *,
        rare: int = RARE,
        judged: int = MOST_JUDGED,
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._rare = rare
        self._judged = judged

    async def find(self, who: Principal, question: Question, limit: int) -> Results:
        """Return up to `limit` packages by term and age, and no package twice.

        Raises Invalid for no words, too many, or a key that no page ended with.
        """
        words = parse_words(question.words)
        at = parse_key(question.after, words) if question.after else None
        admin = await self._permissions.require_live(who, Scope.READ)
        owner_id = await self._owner(question.owner)
        counts = await self._counts(words, owner_id)
        at = at or rarest(words, counts)
        seen = -1 if question.visibility is None else int(question.visibility)
        page = (
            *(who.asking_id, who.token_id, *words.parameters(at)),
            *(question.format, seen, limit + 1),
        )
        found: list[Row] = []
        if admin:
            found += await self._page(SEARCH_ALL, SEARCH_ALL_OF_OWNER, page, owner_id)
        else:
            end = await self._end(who, words.bounds(at.lead), at, counts[at.lead], owner_id)
            if end is not None:
                few = (SEARCH_FEW, SEARCH_FEW_OF_OWNER)
                found += await self._page(*few, (*page[:3], end[0], *page[4:], end[1]), owner_id)
            if end is None or (end[1] != LAST_ID and len(found) <= limit):
                found += await self._held(who, page, owner_id)
        rows = merge(found)
        more = key_of(rows[limit - 1], at.lead) if len(rows) > limit else None
        return Results(rows[:limit], more)

    async def _end(
        self, who: Principal, bounds: tuple[str, str], at: Position, count: int, owner_id: int
    ) -> tuple[str, int] | None:
        """Return up to where each package is judged, LAST_ID for all; None for none of them.

        Reading so many as the caller has roles costs less than looking at each role.
        """
        if count < self._rare:
            return bounds[1], LAST_ID
        (row,) = await self._database.fetch(COUNT_HELD, who.account_id, self._judged)
        if row["found"] <= self._rare:
            return None
        asked: list[Value] = [*bounds, at.term, at.package_id, row["found"]]
        sql, owner = (FIND_END_OF_OWNER, [owner_id]) if owner_id else (FIND_END, [])
        ends = await self._database.fetch(sql, *asked, *owner)
        return (ends[0]["term"], ends[0]["package_id"]) if ends else (bounds[1], LAST_ID)

    async def _held(self, who: Principal, page: tuple[Value, ...], owner_id: int) -> Sequence[Row]:
        """Return a page of what is open to the caller, and of what each of its roles shows."""
        found = [*await self._page(SEARCH_OPEN, SEARCH_OPEN_OF_OWNER, page, owner_id)]
        for row in await self._database.fetch(LIST_OWNERS, who.account_id, owner_id):
            found += await self._database.fetch(SEARCH_HELD, *page, row["id"])
        return found

    async def _counts(self, words: Words, owner_id: int) -> Sequence[int]:
        """Return how many packages, of an owner or of all, have each word, up to a bound."""
        sql, owner = (COUNT_TERMS_OF_OWNER, [owner_id]) if owner_id else (COUNT_TERMS, [])
        counts = []
        for number in range(words.count):
            row = await self._database.fetch_one(sql, *words.bounds(number), self._rare, *owner)
            counts.append(0 if row is None else row["found"])
        return counts

    async def _owner(self, name: str) -> int:
        """Return an owner's id, 0 for any; one that nobody has finds nothing."""
        if not name:
            return 0
        row = await self._database.fetch_one(FIND_OWNER, name.lower())
        return NOBODY if row is None else row["id"]

    async def _page(
        self, sql: str, of_owner: str, page: tuple[Value, ...], owner_id: int
    ) -> Sequence[Row]:
        if owner_id:
            return await self._database.fetch(of_owner, *page, owner_id)
        return await self._database.fetch(sql, *page)


def parse_words(text: str) -> Words:
    """Read what is searched for. Raises Invalid."""
    words = words_of([text])
    if not words or len(words) > MOST_WORDS:
        raise Invalid(f"search for one to {MOST_WORDS} words, of letters and digits")
    return Words(words[:-1], words[-1])


def rarest(words: Words, counts: Sequence[int]) -> Position:
    """Return the beginning of the word that the fewest packages have, as far as is counted."""
    lead = min(range(words.count), key=lambda number: counts[number])
    return Position(lead, words.bounds(lead)[0])


def parse_key(after: str, words: Words) -> Position:
    """Return where to go on. Raises Invalid."""
    found = _KEY.fullmatch(after)
    if found is not None and int(found[1]) < words.count:
        at = Position(int(found[1]), found[3], int(found[2]))
        first, last = words.bounds(at.lead)
        if first <= at.term <= last:
            return at
    raise Invalid("'after' is not what a page of this search ended with")


def key_of(row: Row, lead: int) -> str:
    """Return the key after which the packages that follow come."""
    return f"{lead}.{row['id']}.{row['term']}"


def merge(rows: Iterable[Row]) -> list[Row]:
    """Bring the pages of several indexes into one order, each package once."""
    found = {(row["term"], row["id"]): row for row in rows}
    return [found[key] for key in sorted(found)]
