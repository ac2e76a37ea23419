"""Caddy with TLS in front, by the lines of docs/proxy.md."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients import images, nginx, server
from tests.clients.nginx import House
from tests.clients.shell import Shell, client

LINES = re.findall(r"```caddy\n(.*?)```", nginx.DOCUMENT.read_text(), re.DOTALL)[0]
AROUND = """{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2
    }}
}}
{site}"""


@contextmanager
def reserved() -> Iterator[socket.socket]:
    """A port that Caddy, which shares its ports (SO_REUSEPORT), can take and nobody else."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound


@contextmanager
def running(home: Path, house: House, lines: str) -> Iterator[None]:
    """Run Caddy until the block ends."""
    names = {
        "packages.example.com {": f"https://{house.host} {{\n    bind 127.0.0.1\n"
        f"    tls {house.certificate} {house.key}",
        "127.0.0.1:5000": house.registry.host,
    }
    home.mkdir()
    file, log = home / "Caddyfile", home / "log"
    file.write_text(AROUND.format(site=nginx.put(lines, names)))
    command = [client("caddy"), "run", "--adapter", "caddyfile", "--config", file]
    places = dict.fromkeys(["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"], str(home))
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stderr=out, env={**os.environ, **places}) as process,
    ):
        try:
            nginx.wait(process, f"{house.url}/healthz", house.trust, log)
            yield
        finally:
            process.terminate()
            process.wait(nginx.START_SECONDS)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    certificate, key = server.make_certificate(home)
    with (
        reserved() as door,
        server.running(home, PACKHOUSE_TRUSTED_PROXIES="127.0.0.1") as registry,
    ):
        yield House(registry, door, certificate, key, "")


def test_clients_push_and_pull_and_doctor_finds_nothing(
    house: House, tmp_path: Path, name: str
) -> None:
    trust = {"SSL_CERT_FILE": str(house.certificate)}
    shell = Shell(tmp_path / "home", trust, [house.registry.log])
    shell.remember(house.host, house.registry.user, house.registry.password)
    made = images.image_layout(tmp_path / "in", layer_size=3_000_000)
    with running(tmp_path / "caddy", house, LINES):
        found = house.doctor()
        shell("crane", "push", tmp_path / "in", f"{house.host}/{name}:v1")
        shell("skopeo", "copy", f"docker://{house.host}/{name}:v1", f"oci:{tmp_path}/out:v1")
    assert (tmp_path / "out" / "blobs" / made["digest"].replace(":", "/")).exists()
    for about in ("public URL", "proxy headers", "claims of clients", "large uploads"):
        assert found[about].startswith("ok: "), found


def test_a_forwarded_header_that_is_left_in_is_found(house: House, tmp_path: Path) -> None:
    with running(tmp_path / "caddy", house, nginx.put(LINES, {"header_up -Forwarded": ""})):
        assert house.doctor()["claims of clients"].startswith("fail: ")
