"""doctor: look at everything an operator can get wrong, and say ok, warn or fail for each.

It changes nothing: a data directory or a database that is not there yet is only said to be so.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from auth.signing_keys import BEARER, PURPOSES, SIGNING_PURPOSES, SigningKeys
from registry.address_checks import check_addresses
from registry.certificate_checks import check_tls
from registry.checks import FAIL, OK, WARN, Check
from registry.config import Config, ConfigError, from_environment
from registry.instruments import require_tracing
from registry.listening import listening
from registry.outside import check_outside
from registry.reflection import issue_pass
from registry.sizes import shown_size
from registry.startup import FIXED_SQLITE, RESTORING
from registry.tables import print_rows
from registry.tls import check_certificate
from storage import migrations, sqlite_backup
from storage import sqlite_connection as sqlite
from storage.clock import SECOND, now, rfc3339
from storage.connect import open_database
from storage.database import Database
from storage.errors import PackhouseError

_OLDEST_TIME = 1_760_000_000 * SECOND
"""When this was written, about: a clock before it is wrong."""
_SKEW = 60 * SECOND
_DRIFT = 5 * SECOND
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p"}

# scan: the first row ends it
FIND_NEWEST_EVENT = "select created_at from events order by id desc limit 1"


def add_doctor(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    doctor = groups.add_parser("doctor", parents=[common], help="look for what is wrong here")
    doctor.add_argument(
        "--url", type=_parse_url, help="a way in that clients use; by default public_url"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    doctor.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Look at everything; the status is 1 when something fails."""
    checks = examine(options.config, options.data, options.url)
    failed = any(check.status == FAIL for check in checks)
    if options.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    elif sys.stdout.isatty():
        print_rows([asdict(check) for check in checks], as_json=False)
    else:
        for check in checks:
            print(f"{check.status:4}  {check.name}: {check.message}")
    return 1 if failed else 0


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(
            "write scheme and host alone, such as https://packages.example.com"
        )
    return f"{parts.scheme}://{parts.netloc}"


def examine(file: str | None, data: str | None, url: str | None = None) -> Sequence[Check]:
    """Return what was found, in the order in which one thing needs another."""
    try:
        config = from_environment(file, {"data": data})
        check_certificate(config.tls)
        require_tracing(config)
    except ConfigError as error:
        return [Check("configuration", FAIL, str(error))]
    checks = [Check("configuration", OK, "every key is known and every value fits")]
    checks += _check_machine(config)
    checks += _check_directory(config)
    checks += check_tls(config, datetime.datetime.now(datetime.UTC))
    checks += check_addresses(config, listening(config.directory))
    if config.database or (config.directory / "packhouse.db").exists():
        checks += asyncio.run(_check_database(config))
    else:
        checks.append(Check("database", WARN, "there is none yet: the first start makes it"))
        return checks
    sound = all(check.status != FAIL for check in checks if check.name in _NEEDED)
    return [*checks, *_check_way_in(config, url or config.public_url)] if sound else checks


_NEEDED = {"database", "schema", "signing keys"}


def _check_way_in(config: Config, url: str) -> Iterator[Check]:
    """Take the clients' way in, where it is known."""
    if not url:
        if config.trusted_proxies:
            about = "public_url is not set: --url https://... looks through the proxy"
            yield Check("public URL", WARN, about)
        return
    is_running = listening(config.directory) is not None
    yield from check_outside(config, url, asyncio.run(_make_pass(config)), is_running=is_running)


async def _make_pass(config: Config) -> str:
    async with await open_database(config.database, config.directory) as database:
        return issue_pass(await SigningKeys(database).current(BEARER), now())


def _check_machine(config: Config) -> Iterator[Check]:
    cores = os.cpu_count() or 1
    count = config.workers or min(cores, 4)
    if count > 2 * cores:
        yield Check("workers", WARN, f"{count} on {cores} cores: more than two a core only wait")
    else:
        yield Check("workers", OK, f"{count} on {cores} cores")
    if now() < _OLDEST_TIME:
        yield Check("clock", FAIL, f"it says {rfc3339(now())}: set it")
    if config.database:
        return
    if sqlite3.sqlite_version_info < FIXED_SQLITE:
        fixed = ".".join(map(str, FIXED_SQLITE))
        about = f"{sqlite3.sqlite_version} is older than {fixed}: let no other program write to it"
        yield Check("SQLite", WARN, about)
    else:
        yield Check("SQLite", OK, sqlite3.sqlite_version)


def _check_directory(config: Config) -> Iterator[Check]:
    directory = config.directory
    try:
        status = directory.stat()
    except FileNotFoundError:
        yield Check("data directory", WARN, f"{directory} is not there: the first start makes it")
        yield from _check_space(config)
        return
    except OSError as error:
        yield Check("data directory", FAIL, f"{directory}: {error.strerror}")
        return
    yield _check_rights(directory, status)
    yield from _check_secrets(directory)
    if (directory / RESTORING).exists():
        about = f"a restore into {directory} was interrupted: empty it, and restore anew"
        yield Check("restore", FAIL, about)
    yield _check_file_system(config, status)
    yield from _check_space(config)


