"""The table as Markdown, put between its two markers in docs/performance.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Outcome, number

BEGIN = "<!-- table: python -m tests.benchmarks --markdown docs/performance.md -->"
END = "<!-- end of the table -->"

HEADING = (
    *("row", "Packhouse", "unit", "against", "its", "ratio", "floor", "goal"),
    *("CPU s", "its", "per", "note"),
)


class NoPlace(Exception):
    """A file that is not ours to write the table into."""


def split(file: Path) -> tuple[str, str]:
    """Return what stands before and after the table. Raises NoPlace."""
    try:
        text = file.read_text()
    except OSError as error:
        raise NoPlace(f"cannot read {file}: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlace(f"{file} has no place for the table: a line {BEGIN!r} and a line {END!r}")
    return before, after


def write(file: Path, machine: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Put the table of a run into its place, by a rename: a run that dies leaves the old one."""
    before, after = split(file)
    draft = file.with_name(f".{file.name}.new")
    draft.write_text(f"{before}{BEGIN}\n{render(machine, outcomes)}\n{END}{after}")
    draft.replace(file)


def render(machine: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Return the line about the machine, and the table."""
    about = ", ".join(f"{key} {value}" for key, value in machine.items())
    rule = ["---", "--:", "---", "---", *["--:"] * 2, "---", "---", "--:", "--:", "---", "---"]
    rows = [_line(HEADING), _line(rule), *(_line(_cells(outcome)) for outcome in outcomes)]
    return "\n".join([f"Measured on: {about}.\n", *rows])


def _cells(outcome: Outcome) -> Sequence[str]:
    limits = [_limit(outcome, limit) for limit in (outcome.floor, outcome.goal)]
    return [
        outcome.row,
        number(outcome.figure),
        outcome.unit,
        outcome.against,
        number(outcome.its_figure),
        number(outcome.ratio),
        *limits,
        number(outcome.cpu),
        number(outcome.its_cpu),
        outcome.cpu_per,
        outcome.short_note,
    ]


def _limit(outcome: Outcome, limit: float | None) -> str:
    return "" if limit is None else f"{limit:g} {outcome.verdict(limit)}".strip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
