"""An nginx in front of a registry, with the site that docs/proxy.md shows."""

import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.clients.server import PACKHOUSE, Registry
from tests.clients.shell import client

DOCUMENT = Path(__file__).parents[2] / "docs" / "proxy.md"
START_SECONDS = 60

AROUND = """
daemon off;
worker_processes 2;
user root;
pid {home}/nginx.pid;
error_log stderr info;
events {{}}
http {{
    access_log {home}/access.log;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi;
    uwsgi_temp_path {home}/uwsgi;
{site}
}}
"""


def blocks() -> list[str]:
    """The nginx configuration in the document, block by block."""
    return re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


SITE, FORWARDED, LIMIT = blocks()
NO_LIMIT = next(line for line in SITE.splitlines() if "client_max_body_size" in line)


def put(text: str, changes: Mapping[str, str]) -> str:
    """Put other values in; each must be there, so that no test runs what nobody reads."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in {DOCUMENT}"
        text = text.replace(old, new)
    return text


def door() -> socket.socket:
    """A listening socket, which nginx after nginx may inherit.

    nginx leaves such a socket as it is: a worker would wait in accept() for a connection that
    another took.
    """
    listening = socket.create_server(("127.0.0.1", 0), backlog=511)
    listening.setblocking(False)
    return listening


def address(listening: socket.socket) -> str:
    return "{}:{}".format(*listening.getsockname())


@dataclass(frozen=True, slots=True)
class House:
    """A registry that serves plain HTTP, and the door that its proxy will keep."""

    registry: Registry
    door: socket.socket
    certificate: Path
    key: Path
    public_url: str

    @property
    def host(self) -> str:
        return address(self.door)

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    def site(self) -> str:
        """The documented site with our names in the place of its own."""
        ours = {
            "listen 443 ssl": f"listen {self.host} ssl",
            "server 127.0.0.1:5000": f"server {self.registry.host}",
            "/etc/nginx/tls/fullchain.pem": str(self.certificate),
            "/etc/nginx/tls/privkey.pem": str(self.key),
        }
        return put(SITE, ours)

    def doctor(self) -> dict[str, str]:
        """What doctor says of this way in, by name."""
        data = ("--data", self.registry.data)
        trust = {"SSL_CERT_FILE": str(self.certificate), "PACKHOUSE_TRUSTED_PROXIES": "127.0.0.1"}
        done = subprocess.run(
            [PACKHOUSE, "doctor", *data, "--json", "--url", self.url],
            env={**os.environ, **trust},
            capture_output=True,
            text=True,
            check=False,
        )
        answer = json.loads(done.stdout)
        assert done.returncode == (0 if answer["ok"] else 1)
        return {at["name"]: f"{at['status']}: {at['message']}" for at in answer["checks"]}

    def http(self) -> httpx.Client:
        who = (self.registry.user, self.registry.token)
        return httpx.Client(base_url=self.url, auth=who, timeout=START_SECONDS, verify=self.trust)


@contextmanager
def running(
    home: Path, site: str, listening: socket.socket, trust: ssl.SSLContext
) -> Iterator[Path]:
    """Run nginx until the block ends; yields its error log."""
    home.mkdir()
    log, configuration = home / "error.log", home / "nginx.conf"
    configuration.write_text(AROUND.format(home=home, site=site))
    number = listening.fileno()
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [client("nginx"), "-p", home, "-c", configuration],
            stderr=file,
            env={"NGINX": f"{number};"},  # how one nginx hands its sockets to the next
            pass_fds=[number],
        ) as process,
    ):
        try:
            wait(process, f"https://{address(listening)}/healthz", trust, log)
            yield log
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def wait(process: subprocess.Popen[bytes], url: str, trust: ssl.SSLContext, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, verify=trust, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"nginx did not start:\n{log.read_text()}")
