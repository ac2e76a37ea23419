"""Commands that look after the data: fsck."""

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry.app import Services
from registry.fsck import Fsck, Position
from registry.progress import Progress
from storage.errors import Conflict


def add_care(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands that look after the data."""
    fsck = groups.add_parser(
        "fsck", parents=[common], help="compare rows and bytes, mark what is damaged"
    )
    fsck.add_argument(
        "--repair", action="store_true", help="move damaged and unknown files to quarantine"
    )
    fsck.add_argument("--quick", action="store_true", help="compare lengths, read no bytes")
    fsck.add_argument("--rate", type=_rate, metavar="BYTES_PER_S", help="read no faster than this")
    fsck.add_argument("--json", action="store_true", help="print one JSON document")
    fsck.set_defaults(command=check_files)


async def check_files(services: Services, options: argparse.Namespace) -> int:
    """Run fsck; the status is 1 when something is wrong and was not cleared."""
    directory = services.config.directory
    with _alone(directory / "fsck.lock", "another fsck runs: wait for its end"):
        run = Fsck(
            services.database,
            services.store,
            services.clock,
            directory,
            repair=options.repair,
            quick=options.quick,
            rate=options.rate,
        )
        if run.position.checked:
            print("fsck: going on where the last run was interrupted", file=sys.stderr)
        total = 0 if options.quick else await run.remaining()
        position = await run.run(Progress("fsck", total, sys.stderr))
    _print_position(position, as_json=options.json)
    return 1 if position.wrong else 0


def _print_position(position: Position, *, as_json: bool) -> None:
    checked, findings = dict(position.checked), position.findings
    if as_json:
        shown = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": not position.wrong, "checked": checked, "findings": shown}))
        return
    for finding in findings:
        words = (finding.kind, finding.digest or finding.key, finding.detail)
        print("\t".join([*words, " ".join(finding.repositories)]).rstrip())
    counted = ", ".join(f"{number} {what}" for what, number in checked.items()) or "nothing"
    print(f"fsck: {len(findings)} findings in {counted}", file=sys.stderr)


@contextmanager
def _alone(lock: Path, refusal: str) -> Iterator[None]:
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(refusal) from error
        yield
    finally:
        os.close(descriptor)


def _rate(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
