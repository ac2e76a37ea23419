"""A dockerd of our own: its data, sockets and process id are ours, and it ends with us."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Engine:
    socket: str
    log: Path


@contextmanager
def running(dockerd: Path, docker: Path) -> Iterator[Engine]:
    """Start dockerd without network or iptables; registries on 127.0.0.0/8 need no TLS for it."""
    home = Path(tempfile.mkdtemp(prefix="packhouse-dockerd-"))  # short: it holds sockets
    engine = Engine(f"unix://{home}/docker.sock", home / "log")
    command = [
        *(dockerd, "--data-root", home / "data", "--exec-root", home / "run"),
        *("--pidfile", home / "pid", "--host", engine.socket),
        *("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"),
    ]
    try:
        with engine.log.open("wb") as log, subprocess.Popen(command, stderr=log) as process:
            try:
                print(wait(process, docker, engine))
                yield engine
            finally:
                stop(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def wait(process: subprocess.Popen[bytes], docker: Path, engine: Engine) -> str:
    """Wait until it answers; returns the versions of client and server, often two."""
    ask = [docker, "--host", engine.socket, "version"]
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = subprocess.run(ask, capture_output=True, text=True, check=False)
        if said.returncode == 0:
            return said.stdout
        time.sleep(0.2)
    raise RuntimeError(f"dockerd did not start:\n{engine.log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
