"""Rows of `docker pull` and `docker push`: 1 GB in 20 layers, by a dockerd of our own."""

import base64
import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import files
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import RunFailed, Sample
from tests.benchmarks.servers import REGISTRY, Server
from tests.clients import engine, pins
from tests.clients.images import docker_archive

LAYERS = range(200, 220)
LAYER_SIZE = 50 * files.MEGABYTE
IMAGE_BYTES = len(LAYERS) * LAYER_SIZE
TIMEOUT_SECONDS = 240
TAG = "1gb"
OVERLAY = """#!/bin/sh
exec {dockerd} "$@" --storage-driver={driver}
"""
"""Wraps dockerd: the fixture's own driver, vfs, copies every layer below a layer."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A docker client of one dockerd, signed in to one registry."""

    path: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str | Path) -> float:
        """Run a command and return the seconds it took. Raises RunFailed."""
        began = time.monotonic()
        done = subprocess.run(
            [self.path, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env=self.environment,
            check=False,
        )
        if done.returncode:
            raise RunFailed(f"docker {arguments[0]}: {done.stderr.strip()[-300:]}")
        return time.monotonic() - began


def pull(bench: Bench, name: str) -> Sample:
    """Seconds of a docker pull into an empty dockerd."""
    server = bench.server(name)
    image = f"{server.host}/{bench.repository}:{TAG}"
    _seed(bench, name, server)
    with _docker(bench, server) as docker:
        return _timed(server, docker, "pull", "--quiet", image)


def push(bench: Bench, name: str) -> Sample:
    """Seconds of a docker push into a repository that has none of the layers."""
    server = bench.server(name)
    image = f"{server.host}/{bench.repository}-{time.time_ns()}:{TAG}"
    with _docker(bench, server) as docker:
        docker("load", "--quiet", "--input", _archive(bench))
        docker("tag", f"bench:{TAG}", image)
        os.sync()
        return _timed(server, docker, "push", "--quiet", image)


def _timed(server: Server, docker: Docker, *arguments: str) -> Sample:
    before = server.cpu_seconds()
    seconds = docker(*arguments)
    cpu = server.cpu_seconds() - before if server.pid else None
    return Sample(seconds, len(LAYERS), IMAGE_BYTES, cpu)


def _seed(bench: Bench, name: str, server: Server) -> None:
    """Push the image to a contender that has it not yet."""
    done = bench.home / f"pulled-{name}"
    if not done.exists():
        directory = bench.home / "pulled"
        image = files.image(directory, LAYERS, LAYER_SIZE)
        bench.push(name, server, image, TAG)
        done.touch()


def _archive(bench: Bench) -> Path:
    """What `docker load` reads."""
    path = bench.home / "archive.tar"
    if not path.exists():
        docker_archive(path, f"bench:{TAG}", layers=LAYERS, layer_size=LAYER_SIZE)
    return path


@contextmanager
def _docker(bench: Bench, server: Server) -> Iterator[Docker]:
    """A dockerd with nothing in it. Raises RunFailed where there is none."""
    clients = pins.load()
    found = [pins.find(clients[name]) for name in ("docker", "dockerd")]
    if found[0] is None or found[1] is None:
        raise RunFailed(f"docker is missing: {pins.cure(clients['dockerd'])}")
    docker, dockerd = found[0].path, found[1].path
    home = bench.home / "docker"
    home.mkdir(exist_ok=True)
    (home / "config.json").write_text(_login(server))
    with _engine(home, dockerd, docker) as running:
        environment = {
            **os.environ,
            "DOCKER_CONFIG": str(home),
            "DOCKER_HOST": running.socket,
            "NO_PROXY": "127.0.0.1",
        }
        yield Docker(docker, environment)


@contextmanager
def _engine(home: Path, dockerd: Path, docker: Path) -> Iterator[engine.Engine]:
    wrapper = home / "dockerd"
    for driver in ("overlay2", "vfs"):
        wrapper.write_text(OVERLAY.format(dockerd=dockerd, driver=driver))
        wrapper.chmod(0o755)
        entered = engine.running(wrapper, docker)
        try:
            with redirect_stdout(io.StringIO()):  # it prints versions
                running = entered.__enter__()
        except RuntimeError as error:
            failed = error
            continue
        break
    else:
        raise RunFailed(str(failed).splitlines()[-1])
    try:
        yield running
    finally:
        entered.__exit__(None, None, None)


def _login(server: Server) -> str:
    if server.credentials is None:
        return "{}"
    pair = base64.b64encode(":".join(server.credentials).encode()).decode()
    return json.dumps({"auths": {server.host: {"auth": pair}}})


LIMITS = {REGISTRY: Limits(1, 0.8)}
"""Most of the time is docker's own, to pack and unpack: it takes pairs to see a difference."""

ROWS = [
    Row(
        "docker-pull-1gb",
        "s",
        LIMITS,
        pull,
        lower=True,
        pairs=11,
        quick=False,
        takes=900,
        cpu_per="GB",
    ),
    Row(
        "docker-push-1gb",
        "s",
        LIMITS,
        push,
        lower=True,
        pairs=5,
        quick=False,
        takes=900,
        cpu_per="GB",
    ),
]
