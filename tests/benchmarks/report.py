"""From samples to a line of the table: medians, the ratio of paired runs, `met` or `missed`."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.bench import Limits, Row
from tests.benchmarks.drive import Sample

HEADING = (
    f"{'row':30} {'packhouse':>11} {'unit':10} {'against':15} {'its':>10} {'ratio':>7}"
    f"  {'floor':13} {'goal':13} {'CPU s':>9} {'its':>8}  per"
)

NOTE = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row against one contender; figures are medians over the runs.

    `cpu` and `its_cpu` are CPU seconds of the servers per `cpu_per`.
    """

    row: str
    unit: str
    against: str
    figure: float | None = None
    its_figure: float | None = None
    ratio: float | None = None
    floor: float | None = None
    goal: float | None = None
    absolute: bool = False
    lower: bool = False
    cpu: float | None = None
    its_cpu: float | None = None
    cpu_per: str = ""
    note: str = ""

    @property
    def compared(self) -> float | None:
        """What the limits are for."""
        return self.figure if self.absolute else self.ratio

    def verdict(self, limit: float | None) -> str:
        """`met` or `missed`; nothing where there is no limit or no figure."""
        if limit is None or self.compared is None:
            return ""
        good = self.compared <= limit if self.lower else self.compared >= limit
        return "met" if good else "missed"

    def document(self) -> dict[str, Any]:
        """The outcome for --json."""
        return {
            **asdict(self),
            "floor_verdict": self.verdict(self.floor),
            "goal_verdict": self.verdict(self.goal),
        }

    def line(self) -> str:
        """The outcome as a line under HEADING."""
        start = f"{self.row:30} {number(self.figure):>11} {self.unit:10} {self.against:15}"
        if self.figure is None:
            return f"{start} {self.short_note}"
        limits = " ".join(f"{self._limit(limit):13}" for limit in (self.floor, self.goal))
        cpu = f"{number(self.cpu):>9} {number(self.its_cpu):>8}  {self.cpu_per}"
        numbers = f"{number(self.its_figure):>10} {number(self.ratio):>7}"
        return f"{start} {numbers}  {limits} {cpu} {self.short_note}".rstrip()

    @property
    def short_note(self) -> str:
        """The end of the note, where programs say what went wrong, in one line."""
        note = " ".join(self.note.split())
        return note if len(note) <= NOTE else f"{note[:20]} … {note[-NOTE:]}"

    def _limit(self, limit: float | None) -> str:
        return "" if limit is None else f"{limit:g} {self.verdict(limit)}"


def compare(
    row: Row, against: str, ours: Sequence[Sample], theirs: Sequence[Sample], limits: Limits
) -> Outcome:
    """Return the outcome of paired runs; without `theirs` there are figures of ours alone."""
    figure = statistics.median(sample.figure for sample in ours)
    paired = [a.figure / b.figure for a, b in zip(ours, theirs, strict=False) if b.figure]
    return Outcome(
        row.name,
        row.unit,
        against,
        figure,
        statistics.median(sample.figure for sample in theirs) if theirs else None,
        statistics.median(paired) if paired else None,
        limits.floor,
        limits.goal,
        row.absolute,
        row.lower,
        _cpu(ours, row.cpu_per),
        _cpu(theirs, row.cpu_per),
        row.cpu_per,
    )


def _cpu(samples: Sequence[Sample], per: str) -> float | None:
    """The median CPU seconds per what a row says."""
    found = []
    for sample in samples:
        amounts = {"GB": sample.bytes / 1e9, "1,000 requests": sample.requests / 1000}
        amount = amounts.get(per, 1)
        if sample.cpu_seconds is not None and amount:
            found.append(sample.cpu_seconds / amount)
    return statistics.median(found) if found else None


def number(value: float | None) -> str:
    """Render a figure with three digits or more."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
