"""What is searched for: words, and npm's qualifiers among them. Pure.

Reading list: npm's registry documentation, REGISTRY-API.md, "GET /-/v1/search".
"""

from dataclasses import dataclass

from storage.errors import Invalid

LONGEST = 500
"""Characters of a question."""
_NAMES = ("author", "maintainer", "scope", "keywords", "not", "is", "boost-exact")
_STATES = ("deprecated", "unstable", "insecure")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which packages: with all of `words`, of one scope ("" for any), with one of `keywords`, of
    a person, and in none of the states `without`.
    """

    words: str = ""
    scope: str = ""
    keywords: frozenset[str] = frozenset()
    person: str = ""
    without: frozenset[str] = frozenset()

    @property
    def indexed(self) -> str:
        """The words that the index is asked for; of several keywords any one will do."""
        return " ".join([self.words, *(self.keywords if len(self.keywords) == 1 else ())]).strip()


def parse_question(text: str) -> Wanted:
    """Read the `text` of a search. Raises Invalid for what cannot be searched for here."""
    if len(text) > LONGEST or not text.isprintable():
        raise Invalid(f"search for at most {LONGEST} characters, all of them printable")
    words, said = [], dict.fromkeys(_NAMES, "")
    for part in text.split():
        name, separator, value = part.partition(":")
        if separator and name in _NAMES:
            said[name] = value.lower()
        else:
            words.append(part)
    if said["is"]:
        raise Invalid(f"'is:{said['is']}' is not searched for here: use 'not:deprecated' and words")
    return Wanted(
        words=" ".join(words),
        scope=said["scope"].removeprefix("@"),
        keywords=_listed(said["keywords"]),
        person=said["maintainer"] or said["author"],
        without=_listed(said["not"]) & frozenset(_STATES),
    )


def _listed(text: str) -> frozenset[str]:
    return frozenset(part for part in text.replace("+", ",").split(",") if part)
