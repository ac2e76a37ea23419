"""What commands on the same machine know of the server that runs there."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.config import ConfigError
from registry.listening import Listening, listening
from registry.startup import SERVE_LOCK, lock_directory
from tests.registry.client import OCI_MANIFEST, digest_of, image_manifest
from tests.registry.processes import Server, run

APP = "admin/app"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    with Server(data, PACKHOUSE_WORKERS="1") as server:
        yield server


def push(server: Server) -> None:
    """Push an image without layers as v1."""
    with server.client() as client:
        begun = client.post(f"/v2/{APP}/blobs/uploads/").headers["Location"]
        joint = "&" if "?" in begun else "?"
        url = f"{begun}{joint}digest={digest_of(b'{}')}"
        assert client.put(url, content=b"{}").status_code == 201
        url, kind = f"/v2/{APP}/manifests/v1", {"Content-Type": OCI_MANIFEST}
        manifest = json.dumps(image_manifest(b"{}")).encode()
        assert client.put(url, content=manifest, headers=kind).status_code == 201


def test_a_command_names_the_server_that_runs_here(server: Server, data: Path) -> None:
    push(server)
    command = ("package", "install", APP, "--data", data)
    shown = run(*command).stdout
    assert f"docker pull localhost:{server.port}/{APP}:v1" in shown
    shown = run(*command, PACKHOUSE_PUBLIC_URL="https://packages.example.com").stdout
    assert f"docker pull packages.example.com/{APP}:v1" in shown
    assert server.stop() == 0
    refused = run(*command)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("packhouse: nobody knows what clients call this server")
    assert "public_url" in refused.stderr
    shown = run(*command, PACKHOUSE_PUBLIC_URL="https://packages.example.com").stdout
    assert f"docker pull packages.example.com/{APP}:v1" in shown


def test_who_listens_is_told_until_the_process_ends(server: Server, data: Path) -> None:
    assert listening(data) == Listening((server.url,), server.pid)
    server.stop(signal.SIGKILL)
    assert (data / "listening.json").exists()
    assert listening(data) is None


def test_a_process_id_that_was_used_again_is_no_server(server: Server, data: Path) -> None:
    server.stop(signal.SIGKILL)
    told = json.loads((data / "listening.json").read_text())
    (data / "listening.json").write_text(json.dumps({**told, "pid": os.getpid()}))
    assert listening(data) is None


def test_a_copied_directory_has_no_server(server: Server, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    assert (copy / "listening.json").exists()
    assert listening(copy) is None
    assert listening(data) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"urls": 1, "pid": 2}', "null"])
def test_a_file_that_says_something_else_says_nothing(data: Path, text: str) -> None:
    data.mkdir()
    (data / "listening.json").write_text(text)
    assert listening(data) is None


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("http://0.0.0.0:5000", "http://localhost:5000"),
        ("https://[::1]:5000", "https://localhost:5000"),
        ("http://192.0.2.7:80", "http://192.0.2.7:80"),
    ],
)
def test_the_site_is_what_this_machine_s_clients_can_type(url: str, site: str) -> None:
    assert Listening((url, "http://other:1"), 7).site == site


def test_a_look_keeps_no_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / SERVE_LOCK, "a") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        with lock_directory(tmp_path), pytest.raises(ConfigError, match="another server works"):
            lock_directory(tmp_path)
