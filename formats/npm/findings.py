"""A package as a search finds it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formats.npm.questions import Wanted
from formats.npm.texts import keywords_of, license_of, source_of
from registry.packaging.summaries import Summary
from storage.clock import rfc3339


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
        date = rfc3339(self.summary.published_at)
        package = {
            "name": f"@{self.owner}/{self.summary.name}",
            "scope": self.owner,
            "version": self.summary.version,
            "description": _text(self.published.get("description")),
            "keywords": keywords_of(self.published),
            "date": date,
            "links": self._links(),
            "publisher": _person(names[-1]),
            "maintainers": [_person(name) for name in names],
            "license": license_of(self.published),
        }
        measured = {"quality": 1, "popularity": 1, "maintenance": 1}
        return {
            "package": package,
            "score": {"final": 1, "detail": measured},
            "searchScore": 1,
            "updated": date,
            "flags": {"unstable": self.unstable},
        }

    def _links(self) -> dict[str, str]:
        homepage, source = _text(self.published.get("homepage")), source_of(self.published)
        links = {"homepage": homepage, "repository": source}
        return {name: url for name, url in links.items() if url}


def _person(name: str) -> dict[str, str]:
    """Return somebody; no e-mail address is kept here."""
    return {"username": name, "email": ""}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
