"""The clients of pins.toml, and where each is on this machine."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PINS = Path(__file__).with_name("pins.toml")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packhouse" / "clients"
BIN = CACHE / "bin"
SEARCH = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Client:
    """One table of pins.toml."""

    name: str
    kind: str
    package: str | Sequence[str]
    version: str = ""
    minimum: str = ""
    module: str = ""
    installs: str = ""
    scripts: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    ask: Sequence[str] = ("--version",)
    required: bool = True
    reason: str = ""

    @property
    def packages(self) -> Sequence[str]:
        return [self.package] if isinstance(self.package, str) else self.package

    @property
    def stamp(self) -> Path:
        """Says which version of it stands in BIN."""
        return CACHE / "installed" / self.name


@dataclass(frozen=True, slots=True)
class Found:
    path: Path
    version: str


def load() -> dict[str, Client]:
    return {name: Client(name, **table) for name, table in tomllib.loads(PINS.read_text()).items()}


def find(client: Client) -> Found | None:
    """The pinned build in our cache, else a command on PATH that is new enough."""
    ours = BIN / client.name
    if ours.exists() and client.stamp.exists() and client.stamp.read_text() == client.version:
        return Found(ours, client.version)
    theirs = shutil.which(client.name, path=SEARCH)
    if theirs is None or not client.ask or Path(theirs).parent == BIN:
        return None
    version = printed_version([theirs, *client.ask])
    return Found(Path(theirs), version) if numbers(version) >= numbers(client.minimum) else None


def printed_version(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return match[0] if match else ""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def cure(client: Client) -> str:
    """One line that brings a missing client."""
    if client.kind == "debian":
        what = client.packages[-1]
        return f"apt-get install --no-install-recommends {what}; or as root: APT=1 make clients"
    return "make clients; if it failed before: python tests/clients/install.py --retry"
