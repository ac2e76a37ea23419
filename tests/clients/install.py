"""Bring the clients of pins.toml: use what is on PATH, put the rest into the user's cache.

`make clients` runs it. Nothing outside the cache changes, unless root asks for Debian packages with
CI or APT=1 in the environment. It needs Python 3.11 and nothing else.

Go modules are built from an empty module: `go install` wants the list of a module's versions, which
some proxies refuse.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pins import BIN, CACHE, SEARCH, Client, Found, cure, find, load

CI = bool(os.environ.get("CI"))
APT = CI or os.environ.get("APT") == "1"
POLICY = Path("/usr/sbin/policy-rc.d")
REFUSED = CACHE / "refused"
DAY_SECONDS = 86_400


class InstallFailed(Exception):
    """Why a client could not be brought, in one line."""


def run(*command: str | Path, cwd: Path | None = None, **env: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PATH": SEARCH, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise InstallFailed(str(error)) from error
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise InstallFailed(" ".join(lines[-2:]) or f"{command[0]}: exit {done.returncode}")


def place(source: Path, client: Client, *, link: bool = False) -> None:
    """Put a command into BIN, by a rename: a test that runs now sees the old one or the new one."""
    BIN.mkdir(parents=True, exist_ok=True)
    partial = BIN / f".{client.name}.{os.getpid()}"
    partial.unlink(missing_ok=True)
    if link:
        partial.symlink_to(source)
    else:
        source.rename(partial)
    partial.replace(BIN / client.name)
    client.stamp.parent.mkdir(exist_ok=True)
    client.stamp.write_text(client.version)


@contextlib.contextmanager
def fresh_directory(final: Path) -> Iterator[Path]:
    """A directory that takes its final name only when everything in it is there."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=".partial-"))
    try:
        yield partial
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One installer at a time, of all clones that share the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for the installer that holds {file.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    print(line, flush=True)


# Kinds


def from_debian(client: Client) -> None:
    if not APT or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise InstallFailed("not installed by itself")
    with services_kept_from_starting():
        for package in client.packages:
            with contextlib.suppress(InstallFailed):
                apt_install(package)
            if shutil.which(client.name, path=SEARCH):
                return
    apt_install(client.packages[-1])


def apt_install(package: str) -> None:
    options = ["-y", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=600"]
    install = ["apt-get", "install", *options, package]
    try:
        run(*install, DEBIAN_FRONTEND="noninteractive")
    except InstallFailed:
        run("apt-get", "update")
        run(*install, DEBIAN_FRONTEND="noninteractive")


@contextlib.contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """policy-rc.d answers 101, "action forbidden", to every service script while we install."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if before is not None else 0o755
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        if before is None:
            POLICY.unlink(missing_ok=True)
        else:
            POLICY.write_bytes(before)
            POLICY.chmod(mode)


def from_pypi(client: Client) -> None:
    home = CACHE / "pypi" / f"{client.name}-{client.version}"
    with fresh_directory(home) as partial:
        run(sys.executable, "-m", "venv", partial)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run(partial / "bin" / "python", *pip, f"{client.packages[0]}=={client.version}")
    place(next(home.glob(f"lib/python3*/site-packages/{client.installs}")), client, link=True)


def from_npm(client: Client) -> None:
    home = CACHE / "npm" / f"{client.name}-{client.version}"
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier"]
    scripts = f"--ignore-scripts={json.dumps(not client.scripts)}"
    with fresh_directory(home) as partial:
        (partial / "package.json").write_text(json.dumps({"overrides": client.overrides}))
        what = f"{client.packages[0]}@{client.version}"
        run(*npm(), "install", "--prefix", partial, *quiet, scripts, what)
    place(home / "node_modules" / (client.installs or f".bin/{client.name}"), client, link=True)


def npm() -> Sequence[str | Path]:
    """npm comes with node: beside the one from PyPI, else on PATH."""
    node = (BIN / "node").resolve()
    script = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [node, script] if script.exists() else ["npm"]


def from_go(client: Client) -> None:
    env = {"CGO_ENABLED": "0", "GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="go-") as name:
        work = Path(name)
        run("go", "mod", "init", "clients", cwd=work, **env)
        run("go", "mod", "edit", f"-require={client.module}@{client.version}", cwd=work, **env)
        build = ["go", "build", "-mod=mod", "-ldflags=-s -w", "-o", work / client.name]
        run(*build, client.packages[0], cwd=work, **env)
        place(work / client.name, client)


KINDS = {"debian": from_debian, "pypi": from_pypi, "npm": from_npm, "go": from_go}


# Steps


def bring(client: Client) -> str | None:
    """Install a missing client; returns why not. A refusal is remembered for a day."""
    if find(client):
        return None
    if said := refusal(client):
        return said
    try:
        if client.kind != "debian" or APT:
            say(f"installing {client.name} {client.version}")
        KINDS[client.kind](client)
    except InstallFailed as error:
        if re.search(r"\b(403 Forbidden|404 Not Found|410 Gone)", str(error)):
            REFUSED.mkdir(exist_ok=True)
            (REFUSED / client.name).write_text(f"{client.version}\n{error}")
        return str(error)
    return None


def refusal(client: Client) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        path = REFUSED / client.name
        version, _, said = path.read_text().partition("\n")
        if version == client.version and time.time() - path.stat().st_mtime < DAY_SECONDS:
            return said
    return None


def bring_all(clients: Sequence[Client], lock: str) -> dict[str, str]:
    """Install what is missing, by one installer at a time; returns the failures by name."""
    with ThreadPoolExecutor() as pool:
        present = list(pool.map(find, clients))
    missing = [at for at, found in zip(clients, present, strict=True) if not found]
    if all(refusal(client) for client in missing):
        return {client.name: refusal(client) or "" for client in missing}
    with locked(lock):
        return {client.name: said for client in missing if (said := bring(client))}


def bring_go(clients: dict[str, Client]) -> dict[str, str]:
    """Build the Go clients, after Go itself where one of them needs it."""
    wanted = [client for client in clients.values() if client.kind == "go"]
    if all(find(client) or refusal(client) for client in wanted):
        return bring_all(wanted, "go")
    return bring_all([clients["go"], *wanted], "go")


def in_background() -> None:
    """Build the Go clients in a process that outlives this one; `--wait` joins it by its lock."""
    with (CACHE / "go.log").open("a") as log:
        subprocess.Popen(
            [sys.executable, __file__, "--only-go"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def table(clients: dict[str, Client], failed: dict[str, str], *, building: bool) -> list[Client]:
    """Print where each client is; returns the missing ones."""
    with ThreadPoolExecutor() as pool:
        found = dict(zip(clients, pool.map(find, clients.values()), strict=True))
    missing = []
    for name, client in clients.items():
        at: Found | None = found[name]
        if at:
            say(f"{name:13} {at.version.removeprefix('v'):12.12} {at.path}")
        elif building and client.kind == "go" and not refusal(client):
            say(f"{name:13} {'':12} being built: {CACHE / 'go.log'}")
        elif name != "go":
            missing.append(client)
            why = client.reason or failed.get(name) or "not there"
            say(f"{name:13} {'':12} missing ({why}): {cure(client)}")
    return missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--background-go", action="store_true", help="build Go clients detached")
    parser.add_argument("--wait", action="store_true", help="wait for those builds (the default)")
    parser.add_argument("--only-go", action="store_true", help="build the Go clients and end")
    parser.add_argument("--retry", action="store_true", help="ask again for what was refused")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    clients = load()
    if options.retry:
        shutil.rmtree(REFUSED, ignore_errors=True)
    if options.background_go:
        in_background()
    failed = {} if options.background_go else bring_go(clients)
    if options.only_go:
        return 0
    others = [at for at in clients.values() if at.kind != "go" and at.name != "go"]
    failed |= bring_all(others, "others")
    missing = table(clients, failed, building=options.background_go)
    return int(CI and any(client.required for client in missing))


if __name__ == "__main__":
    sys.exit(main())
