"""The programs a benchmark needs: from PATH, else unpacked from Debian packages, not installed."""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.pins import CACHE, SEARCH

UNPACKED = CACHE / "unpacked"
TIMEOUT_SECONDS = 120


class Missing(Exception):
    """A program that is neither here nor could be fetched; the message holds the cure."""


@dataclass(frozen=True, slots=True)
class Package:
    """A program, the Debian package that holds it, and the packages of its libraries."""

    program: str
    name: str
    libraries: Sequence[str] = ()


DOCKER_REGISTRY = Package("docker-registry", "docker-registry")
NGINX = Package("nginx", "nginx", ("libpcre2-8-0", "libcrypt1"))
WRK = Package("wrk", "wrk", ("libluajit-5.1-2",))


@dataclass(frozen=True, slots=True)
class Program:
    """Where a program is, and the variables it runs with."""

    path: Path
    environment: dict[str, str]


def find(package: Package) -> Program:
    """Return the program of a package. Raises Missing."""
    if found := shutil.which(package.program, path=SEARCH):
        return Program(Path(found), {})
    home = UNPACKED / package.name
    if not home.is_dir():
        UNPACKED.mkdir(parents=True, exist_ok=True)
        with (UNPACKED / f"{package.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.is_dir():
                _unpack(package, home)
    for directory in ("usr/bin", "usr/sbin"):
        if (path := home / directory / package.program).exists():
            libraries = {str(at.parent) for at in home.glob("**/*.so.*")}
            return Program(path, {"LD_LIBRARY_PATH": ":".join(sorted(libraries))})
    raise Missing(f"{package.name} holds no {package.program}: {_cure(package)}")


def _unpack(package: Package, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=UNPACKED, prefix=".partial-") as name:
        downloads, tree = Path(name), Path(name) / "tree"
        downloads.chmod(0o755)  # apt downloads as a user of its own
        try:
            for wanted in (package.name, *package.libraries):
                _run(downloads, "apt-get", "download", wanted)
            for archive in downloads.glob("*.deb"):
                _run(downloads, "dpkg-deb", "-x", archive, tree)
        except (OSError, subprocess.SubprocessError) as error:
            raise Missing(f"{package.program} is missing: {_cure(package)}") from error
        tree.rename(home)


def _run(where: Path, *command: str | Path) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(
        command,
        cwd=where,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )


def _cure(package: Package) -> str:
    return f"apt-get update, or apt-get install --no-install-recommends {package.name}"
