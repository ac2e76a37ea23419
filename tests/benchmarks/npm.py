"""Rows of npm packages: documents, tarballs, publishes, installs, beside verdaccio."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from tests.benchmarks import filling, npm_filling, programs
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import PATIENCE_SECONDS, Load, RunFailed, Sample, load, rate
from tests.benchmarks.npm_packages import LARGE, SCOPE, Version, target, write
from tests.benchmarks.npm_servers import (
    MANY_PACKAGES,
    TEN_PACKAGES,
    ManyPackages,
    TenPackages,
    Verdaccio,
)
from tests.benchmarks.servers import PACKHOUSE, VERDACCIO, Packhouse, Server
from tests.clients import pins

CONTENDERS = {
    VERDACCIO: Verdaccio,
    MANY_PACKAGES: ManyPackages,
    TEN_PACKAGES: TenPackages,
}
FEW, MANY = 10, 2_000
INSTALLED = 200
PUBLISHES = 200
CONNECTIONS = 8
FULL = "application/json"
ABBREVIATED = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
SEARCH = "/-/v1/search?text=app-0000&size=20"
"""Finds npm_filling.TOGETHER packages, however many there are."""
AT_TEN = f"{FEW} versions"
Measure = Callable[[Bench, str], Sample]


class Shelf:
    """The packages that every contender holds, and the rows that read and write them."""

    def __init__(self) -> None:
        self._filled: set[tuple[str, str]] = set()
        self._tokens: dict[str, str] = {}
        self._published = 0
        self._installs: dict[str, list[Sample]] = {}

    # What the contenders hold

    def server(self, bench: Bench, name: str, *packages: str) -> Server:
        """Return a running contender that holds these packages (keys of FILLINGS)."""
        server = bench.started(name)
        for package in packages:
            if (name, package) not in self._filled:
                FILLINGS[package](self, bench, name, server)
                self._filled.add((name, package))
        return server

    def headers(self, bench: Bench, name: str) -> dict[str, str]:
        """The headers of somebody who may publish there."""
        contender = bench.contender(name)
        if not isinstance(contender, Packhouse):
            return {}
        if name not in self._tokens:
            self._tokens[name] = contender.mint(filling.USER)
        return {"Authorization": f"Bearer {self._tokens[name]}"}

    def publish(
        self, bench: Bench, name: str, versions: Sequence[Version], connections: int = 1
    ) -> Sample:
        """Publish versions; each connection takes every so-manieth of them."""
        server = bench.started(name)
        bodies = write(bench.home / "publications", versions)
        headers = {**self.headers(bench, name), "Content-Type": "application/json"}
        pieces = [[*body[:3], below(name, body[3])] for body in bodies]
        work = Load("put", [], connections, pieces=pieces, headers=headers)
        return load(server, work).rate()

    # Rows

    def documents(self, package: str, accept: str) -> Measure:
        """Requests per second of a packument."""

        def measure(bench: Bench, name: str) -> Sample:
            server = self.server(bench, name, package)
            headers = {**self.headers(bench, name), "Accept": accept}
            return rate(server, below(name, target(package)), CONNECTIONS, bench.seconds, **headers)

        return measure

    def tarballs(self, package: str) -> Measure:
        """Requests per second of a tarball."""

        def measure(bench: Bench, name: str) -> Sample:
            server = self.server(bench, name, package)
            file = below(name, f"/{SCOPE}/{package}/-/{Version(package, '1.0.0').file}")
            headers = self.headers(bench, name)
            work = Load("get", [file], CONNECTIONS, bench.seconds, headers=headers)
            return load(server, work).rate()

        return measure

    def publishes(self, connections: int) -> Measure:
        """Publishes per second of new versions, a package a connection."""

        def measure(bench: Bench, name: str) -> Sample:
            self._published += 1
            count = PUBLISHES // (4 if bench.quick else 1)
            made = [
                Version(f"new-{self._published}-{at % connections}", f"1.0.{at // connections}")
                for at in range(count)
            ]
            bench.started(name)
            os.sync()  # what the run before left to write is not this one's to pay
            return self.publish(bench, name, made, connections)

        return measure

    def install(self, bench: Bench, name: str) -> Sample:
        """Seconds of an npm install of INSTALLED packages with a cold cache."""
        server = self.server(bench, name, "installed")
        home = bench.home / "install"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        _write_application(home, f"{server.url}{PREFIX[name]}/", self.headers(bench, name))
        found = _npm_install(server, home)
        self._installs.setdefault(name, []).append(found)
        return found

    def install_cpu(self, bench: Bench, name: str) -> Sample:
        """CPU seconds of the server in such an install: of one that was measured, if there is."""
        done = self._installs.get(name)
        found = done.pop(0) if done else self.install(bench, name)
        return Sample(found.cpu_seconds or 0, found.requests, found.bytes, found.cpu_seconds)

    def grown(self, bench: Bench, name: str) -> Sample:
        """Publishes per second into a package of MANY versions, or of FEW."""
        package = few(FEW) if name == AT_TEN else few(MANY)
        self.server(bench, PACKHOUSE, package)
        self._published += 1
        more = [Version(package, f"2.{self._published}.{at}") for at in range(20)]
        return self.publish(bench, PACKHOUSE, more)


def few(versions: int) -> str:
    """The name of a package with so many versions."""
    return f"of-{versions}"


def below(name: str, path: str) -> str:
    """A target of a contender's npm registry."""
    return PREFIX.get(name, "/npm") + path


