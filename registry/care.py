"""Commands that look after the data: fsck, backup, restore."""

import argparse
import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry import restore as restoring
from registry.app import Services, open_services
from registry.backup import Backup
from registry.config import Config, from_environment
from registry.fsck import SUM_BLOBS, Fsck, Position
from registry.progress import Pace, Progress
from registry.restore import Restored
from registry.sizes import shown_size
from registry.startup import lock_directory, prepare_database, prepare_directory
from registry.tables import print_document, print_rows
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
    backup = groups.add_parser("backup", parents=[common], help="copy rows and bytes to DIR")
    backup.add_argument("directory", metavar="DIR", type=Path, help="new, or of the last backup")
    backup.add_argument("--json", action="store_true", help="print its manifest")
    backup.set_defaults(command=make_backup)
    restore = groups.add_parser(
        "restore", parents=[common], help="bring a backup back into an empty data directory"
    )
    restore.add_argument("directory", metavar="DIR", type=Path, help="what 'backup' wrote")
    restore.add_argument("--json", action="store_true", help="print what came back")
    restore.set_defaults(run=restore_backup)


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
            pace=Pace(options.rate),
        )
        if run.position.checked:
            print("fsck: going on where the last run was interrupted", file=sys.stderr)
        total = None if options.quick else await run.remaining()
        try:
            with Progress("fsck", total, sys.stderr) as progress:
                position = await run.run(progress)
        except asyncio.CancelledError:
            print("fsck: interrupted; the same command goes on from here", file=sys.stderr)
            raise
    _print_position(position, as_json=options.json)
    return 1 if position.wrong else 0


async def make_backup(services: Services, options: argparse.Namespace) -> int:
    """Write a backup; the status is 1 when bytes that rows name could not be read."""
    config, source = services.config, services.database
    with _alone(config.directory / "backup.lock", "another backup runs: wait for its end"):
        row = await source.fetch_one(SUM_BLOBS, 0)
        run = Backup(config, source, services.store, services.clock, options.directory)
        with Progress("backup", 0 if row is None else row["bytes"], sys.stderr) as progress:
            manifest = await run.run(progress)
    if options.json:
        print_document(manifest)
    objects = manifest["objects"]
    for digest in objects["missing"]:
        print(f"missing\t{digest}\tits bytes could not be copied: run fsck", file=sys.stderr)
    print(
        f"backup: {objects['count']} objects ({shown_size(objects['bytes'])}), "
        f"{manifest['added']} of them new, in {options.directory}",
        file=sys.stderr,
    )
    return 1 if objects["missing"] else 0


def restore_backup(options: argparse.Namespace) -> int:
    """Bring a backup back; the status is 1 when some of its bytes were not those of the rows."""
    config = from_environment(options.config, {"data": options.data})
    manifest = asyncio.run(_check_restore(options.directory, config))
    prepare_directory(config.directory)
    with lock_directory(config.directory):
        asyncio.run(restoring.load_rows(options.directory, manifest, config))
        prepare_database(config)
        restored = asyncio.run(_bring_objects(options.directory, manifest, config))
        restoring.finish(config)
    if options.json:
        print_document(asdict(restored))
    for digest in restored.damaged:
        print(f"damaged\t{digest}\tnot in the backup: push it again", file=sys.stderr)
    print(
        f"restore: {restored.count} objects ({shown_size(restored.bytes)}), each verified, "
        f"in {config.directory}",
        file=sys.stderr,
    )
    return 1 if restored.damaged else 0


async def _check_restore(source: Path, config: Config) -> dict[str, Any]:
    manifest = await restoring.check_source(source, config)
    await restoring.check_target(config)
    return manifest


async def _bring_objects(source: Path, manifest: dict[str, Any], config: Config) -> Restored:
    async with open_services(config) as services:
        run = restoring.Restore(services.database, services.store, services.clock, source)
        with Progress("restore", manifest["objects"]["bytes"], sys.stderr) as progress:
            return await run.run(progress)


def _print_position(position: Position, *, as_json: bool) -> None:
    checked, findings = dict(position.checked), position.findings
    if as_json:
        shown = [asdict(finding) for finding in findings]
        answer = {"ok": not position.wrong, "checked": checked, "found": position.found}
        print_document({**answer, "findings": shown})
        return
    rows = [
        {
            "kind": finding.kind,
            "what": finding.digest or finding.key,
            "detail": finding.detail,
            "repositories": " ".join(finding.repositories),
        }
        for finding in findings
    ]
    print_rows(rows, as_json=False)
    counted = ", ".join(f"{number} {what}" for what, number in checked.items()) or "nothing"
    print(f"fsck: {position.found} findings in {counted}", file=sys.stderr)


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
