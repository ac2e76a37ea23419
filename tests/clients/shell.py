"""Runs a client as a user would, in a home of its own, and shows what it said when it fails."""

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.clients import pins

STORAGE = """[storage]
driver = "vfs"
graphroot = "{home}/storage"
runroot = "{home}/storage-run"
"""

OWN_CACHES = {"skopeo": {"_CONTAINERS_ROOTLESS_UID": "1000"}}
"""As root skopeo keeps one cache for all of the machine, /var/lib/containers/cache. There it finds
that another test pushed the same layers compressed otherwise, and uses those. Not podman and
buildah: they would believe that they are not root."""


@cache
def client(name: str) -> Path:
    """The path of a client; without it the test is skipped, or fails in CI, with its cure."""
    about = pins.load()[name]
    if found := pins.find(about):
        return found.path
    said = f"{name} is missing: {pins.cure(about)}"
    if os.environ.get("CI") and about.required:
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


@dataclass(slots=True)
class Shell:
    """Runs commands with nothing of the machine's user in reach."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("config", "cache", "data", "run", "docker"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        (self.home / "run").chmod(0o700)
        (self.home / "storage.conf").write_text(STORAGE.format(home=self.home))
        self.env = {
            **{name: value for name, value in os.environ.items() if not personal(name)},
            "PATH": pins.SEARCH,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "REGISTRY_AUTH_FILE": str(self.home / "docker" / "config.json"),
            "CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"),
            "NO_PROXY": "localhost,127.0.0.1",
            "LC_ALL": "C.UTF-8",
            **self.env,
        }

    def remember(self, host: str, user: str, secret: str) -> None:
        """Write a login where every client looks for it, without asking the registry."""
        pair = base64.b64encode(f"{user}:{secret}".encode()).decode()
        config = {"auths": {host: {"auth": pair}}}
        Path(self.env["REGISTRY_AUTH_FILE"]).write_text(json.dumps(config))

    def __call__(self, name: str, *arguments: str | Path, **options: object) -> str:
        """Run a client that must succeed; returns its standard output."""
        done = self.run(name, *arguments, **options)
        if done.returncode:
            pytest.fail(self.story(done), pytrace=True)
        return done.stdout

    def fails(self, name: str, *arguments: str | Path, **options: object) -> str:
        """Run a client that must fail; returns everything it said."""
        done = self.run(name, *arguments, **options)
        if not done.returncode:
            pytest.fail("should have failed:\n" + self.story(done), pytrace=True)
        return done.stdout + done.stderr

    def run(
        self,
        name: str,
        *arguments: str | Path,
        stdin: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_seconds: int = 300,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [client(name), *arguments],
            input=stdin,
            cwd=cwd or self.home,
            env={**self.env, **OWN_CACHES.get(name, {}), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        print(self.story(done))
        return done

    def story(self, done: subprocess.CompletedProcess[str]) -> str:
        command = " ".join(str(word) for word in done.args)
        tails = [f"--- {log}\n" + "\n".join(tail(log)) for log in self.logs if done.returncode]
        return "\n".join([f"$ {command}  [{done.returncode}]", done.stdout, done.stderr, *tails])


def tail(log: Path, lines: int = 40) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []


def personal(name: str) -> bool:
    """Variables that would bring the machine's user, or a proxy, into a test."""
    lowered = name.lower()
    starts = ("docker_", "helm_", "cosign_", "sigstore_", "buildah_", "containers_", "xdg_")
    starts += ("npm_", "pnpm_", "yarn_")
    return lowered.startswith(starts) or lowered.endswith("_proxy")