PREFIX = {PACKHOUSE: "/npm", VERDACCIO: ""}


# What the contenders hold


def _fill_few(shelf: Shelf, bench: Bench, name: str, server: Server) -> None:
    del server
    versions = [Version(few(FEW), f"1.0.{at}") for at in range(FEW)]
    shelf.publish(bench, name, versions)


def _fill_many(shelf: Shelf, bench: Bench, name: str, server: Server) -> None:
    """Publish all of them, but to verdaccio the first: the others as it would have kept them.

    It reads and writes all of the document with each publish, which takes minutes.
    """
    package, contender = few(MANY), bench.contender(name)
    versions = [Version(package, f"1.0.{at}", 2_000) for at in range(MANY)]
    del server
    if not isinstance(contender, Verdaccio):
        shelf.publish(bench, name, versions)
        return
    shelf.publish(bench, name, versions[:1])
    path = contender.storage / SCOPE / package / "package.json"
    document = json.loads(path.read_text())
    first, at = document["versions"]["1.0.0"], document["time"]["1.0.0"]
    for version in versions[1:]:
        text = json.dumps(first).replace("1.0.0", version.version)
        document["versions"][version.version] = json.loads(text)
        document["time"][version.version] = at
        document["_attachments"][version.file] = document["_attachments"][versions[0].file]
    document["dist-tags"]["latest"] = versions[-1].version
    path.write_text(json.dumps(document, indent="\t"))


def _fill_tarball(package: str, size: int) -> Callable[[Shelf, Bench, str, Server], None]:
    def fill(shelf: Shelf, bench: Bench, name: str, server: Server) -> None:
        del server
        shelf.publish(bench, name, [Version(package, "1.0.0", size)])

    return fill


def _fill_installed(shelf: Shelf, bench: Bench, name: str, server: Server) -> None:
    """Packages each of which needs the next ones, as a tree of dependencies does."""
    del server
    versions = [
        Version(installed(at), "1.0.0", 4_000 + at * 100, [*map(installed, _needs(at))])
        for at in range(INSTALLED)
    ]
    shelf.publish(bench, name, versions, 2)


def installed(number: int) -> str:
    """The name of a package that is installed."""
    return f"part-{number:03}"


def _needs(number: int) -> Iterator[int]:
    """A tree in which each needs three others."""
    yield from range(number * 3 + 1, min(number * 3 + 4, INSTALLED))


FILLINGS = {
    few(FEW): _fill_few,
    few(MANY): _fill_many,
    "small": _fill_tarball("small", 14_000),
    "large": _fill_tarball("large", LARGE),
    "installed": _fill_installed,
}


def _write_application(home: Path, url: str, headers: dict[str, str]) -> None:
    about = {"name": "app", "version": "1.0.0", "dependencies": {f"{SCOPE}/{installed(0)}": "*"}}
    (home / "package.json").write_text(json.dumps(about))
    lines = [f"registry={url}", f"cache={home}/cache", "audit=false", "fund=false"]
    if headers:
        token = headers["Authorization"].partition(" ")[2]
        lines.append(f"//{url.partition('://')[2]}:_authToken={token}")
    (home / "npmrc").write_text("\n".join([*lines, "update-notifier=false", ""]))