def _check_rights(directory: Path, status: os.stat_result) -> Check:
    name = "data directory"
    if not stat.S_ISDIR(status.st_mode):
        return Check(name, FAIL, f"{directory} is not a directory")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Check(name, FAIL, f"others can write to {directory}: chmod 700 it")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Check(name, FAIL, f"this user cannot write to {directory}")
    if status.st_mode & 0o077:
        return Check(name, WARN, f"others can read {directory}: the next start makes it 0700")
    return Check(name, OK, f"{directory} is its owner's alone")


def _check_secrets(directory: Path) -> Iterator[Check]:
    """Look at the files beside the blobs: keys and password hashes are in there."""
    try:
        files = [file for file in directory.iterdir() if file.is_file()]
    except OSError:
        return
    for file in sorted(files):
        if file.stat().st_mode & 0o077:
            yield Check("files", WARN, f"others may read {file}: chmod 600 it")


def _check_file_system(config: Config, status: os.stat_result) -> Check:
    try:
        kind = sqlite.file_system(Path("/proc/self/mountinfo").read_text(), status.st_dev)
    except OSError:
        kind = None
    if kind in _NETWORK and not config.database:
        about = f"{kind} is a network file system, whose locks cannot be trusted: use a local disk"
        return Check("file system", FAIL, about)
    if kind is not None and kind.startswith("fuse"):
        return Check("file system", WARN, f"{kind}: not every one keeps what was synced")
    return Check("file system", OK, kind or "of a kind this system does not tell")


def _check_space(config: Config) -> Iterator[Check]:
    """Look at the disk, which is that of the nearest parent before the first start."""
    places = [config.directory, *config.directory.parents]
    try:
        disk = os.statvfs(next(place for place in places if place.exists()))
    except OSError as error:
        yield Check("free space", WARN, f"cannot be told: {error.strerror}")
        return
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    reserve = config.reserve_bytes if config.reserve_bytes >= 0 else max(1024**3, total // 50)
    about = f"{shown_size(free)} of {shown_size(total)} free, {shown_size(reserve)} kept back"
    if free < reserve:
        yield Check("free space", FAIL, f"{about}: uploads end with 507")
    else:
        yield Check("free space", WARN if free < 2 * reserve else OK, about)


async def _check_database(config: Config) -> Sequence[Check]:
    try:
        async with await open_database(config.database, config.directory) as database:
            checks = [check async for check in _look_inside(config, database)]
    except PackhouseError as error:
        return [Check("database", FAIL, error.message)]
    except sqlite3.Error as error:
        return [Check("database", FAIL, f"{error}: restore a backup")]
    return checks


async def _look_inside(config: Config, database: Database) -> AsyncIterator[Check]:
    row = await database.fetch_one(migrations.SELECT_SCHEMA)
    latest = migrations.latest(migrations.load())
    version, oldest_reader = (0, 0) if row is None else (row["version"], row["oldest_reader"])
    if oldest_reader > latest:
        about = f"schema {version} needs a newer Packhouse; this one knows {latest}"
        yield Check("schema", FAIL, about)
        return
    upgrade = version < latest
    about = f"version {version}" + (f": the next start makes it {latest}" if upgrade else "")
    yield Check("schema", WARN if upgrade else OK, about)
    if not config.database:
        fault = await asyncio.to_thread(_first_fault, config.directory / "packhouse.db")
        yield Check("database", FAIL if fault else OK, fault or "SQLite finds it sound")
    else:
        yield Check("database", OK, "PostgreSQL answers")
    keys = {row["purpose"] for row in await database.fetch(SIGNING_PURPOSES)}
    missing = set(PURPOSES) - keys
    about = f"no key to sign with: {', '.join(sorted(missing))}" if missing else "both are there"
    yield Check("signing keys", FAIL if missing else OK, about)
    async for check in _check_clock(config, database):
        yield check


async def _check_clock(config: Config, database: Database) -> AsyncIterator[Check]:
    row = await database.fetch_one(FIND_NEWEST_EVENT)
    newest, at = 0 if row is None else row["created_at"], now()
    if newest > at + _SKEW:
        about = f"it says {rfc3339(at)}, and something was pushed at {rfc3339(newest)}: set it"
        yield Check("clock", FAIL, about)
        return
    yield Check("clock", OK, rfc3339(at))
    if config.database:
        # Only PostgreSQL is asked: SQLite's clock is ours.
        before, row = now(), await database.fetch_one("select clock_timestamp() as at")
        told: datetime.datetime = (row or {})["at"]
        yield compare_clocks("database", int(told.timestamp() * SECOND), before, now())
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=config.directory) as probe:
        before = now()
        os.utime(probe.fileno())
        status = os.fstat(probe.fileno())
        yield compare_clocks("file system", status.st_mtime_ns // 1000, before, now())


def compare_clocks(whose: str, told: int, before: int, after: int) -> Check:
    """Judge another clock that was asked between two looks at ours (all in microseconds)."""
    name = f"clock of the {whose}"
    ahead = told - after if told > after else min(0, told - before)
    about = f"{abs(ahead) / SECOND:.1f} seconds {'ahead of' if ahead > 0 else 'behind'} ours"
    if abs(ahead) > _SKEW:
        return Check(name, FAIL, f"{about}: let both be set by NTP")
    if abs(ahead) > _DRIFT:
        return Check(name, WARN, f"{about}: let both be set by NTP")
    return Check(name, OK, "it agrees with ours")


def _first_fault(file: Path) -> str | None:
    connection = sqlite.connect_scanner(file)
    try:
        return sqlite_backup.first_fault(connection)
    finally:
        connection.close()
