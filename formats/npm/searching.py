"""`npm search`: packages that the caller may see, as npm and pnpm print them.

Reading list: npm's registry documentation, REGISTRY-API.md, "GET /-/v1/search"; libnpmsearch; npm's
lib/utils/format-search-stream.js, which fails on a package without `maintainers`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from auth.principals import Principal
from formats.npm.findings import Finding
from formats.npm.fragments import FULL
from formats.npm.json_bodies import answer
from formats.npm.names import FORMAT
from formats.npm.questions import Wanted, parse_question
from registry.package_lists import Filters, PackageLists
from registry.packaging.summaries import Summaries
from registry.packaging.surface import Call, Route
from registry.rest.needs import ANYBODY
from registry.search import Question, Search
from storage.errors import Invalid

USUAL, LARGEST = 20, 250
"""Packages of an answer: where the client does not say, and at most."""
FARTHEST = 1000
"""Where an answer may begin: each is found anew from the first."""
MOST_LOOKED_AT = 2000
"""Packages that are looked at for one answer; only what no index knows needs so many."""
LATEST = "latest"


class Searching:
    """Answers searches."""

    def __init__(self, search: Search, lists: PackageLists, summaries: Summaries) -> None:
        self._search = search
        self._lists = lists
        self._summaries = summaries

    def routes(self) -> list[Route]:
        """Return the route of searches."""
        return [Route("GET", "/-/v1/search", self.find, ANYBODY)]

    async def find(self, call: Call) -> Response:
        """GET /-/v1/search?text=&size=&from=: `total` is at least how many there are."""
        wanted = parse_question(call.text("text"))
        skip, size = call.number("from") or 0, call.number("size")
        if skip > FARTHEST:
            raise Invalid(f"a search goes on to the {FARTHEST}th package: say more words")
        size = USUAL if size is None else min(size, LARGEST)
        found = await self._find(call.who, wanted, skip + size + 1) if size else []
        objects = [each.render() for each in found[skip : skip + size]]
        return answer({"objects": objects, "total": len(found)})

    async def _find(self, who: Principal, wanted: Wanted, most: int) -> Sequence[Finding]:
        found: list[Finding] = []
        looked = 0
        async for ids in self._pages(who, wanted, most):
            looked += len(ids)
            for summary in await self._summaries.list(ids, LATEST, FULL):
                one = Finding(summary, msgspec.json.decode(summary.fragment, type=dict[str, Any]))
                if one.fits(wanted):
                    found.append(one)
            if len(found) >= most or looked >= MOST_LOOKED_AT:
                break
        return found[:most]

    async def _pages(self, who: Principal, wanted: Wanted, most: int) -> AsyncIterator[list[int]]:
        """Yield the ids of packages, by the words' index, or by name where there are none."""
        after, size = "", min(most, LARGEST)
        while True:
            if wanted.indexed:
                question = Question(wanted.indexed, wanted.scope, FORMAT, None, after)
                page = await self._search.find(who, question, size)
                ids, after = [row["id"] for row in page.rows], page.next or ""
            else:
                filters = Filters(owner=wanted.scope, format=FORMAT)
                rows = await self._lists.list(who, filters, after, size)
                ids = [row["id"] for row in rows]
                after = rows[-1]["repository"] if len(rows) == size else ""
            yield ids
            if not after:
                return