def _npm_install(server: Server, home: Path) -> Sample:
    """Install an application; raises RunFailed."""
    found = pins.find(pins.load()["npm"])
    if found is None:
        raise RunFailed("npm is missing")
    command = [found.path, "install", "--userconfig", home / "npmrc", "--ignore-scripts"]
    environment = {**os.environ, "PATH": pins.SEARCH, "HOME": str(home)}
    before, began = server.cpu_seconds(), time.monotonic()
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    took, cpu = time.monotonic() - began, server.cpu_seconds() - before
    if done.returncode or f"added {INSTALLED} packages" not in done.stdout:
        raise RunFailed(f"npm install: {done.stdout[-200:]} {done.stderr[-400:]}")
    return Sample(took, INSTALLED * 2, 0, cpu)


# Packhouse of 100,000 packages, and of ten


def median(server: Server, path: str, seconds: int, headers: dict[str, str]) -> Sample:
    """The median of the milliseconds that an answer takes on one connection, by wrk."""
    wrk = programs.find(programs.WRK)
    options = [word for pair in headers.items() for word in ("-H", ": ".join(pair))]
    done = subprocess.run(
        [wrk.path, "-t1", "-c1", f"-d{seconds}s", "--latency", *options, server.url + path],
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE_SECONDS,
        env={**os.environ, **wrk.environment},
        check=False,
    )
    found = re.search(r"50%\s+([\d.]+)(us|ms|s)", done.stdout)
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", done.stdout)
    if found is None or bad is not None:
        raise RunFailed(f"wrk: {bad[0] if bad else (done.stdout + done.stderr).strip()[-200:]}")
    milliseconds = float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]
    return Sample(milliseconds, 1, 0, None)


def among(path: str) -> Measure:
    """The median of a GET, here of 100,000 packages, there of ten.

    Raises RunFailed where they do not answer alike.
    """
    answers: set[bytes] = set()

    def measure(bench: Bench, name: str) -> Sample:
        name = MANY_PACKAGES if name == PACKHOUSE else name
        server, headers = bench.started(name), SHELF.headers(bench, name)
        answer = httpx.get(f"{server.url}/npm{path}", headers=headers).content
        answers.add(answer.replace(server.url.encode(), b""))
        if len(answers) > 1:
            raise RunFailed("the answer depends on how many packages there are")
        return median(server, f"/npm{path}", bench.seconds, headers)

    return measure


SHELF = Shelf()
CPU = "install"


def _document_rows() -> Iterator[Row]:
    for versions, goal in ((FEW, 6), (MANY, 20)):
        for form, accept in (("full", FULL), ("abbreviated", ABBREVIATED)):
            measure = SHELF.documents(few(versions), accept)
            limits = {VERDACCIO: Limits(floor=goal)}
            yield Row(f"npm-packument-{versions}-{form}", "requests/s", limits, measure)


ROWS = [
    *_document_rows(),
    *(
        Row(f"npm-tarball-{name}", "requests/s", {VERDACCIO: Limits(floor=goal)}, measure)
        for name, goal, measure in (
            ("14kb", 4, SHELF.tarballs("small")),
            ("1mb", 5, SHELF.tarballs("large")),
        )
    ),
    Row("npm-publish-1", "versions/s", {VERDACCIO: Limits(floor=2)}, SHELF.publishes(1)),
    Row("npm-publish-8", "versions/s", {VERDACCIO: Limits(floor=3)}, SHELF.publishes(8)),
    Row(
        "npm-install-200",
        "s",
        {VERDACCIO: Limits(floor=0.9)},
        SHELF.install,
        lower=True,
        cpu_per=CPU,
    ),
    Row(
        "npm-install-200-cpu",
        "CPU s",
        {VERDACCIO: Limits(floor=0.3)},
        SHELF.install_cpu,
        lower=True,
        cpu_per=CPU,
    ),
    *(
        Row(
            f"npm-{name}-among",
            "ms",
            {TEN_PACKAGES: Limits(floor=1.5)},
            among(path),
            lower=True,
            needs=[MANY_PACKAGES],
            takes=180,
        )
        for name, path in (
            ("packument", target(npm_filling.name(0))),
            ("search", SEARCH),
        )
    ),
    Row("npm-publish-into-2000", "versions/s", {AT_TEN: Limits(floor=0.8)}, SHELF.grown),
]
