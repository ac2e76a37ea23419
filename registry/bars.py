"""The bar of long work; read for a terminal alone, as rich is large."""

from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from registry.sizes import shown_size


def make_bars(out: TextIO, unit: str, *, counted: bool) -> Progress:
    """Return bars for a terminal; those not `counted` only say that it goes on."""
    what = TextColumn("{task.description}", markup=False)
    shown: list[ProgressColumn] = [what, BarColumn(None), TimeElapsedColumn()]
    if counted:
        percent = TextColumn("{task.percentage:>3.0f} %", markup=False)
        shown = [what, BarColumn(None), percent, _Counted(unit), TimeRemainingColumn()]
    return Progress(
        *shown,
        console=Console(file=out, highlight=False),
        transient=not counted,
        redirect_stdout=False,  # standard output is the answer, and may be the same terminal
        redirect_stderr=False,
        expand=True,
    )


class _Counted(ProgressColumn):
    """How much of how much."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))  # a narrow terminal cuts it, the bar stays a line
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        done, total = int(task.completed), int(task.total or 0)
        if self._unit == "bytes":
            return Text(f"{shown_size(done)} of {shown_size(total)}")
        return Text(f"{done} of {total} {self._unit}")
