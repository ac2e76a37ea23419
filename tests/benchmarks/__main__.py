"""`python -m tests.benchmarks`: every row of the table; exit status 0 whether met or missed."""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks import (
    alone,
    beside,
    document,
    few,
    files,
    images,
    npm,
    programs,
    pushing,
    reading,
    report,
    signed_in,
)
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import RunFailed, Sample
from tests.benchmarks.servers import (
    FEW_PACKAGES,
    NGINX,
    PACKHOUSE,
    REGISTRY,
    Contender,
    DockerRegistry,
    Elsewhere,
    FewPackages,
    Nginx,
    Packhouse,
)

ROWS = [
    *reading.ROWS,
    *signed_in.ROWS,
    *few.ROWS,
    *pushing.ROWS,
    *beside.ROWS,
    *alone.ROWS,
    *reading.TLS_ROWS,
    *images.ROWS,
    *npm.ROWS,
]
KINDS: Mapping[str, type[Contender]] = {
    PACKHOUSE: Packhouse,
    REGISTRY: DockerRegistry,
    NGINX: Nginx,
    FEW_PACKAGES: FewPackages,
    **npm.CONTENDERS,
}
SECONDS = 5
QUICK_SECONDS = 1
BUDGET_SECONDS = 2 * 60 * 60
"""More than the patience of all rows together: one run makes the whole table."""
QUICK_BUDGET_SECONDS = 15 * 60

FAILURES = (RunFailed, RuntimeError, OSError, httpx.HTTPError, subprocess.SubprocessError)


def main(rows: Sequence[Row] = ROWS, kinds: Mapping[str, type[Contender]] = KINDS) -> int:
    """Run those of the rows that are asked for."""
    parser = build_parser()
    options = parser.parse_args()
    if options.markdown:
        try:
            document.split(options.markdown)
        except document.NoPlace as error:
            parser.error(str(error))
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # stop the servers too
    chosen = [row for row in rows if _chosen(row, options)]
    try:
        programs.find(programs.WRK)
        with _home() as home:
            about = {**machine(), "fsync ms": round(files.fsync_milliseconds(home), 2)}
            print(", ".join(f"{key} {value}" for key, value in about.items()))
            contenders = _contenders(options, kinds, chosen, home)
            outcomes = _run(options, chosen, home, contenders)
    except programs.Missing as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 0
    if options.json:
        rows = [outcome.document() for outcome in outcomes]
        options.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
    if options.markdown:
        document.write(options.markdown, about, outcomes)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--against", metavar="URL", help="another registry than docker-registry")
    parser.add_argument(
        "--login",
        metavar="USER:PASSWORD",
        default=os.environ.get("BENCH_LOGIN", ""),
        help="how to sign in there (or BENCH_LOGIN in the environment)",
    )
    parser.add_argument("--rows", metavar="NAME,…", default="", help="only these, or their starts")
    parser.add_argument("--quick", action="store_true", help="one short pair of runs a row")
    parser.add_argument("--seconds", type=int, metavar="N", help="how long a run is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there too")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the table into its place in FILE"
    )
    parser.add_argument("--list", action="version", version="\n".join(row.name for row in ROWS))
    return parser


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    pacing = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return {
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "congestion control": pacing.read_text().strip() if pacing.exists() else "unknown",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _chosen(row: Row, options: argparse.Namespace) -> bool:
    names = tuple(filter(None, options.rows.split(",")))
    return row.name.startswith(names) if names else row.quick or not options.quick


@contextmanager
def _home() -> Iterator[Path]:
    """A directory on the disk that holds what all servers write; it goes at the end."""
    home = Path(tempfile.mkdtemp(prefix="packhouse-bench-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(
    options: argparse.Namespace,
    rows: Sequence[Row],
    home: Path,
    contenders: Mapping[str, Contender],
) -> list[report.Outcome]:
    began = time.monotonic()
    budget = QUICK_BUDGET_SECONDS if options.quick else BUDGET_SECONDS
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    bench = Bench(home, contenders, quick=options.quick, seconds=seconds)
    print(report.HEADING, flush=True)
    outcomes: list[report.Outcome] = []
    try:
        for row in rows:
            late = time.monotonic() - began + row.takes > budget
            found = _unmeasured(row, "not run: the time is up") if late else measure(bench, row)
            for outcome in found:
                print(outcome.line(), flush=True)
            outcomes += found
    finally:
        bench.close()
    print(f"{time.monotonic() - began:.0f} s")
    return outcomes


def _contenders(
    options: argparse.Namespace,
    kinds: Mapping[str, type[Contender]],
    rows: Sequence[Row],
    home: Path,
) -> dict[str, Contender]:
    """Everything that can be started here; what cannot is named with its cure."""
    found: dict[str, Contender] = {}
    if options.against:
        login = options.login.partition(":")
        pair = (login[0], login[2]) if login[1] else None
        found[REGISTRY] = Elsewhere(options.against.partition("://")[2], options.against, pair)
    needed = {PACKHOUSE, *(name for row in rows for name in (*row.limits, *row.needs))}
    for name, kind in kinds.items():
        if name not in found and name in needed:
            try:
                found[name] = kind(home)
            except programs.Missing as error:
                print(f"benchmarks: {error}", file=sys.stderr)
    return found


def measure(bench: Bench, row: Row) -> list[report.Outcome]:
    """Run a row in turns over its contenders, each second turn backwards, and compare."""
    samples: dict[str, list[Sample]] = {name: [] for name in (PACKHOUSE, *row.limits)}
    failed: dict[str, str] = {}
    for turn in range(1 if bench.quick else row.pairs):
        if row.before:
            row.before(bench)
        left = [name for name in samples if name not in failed]
        for name in left if turn % 2 == 0 else reversed(left):
            try:
                samples[name].append(row.measure(bench, name))
            except FAILURES as error:
                failed[name] = f"failed: {error}"
    if PACKHOUSE in failed:
        return _unmeasured(row, failed[PACKHOUSE])
    return [_outcome(bench, row, name, samples, failed) for name in row.limits]


def _outcome(
    bench: Bench,
    row: Row,
    name: str,
    samples: Mapping[str, Sequence[Sample]],
    failed: Mapping[str, str],
) -> report.Outcome:
    theirs = [] if name in failed else samples[name]
    shown = getattr(bench.contenders.get(name), "name", name)
    limits = row.limits[name]
    outcome = report.compare(row, shown, samples[PACKHOUSE], theirs, limits)
    return replace(outcome, note=failed.get(name, ""))


def _unmeasured(row: Row, note: str) -> list[report.Outcome]:
    return [_nothing(row, name, limits, note) for name, limits in row.limits.items()]


def _nothing(row: Row, name: str, limits: Limits, note: str) -> report.Outcome:
    return report.Outcome(row.name, row.unit, name, floor=limits.floor, goal=limits.goal, note=note)


if __name__ == "__main__":
    sys.exit(main())
