"""The documents hang together: every page is reached from the README, and no link leads nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def links(page: Path) -> Iterator[Path]:
    if page.suffix == ".md" and page.exists():
        for target in _LINK.findall(page.read_text("utf-8")):
            yield (page.parent / target).resolve()


def reached() -> set[Path]:
    found, to_read = set[Path](), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        if page not in found:
            found.add(page)
            to_read += links(page)
    return found


def test_every_link_leads_somewhere() -> None:
    assert [str(page) for page in reached() if not page.exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    assert set((ROOT / "docs").rglob("*.md")) - reached() == set()


def test_every_decision_has_a_number_of_its_own_and_its_line() -> None:
    names = sorted(page.name for page in DECISIONS.glob("*.md"))
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]
    lines = re.findall(
        r"^(\d+)\. .*\(docs/decisions/(\S+?)\)", (ROOT / "ARCHITECTURE.md").read_text(), re.M
    )
    assert [(f"{int(n):04}", name) for n, name in lines] == [(name[:4], name) for name in names]
