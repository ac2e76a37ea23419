"""What a version says about itself: the words that lists, searches and annotations show.

Reading list: npm's package.json page: description, license, repository; hosted-git-info.

Nobody is refused for these: what is no text is left out, and what is too long is cut.
"""

import re
from collections.abc import Mapping
from typing import Any

from registry.package_texts import PackageText, tidied

MAX_README = 64 * 1024
"""Characters of the readme that documents carry, as npm's do."""

MAX_ADDRESS = 500
"""Characters of an address that searches show."""

_HOSTS = {
    "github": "https://github.com/",
    "gitlab": "https://gitlab.com/",
    "bitbucket": "https://bitbucket.org/",
    "gist": "https://gist.github.com/",
}
_SHORT = re.compile(r"(?:(github|gitlab|bitbucket|gist):)?([\w.-]+(?:/[\w.-]+)+)", re.ASCII)
_URL = re.compile(r"(?:git\+)?(?:https?|ssh|git)://(?:[^@/]*@)?([^#?]+)", re.ASCII)
_SCP = re.compile(r"[\w.-]+@([\w.-]+):([^#?]+)", re.ASCII)


def text_of(published: Mapping[str, Any]) -> PackageText:
    """Return the texts of a version object."""
    return tidied(
        {
            "title": _text(published.get("name")),
            "description": _text(published.get("description")),
            "source": source_of(published),
            "licenses": license_of(published),
            "keywords": " ".join(keywords_of(published)),
        }
    )


def keywords_of(published: Mapping[str, Any]) -> list[str]:
    """Return the keywords, which old packages have as one text."""
    said = published.get("keywords")
    each = said.replace(",", " ").split() if isinstance(said, str) else said
    return [word for word in each if isinstance(word, str)] if isinstance(each, list) else []


def readme_of(published: Mapping[str, Any]) -> str:
    """Return the readme that was published with a version, cut to MAX_README; "" for none."""
    return _text(published.get("readme"))[:MAX_README]


def license_of(published: Mapping[str, Any]) -> str:
    """Return the license: a text, or of old an object with a type, or a list of those."""
    said = published.get("license") or published.get("licenses")
    each = said if isinstance(said, list) else [said]
    names = [_text(one.get("type") if isinstance(one, Mapping) else one) for one in each]
    return " OR ".join(name for name in names if name)


def source_of(published: Mapping[str, Any]) -> str:
    """Return the web address of the repository; "" where none is named."""
    said = published.get("repository")
    text = _text(said.get("url") if isinstance(said, Mapping) else said).strip()
    if found := _URL.fullmatch(text.partition("#")[0]):
        return f"https://{found[1]}".removesuffix(".git")
    if found := _SCP.fullmatch(text.partition("#")[0]):
        return f"https://{found[1]}/{found[2]}".removesuffix(".git")
    if found := _SHORT.fullmatch(text.partition("#")[0]):
        return _HOSTS[found[1] or "github"] + found[2].removesuffix(".git")
    return ""


def web_address(value: object) -> str:
    """Return an address that leads to the web, where it is one; "" else."""
    text = _text(value)
    fine = text.startswith(("https://", "http://")) and text.isprintable()
    return text if fine and len(text) <= MAX_ADDRESS else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
