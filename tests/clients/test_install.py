"""Where clients come from: ours in the pinned version, else a new enough one on PATH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import pins

HERE = Path(__file__).parent
ASK = "import pins; found = pins.find(pins.load()['oras']); print(found.path if found else None)"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "packhouse" / "clients"


def command(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


def found(tmp_path: Path) -> str:
    """What a fresh process finds with this cache and this PATH."""
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{tmp_path / 'path'}:/bin",
    }
    ask = [sys.executable, "-c", ASK]
    done = subprocess.run(ask, cwd=HERE, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_new_enough_command_on_path_is_used(tmp_path: Path) -> None:
    oras = command(tmp_path / "path" / "oras", "Version: 1.4.0")
    assert found(tmp_path) == str(oras)


def test_a_command_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    command(tmp_path / "path" / "oras", "Version: 0.16.1")
    assert found(tmp_path) == "None"


def test_our_own_build_goes_before_path(tmp_path: Path, cache: Path) -> None:
    command(tmp_path / "path" / "oras", "Version: 1.4.0")
    ours = command(cache / "bin" / "oras", "anything")
    (cache / "installed").mkdir()
    (cache / "installed" / "oras").write_text(pins.load()["oras"].version)
    assert found(tmp_path) == str(ours)


def test_our_build_of_another_version_is_not_used(tmp_path: Path, cache: Path) -> None:
    command(cache / "bin" / "oras", "Version: 1.4.0")
    (cache / "installed").mkdir()
    (cache / "installed" / "oras").write_text("v0.1.0")
    assert found(tmp_path) == "None"


def test_every_optional_client_says_why() -> None:
    clients = pins.load().values()
    assert all(client.reason for client in clients if not client.required)
    assert all(client.version for client in clients if client.kind != "debian")
