"""What a package is about: its annotations as people read them, and the words they are found by.

Reading list: OCI image-spec annotations.md ("Pre-Defined Annotation Keys").
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from registry.manifests import Manifest, annotations
from storage.names import Tag

PREFIX = "org.opencontainers.image."
MOST_WORDS = 64
"""Words of a text that a package is found by; those of its name come on top."""
WORD_LENGTH = 32
"""Characters of a word that are compared."""

_WORD = re.compile(r"[^\W_]++")
_LENGTHS = {"title": 200, "description": 1000, "source": 500, "licenses": 200, "keywords": 500}
_KEYWORDS = "vnd.packhouse.package.keywords"
_OF_A_DIGEST = ("sha256-", "sha512-")
_WEB = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class PackageText:
    """What the annotations of a package's newest tagged manifest say; "" for what they do not.

    `keywords` are words to be found by, with spaces between them; they are not shown.
    """

    title: str = ""
    description: str = ""
    source: str = ""
    licenses: str = ""
    keywords: str = ""

    @property
    def terms(self) -> list[str]:
        """The words of it, each once."""
        place = self.source.partition("://")[2]
        texts = (self.title, self.licenses, place, self.keywords, self.description)
        return words_of(texts)[:MOST_WORDS]


def read_text(manifest: Manifest, data: bytes, tags: Iterable[Tag]) -> PackageText | None:
    """Return what a push of a manifest says about its package; None where it says nothing of it.

    What refers to another manifest, or has a tag made from its digest, is about that one.
    """
    if manifest.subject is not None or all(tag.startswith(_OF_A_DIGEST) for tag in tags):
        return None
    return text_of(data)


def text_of(data: bytes) -> PackageText:
    """Return what the bytes of a manifest say."""
    if PREFIX.encode() not in data:
        return PackageText()
    said = annotations(data)
    return tidied({key: said.get(annotation_of(key), "") for key in _LENGTHS})


def annotations_of(text: PackageText) -> dict[str, str]:
    """Return the annotations that say a text, which `text_of` reads."""
    found = ((key, getattr(text, key)) for key in _LENGTHS)
    return {annotation_of(key): said for key, said in found if said}


def annotation_of(key: str) -> str:
    """Return the annotation that says a field of PackageText."""
    return _KEYWORDS if key == "keywords" else PREFIX + key


def tidy(text: PackageText) -> PackageText:
    """Return what an adapter read as it may be kept."""
    return tidied({key: getattr(text, key) for key in _LENGTHS})


def tidied(said: Mapping[str, str]) -> PackageText:
    """Return texts as they may be kept: each on one line, and not too long."""
    found = {key: _plain(said.get(key, ""))[:most] for key, most in _LENGTHS.items()}
    if not found["source"].startswith(_WEB):
        found["source"] = ""
    return PackageText(**found)


def words_of(texts: Iterable[str]) -> list[str]:
    """Return the words of texts as they are compared, in their order, each once."""
    found: dict[str, None] = {}
    for text in texts:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        found |= dict.fromkeys(word[:WORD_LENGTH] for word in _WORD.findall(folded))
    return list(found)


def words_json(repository: str, terms: str) -> str:
    """Return the words of a package's name and of its stored text, as statements take them."""
    return json.dumps(list(dict.fromkeys([*words_of([repository]), *json.loads(terms)])))


def _plain(text: str) -> str:
    """Return a text on one line: databases and terminals take no control characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())
