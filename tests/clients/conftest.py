"""A running registry, a dockerd, and a home for each test's clients."""

import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import engine, server
from tests.clients.engine import Engine
from tests.clients.server import Registry
from tests.clients.shell import Shell, client


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One server for all tests: each works in a repository of its own."""
    with server.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Another one, with people of the same names, to which packages are copied."""
    with server.running(tmp_path_factory.mktemp("second")) as running:
        yield running


@pytest.fixture(scope="session")
def registry_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The same over TLS, for clients that know no other way."""
    with server.running(tmp_path_factory.mktemp("registry-tls"), tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Engine]:
    paths = client("dockerd"), client("docker")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    with engine.running(*paths) as running:
        yield running


@pytest.fixture(scope="session")
def dead_tokens(registry: Registry) -> dict[str, str]:
    """Alice's tokens that are good no longer, by what the registry says of them."""
    return {
        "this token was revoked": registry.revoked_token(),
        "this token has expired": registry.expired_token(),
    }


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """Runs clients with a home, docker configuration and container storage of this test's own."""
    shell = Shell(tmp_path / "home")
    for name in {"registry", "registry_tls", "dockerd"} & set(request.fixturenames):
        shell.logs.append(request.getfixturevalue(name).log)
    if "dockerd" in request.fixturenames:
        shell.env["DOCKER_HOST"] = request.getfixturevalue("dockerd").socket
    yield shell
    shutil.rmtree(shell.home, ignore_errors=True)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository that only this test uses, below the organization."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"acme/{words[:80]}"


@pytest.fixture
def pad(name: str) -> str:
    """An npm package that only this test uses, of the organization."""
    return "@acme/" + name.partition("/")[2]


@pytest.fixture
def owner(registry: Registry, name: str) -> str:
    """An organization of alice's that only this test uses."""
    created = f"o{zlib.crc32(name.encode()):08x}"
    registry.admin("org", "create", created, "--owner", registry.user)
    return created


@pytest.fixture
def repository(registry: Registry, name: str) -> str:
    """The same with the host in front, as clients want it."""
    return f"{registry.host}/{name}"
