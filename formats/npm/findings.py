"""A package as a search finds it. Pure.

An answer holds hundreds of them, and terminals print it: texts are short here, on one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from formats.npm.questions import Wanted
from formats.npm.texts import keywords_of, text_of, web_address
from registry.packaging.summaries import Summary
from storage.clock import rfc3339

MOST_KEYWORDS, KEYWORD_LENGTH = 100, 100


@dataclass(frozen=True, slots=True)
class Finding:
    """A package with its latest version, and what was published with that."""

    summary: Summary
    published: Mapping[str, Any]

    @property
    def owner(self) -> str:
        """Whose package it is: the scope."""
        return self.summary.repository.partition("/")[0]

    @property
    def unstable(self) -> bool:
        """Whether it is a version before the first."""
        return self.summary.version.startswith("0.")

    def fits(self, wanted: Wanted) -> bool:
        """Whether it is wanted, as far as no index says it."""
        keywords = {word.lower() for word in keywords_of(self.published)}
        states = {"deprecated": bool(self.published.get("deprecated")), "unstable": self.unstable}
        return (
            (not wanted.keywords or not wanted.keywords.isdisjoint(keywords))
            and wanted.person in ("", self.owner, self.summary.publisher)
            and not any(states.get(state) for state in wanted.without)
        )

    def render(self) -> dict[str, Any]:
        """Return it as the clients read it; what nobody measures here is 1."""
        names = list(dict.fromkeys(filter(None, [self.owner, self.summary.publisher])))
        date, text = rfc3339(self.summary.published_at), text_of(self.published)
        package = {
            "name": f"@{self.owner}/{self.summary.name}",
            "scope": self.owner,
            "version": self.summary.version,
            "description": text.description,
            "keywords": self._keywords(),
            "date": date,
            "links": self._links(text.source),
            "publisher": _person(names[-1]),
            "maintainers": [_person(name) for name in names],
            "license": text.licenses,
        }
        measured = {"quality": 1, "popularity": 1, "maintenance": 1}
        return {
            "package": package,
            "score": {"final": 1, "detail": measured},
            "searchScore": 1,
            "updated": date,
            "flags": {"unstable": self.unstable},
        }

    def _keywords(self) -> list[str]:
        words = keywords_of(self.published)
        fine = (word for word in words if word.isprintable() and len(word) <= KEYWORD_LENGTH)
        return list(islice(fine, MOST_KEYWORDS))

    def _links(self, source: str) -> dict[str, str]:
        links = {"homepage": web_address(self.published.get("homepage")), "repository": source}
        return {name: url for name, url in links.items() if url}


def _person(name: str) -> dict[str, str]:
    """Return somebody; no e-mail address is kept here."""
    return {"username": name, "email": ""}
