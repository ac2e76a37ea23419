"""Why something is kept, and what clean-up would remove: for administrators of the site."""

from contextlib import aclosing
from typing import Annotated

import msgspec

from registry.api.owners import Time, time_of
from registry.explain import Explainer, Fact
from registry.preview import Preview
from registry.rest.needs import SITE
from registry.rest.operation import Call, Operation

EXPLANATION = "/api/v1/explanations/{subject}"
GARBAGE = "/api/v1/garbage"


class Limit(msgspec.Struct, frozen=True):
    """How many are listed, at most."""

    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class Holder(msgspec.Struct, frozen=True):
    """One thing that holds another: a sentence, and when that ends, null where nothing does."""

    kind: str
    package: str | None
    name: str
    text: str
    until: Time | None


class Explanation(msgspec.Struct, frozen=True):
    """Everything that holds a blob, a manifest or an object; nothing where it is not known."""

    subject: str
    holders: list[Holder]


class Due(msgspec.Struct, frozen=True):
    """One thing that clean-up would remove, and why."""

    kind: str
    package: str | None
    name: str
    why: str


class DueList(msgspec.Struct, frozen=True):
    """What clean-up would remove first; `more` if there is more."""

    items: list[Due]
    more: bool


class CleaningApi:
    """The operations."""

    def __init__(self, explainer: Explainer, preview: Preview) -> None:
        self._explainer = explainer
        self._preview = preview

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", EXPLANATION, self.explain,
                "Say what keeps a digest, or an object by its key", SITE, Explanation,
            ),
            Operation(
                "GET", GARBAGE, self.due, "List what clean-up would remove now", SITE,
                answer=DueList, query=Limit,
            ),
        ]  # fmt: skip

    async def explain(self, call: Call) -> Explanation:
        """Say what keeps something."""
        found = await self._explainer.why(call.values["subject"])
        return Explanation(found.subject, [_holder(fact) for fact in found.facts])

    async def due(self, call: Call) -> DueList:
        """List what would go."""
        items: list[Due] = []
        async with aclosing(self._preview.removals()) as removals:
            async for one in removals:
                items.append(Due(one.kind, one.repository or None, one.name, one.why))
                if len(items) > call.query.n:
                    break
        return DueList(items[: call.query.n], len(items) > call.query.n)


def _holder(fact: Fact) -> Holder:
    until = time_of(fact.until) if fact.until else None
    return Holder(fact.kind, fact.repository or None, fact.name, fact.text, until)
