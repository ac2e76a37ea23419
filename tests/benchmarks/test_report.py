"""What the table says of samples: paired ratios and verdicts; and how a run ends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmarks import programs
from tests.benchmarks.__main__ import BUDGET_SECONDS, ROWS, main
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import RunFailed, Sample
from tests.benchmarks.report import Outcome, compare
from tests.benchmarks.servers import PACKHOUSE, REGISTRY, Certificate, Server


def row(*, lower: bool = False, figures: tuple[float, float] = (2, 1)) -> Row:
    """A row that knows what it will measure: ours and theirs."""

    def measure(_: Bench, name: str) -> Sample:
        return Sample(figures[name == REGISTRY], 2000, 4e9, 8)

    return Row("canned", "s", {REGISTRY: Limits(floor=1, goal=0.5)}, measure, lower=lower)


def samples(*figures: float) -> list[Sample]:
    return [Sample(figure, 2000, 4e9, 8 * figure) for figure in figures]


def test_figures_are_medians_and_the_ratio_is_that_of_pairs() -> None:
    limits = Limits(floor=3, goal=4)
    found = compare(row(), "theirs", samples(2, 4, 9), samples(1, 1, 3), limits)
    assert (found.figure, found.its_figure, found.ratio) == (4, 1, 3)
    assert (found.cpu, found.its_cpu) == (16, 4), "per 1,000 requests"
    assert (found.verdict(limits.floor), found.verdict(limits.goal)) == ("met", "missed")


def test_the_median_of_pairs_is_not_the_ratio_of_medians() -> None:
    found = compare(row(), "theirs", samples(2, 6, 40), samples(1, 10, 4), Limits())
    assert (found.figure, found.its_figure, found.ratio) == (6, 4, 2)


def test_a_pair_needs_both_runs_and_a_figure_of_theirs() -> None:
    assert compare(row(), "theirs", samples(2, 4), [], Limits()).ratio is None
    assert compare(row(), "theirs", samples(2, 4, 6), samples(0, 2), Limits()).ratio == 2


@pytest.mark.parametrize(
    ("lower", "figure", "verdict"),
    [
        *[(True, 1.02, "missed"), (True, 1, "met"), (True, 0.98, "met")],
        *[(False, 1.02, "met"), (False, 1, "met"), (False, 0.98, "missed")],
    ],
)
def test_the_better_side_of_a_limit_is_met(lower: bool, figure: float, verdict: str) -> None:
    ratio = Outcome("row", "s", "theirs", figure=7, ratio=figure, lower=lower)
    absolute = Outcome("row", "MB", "theirs", figure, ratio=7, lower=lower, absolute=True)
    assert ratio.verdict(1) == absolute.verdict(1) == verdict


def test_nothing_is_said_of_no_limit_and_of_no_figure() -> None:
    assert Outcome("row", "s", "theirs", ratio=1).verdict(None) == ""
    assert Outcome("row", "s", "theirs").verdict(1) == ""


class Nobody:
    """A contender that no row starts."""

    name = "nobody"

    def __init__(self, home: Path) -> None:
        self._home = home

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Never serves."""
        raise RunFailed(f"nobody serves in {self._home}")
        yield


@pytest.mark.parametrize("lower", [False, True])
def test_a_run_ends_with_status_0_whether_met_or_missed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lower: bool,
) -> None:
    try:
        programs.find(programs.WRK)
    except programs.Missing as error:
        pytest.skip(str(error))
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(tmp_path / "found.json")])
    kinds = {PACKHOUSE: Nobody, REGISTRY: Nobody}
    assert main([row(lower=lower)], kinds) == 0
    [found] = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert (found["ratio"], found["cpu"]) == (2, 4)
    assert found["floor_verdict"] == ("missed" if lower else "met")
    assert f"1 {found['floor_verdict']}" in capsys.readouterr().out


def test_one_run_has_time_for_every_row() -> None:
    assert sum(row.takes for row in ROWS) <= BUDGET_SECONDS
