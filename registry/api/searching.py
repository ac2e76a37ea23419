"""Search: packages by the words of their names and of what their annotations say."""

from typing import Annotated

import msgspec

from auth.principals import Visibility
from registry.api.owners import VISIBILITIES, VisibilityWord
from registry.api.packages import Word, visibility_of
from registry.rest.needs import ANYBODY
from registry.rest.operation import Call, Operation, Page, Paging
from registry.search import Question, Search
from storage.database import Row

SEARCH = "/api/v1/search"

Words = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, description="The last may be a beginning.")
]


class SearchQuery(Paging, frozen=True, kw_only=True):
    """What is looked for, and which page of it."""

    q: Words
    owner: Word = ""
    format: Word = ""
    visibility: VisibilityWord | None = None


class Found(msgspec.Struct, frozen=True):
    """A package that was found, and what the annotations of its newest tag say; "" for nothing."""

    name: str
    format: str
    visibility: VisibilityWord
    project: str | None
    title: str
    description: str
    source: str
    licenses: str


class SearchApi:
    """The operation."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", SEARCH, self.find,
                "Find packages that you may see, by words of their names and descriptions",
                ANYBODY, answer=Page[Found], query=SearchQuery,
            ),
        ]  # fmt: skip

    async def find(self, call: Call) -> Page[Found]:
        """Find packages."""
        query: SearchQuery = call.query
        seen = visibility_of(query.visibility)
        question = Question(query.q, query.owner, query.format, seen, query.after)
        found = await self._search.find(call.who, question, query.n)
        return Page([_show(row) for row in found.rows], found.next)


def _show(row: Row) -> Found:
    owner = row["repository"].partition("/")[0]
    return Found(
        name=row["repository"],
        format=row["format"],
        visibility=VISIBILITIES[Visibility(row["visibility"])],
        project=f"{owner}/{row['project']}" if row["project"] else None,
        title=row["title"],
        description=row["description"],
        source=row["source"],
        licenses=row["licenses"],
    )
