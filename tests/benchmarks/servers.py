"""The servers side by side: Packhouse, docker-registry, nginx, each in a process group of its own.

All listen on loopback alone and are stopped by process id. A registry given by URL takes
docker-registry's place.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from tests.benchmarks import filling, programs
from tests.benchmarks.tokens import authorization

PACKHOUSE = "packhouse"
REGISTRY = "docker-registry"
NGINX = "nginx"
VERDACCIO = "verdaccio"
FEW_PACKAGES = "packhouse of 50 packages"

START_SECONDS = 60
STOP_SECONDS = 45
COMMAND = Path(sys.executable).with_name("packhouse")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a server's certificate and key."""

    certificate: Path
    key: Path


@dataclass(slots=True)
class Server:
    """A server that runs; `pid` leads its process group and is 0 when it is not ours."""

    name: str
    url: str
    pid: int = 0
    credentials: tuple[str, str] | None = None
    certificate: Path | None = None
    started_at: float = field(default_factory=time.monotonic)

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    def headers(self, repository: str) -> dict[str, str]:
        """The Authorization header that this server wants for pull and push, if it wants one."""
        if self.name == NGINX:
            return {}
        return authorization(self.url, self.credentials, repository, self.certificate)

    def cpu_seconds(self) -> float:
        """User and system time of the whole group so far, children that ended included."""
        return sum(sum(map(int, fields[11:15])) for _, fields in self._processes()) / TICKS

    def peak_memory(self) -> int:
        """The most bytes that any of its workers ever held in memory (VmHWM)."""
        found = [pid for pid, _ in self._processes()]
        workers = [pid for pid in found if pid != self.pid] or found
        return max((_peak(pid) for pid in workers), default=0)

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        """Yield id and fields of /proc/PID/stat (from the state on) of each process of ours."""
        if not self.pid:
            return
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.pid:
                yield int(path.parent.name), fields


def _peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024 if "VmHWM:" in text else 0


class Contender(Protocol):
    """A kind of server that can be started, again and again, on the data it has."""

    name: str

    def running(self, certificate: Certificate | None = None) -> "_Running":
        """Serve while the block runs, with TLS if a certificate is given."""


class _Running(Protocol):
    def __enter__(self) -> Server: ...

    def __exit__(self, *error: object) -> bool | None: ...


class Packhouse:
    """`packhouse serve` as it comes: default workers, authentication on, a full database."""

    name = PACKHOUSE

    def __init__(self, home: Path) -> None:
        self._data = home / "packhouse"
        self._log = home / "packhouse.log"
        self.fill()
        self._token = self.mint(filling.USER)

    def fill(self) -> None:
        """Make what it has before it is started."""
        filling.copy_filled(self._data)

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Serve on a free port."""
        command = [COMMAND, "serve", "--data", self._data, "--host", "127.0.0.1", "--port", "0"]
        if certificate:
            command += ["--tls", f"{certificate.certificate},{certificate.key}"]
        ready = self._data / "listening.json"
        ready.unlink(missing_ok=True)  # of a server that was killed
        with serving(command, self._log, ready.exists, _settings()) as server:
            server.name, server.credentials = self.name, (filling.USER, self._token)
            server.url = self._url(ready)
            server.certificate = certificate.certificate if certificate else None
            yield server

    def publish(self, repository: str) -> None:
        """Make a package public."""
        self._run("package", "visibility", repository, "public")

    def mint(self, user: str) -> str:
        """Return a new token of a user."""
        scope = ("--scope", "read,write,delete")
        return self._run("token", "create", "--user", user, *scope)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [COMMAND, *command, "--data", self._data],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            env=_settings(),
            check=True,
        )
        return done.stdout.strip()

    @staticmethod
    def _url(ready: Path) -> str:
        urls: list[str] = json.loads(ready.read_text())["urls"]
        return urls[0].rstrip("/")


class FewPackages(Packhouse):
    """The same with the packages of one user alone."""

    name = FEW_PACKAGES

    def __init__(self, home: Path) -> None:
        super().__init__(home / "few")
        filling.keep_few(self._data)


def _settings() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PACKHOUSE_")}
    return {**kept, "PACKHOUSE_RESERVE_BYTES": "0"}


REGISTRY_CONFIGURATION = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
{tls}
"""


class DockerRegistry:
    """Debian's docker-registry (distribution 2.8) on files, without authentication."""

    name = REGISTRY

    def __init__(self, home: Path) -> None:
        self._program = programs.find(programs.DOCKER_REGISTRY)
        self._home = home / "docker-registry"
        self._home.mkdir()
        self._make_tags()

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Serve on a free port."""
        port, tls = free_port(), ""
        if certificate:
            files = f"certificate: {certificate.certificate}, key: {certificate.key}"
            tls = f"  tls: {{{files}}}"
        path = self._home / "config.yml"
        text = REGISTRY_CONFIGURATION.format(root=self._home / "data", port=port, tls=tls)
        path.write_text(text)
        command = [self._program.path, "serve", path]
        environment = {**os.environ, **self._program.environment}
        log = self._home / "log"
        with serving(command, log, lambda: accepts(port), environment) as server:
            finish(server, self.name, port, certificate)
            yield server

    def _make_tags(self) -> None:
        """Make the names that the filesystem driver lists as the tags of TAGGED.

        Pushes would make directories of them; a listing reads the names alone, and links of one
        file come and go a hundred times faster.
        """
        repositories = self._home / "data/docker/registry/v2/repositories"
        names = repositories / filling.TAGGED / "_manifests/tags"
        names.mkdir(parents=True)
        file = self._home / "tag"
        file.touch()
        for number in range(filling.MANY_TAGS):
            (names / filling.tag(number)).hardlink_to(file)


NGINX_CONFIGURATION = """
{user}
worker_processes 2;
daemon off;
pid {home}/pid;
error_log {home}/log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port}{ssl};
    {tls}
    root {home}/root;
  }}
}}
"""


class Nginx:
    """nginx that serves the same files by sendfile: the limit."""

    name = NGINX

    def __init__(self, home: Path) -> None:
        self._program = programs.find(programs.NGINX)
        self._home = home / "nginx"
        (self._home / "root").mkdir(parents=True)

    def link(self, target: str, path: Path) -> None:
        """Serve a file at a target."""
        at = self._home / "root" / target.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(path)

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Serve on a free port."""
        port, tls = free_port(), ""
        if certificate:
            pair = certificate.certificate, certificate.key
            tls = "ssl_certificate {}; ssl_certificate_key {};".format(*pair)
        text = NGINX_CONFIGURATION.format(
            home=self._home,
            port=port,
            ssl=" ssl" if certificate else "",
            tls=tls,
            # Its workers read files that are this user's alone.
            user="user root;" if os.geteuid() == 0 else "",
        )
        path = self._home / "nginx.conf"
        path.write_text(text)
        command = [self._program.path, "-p", self._home, "-c", path, "-e", self._home / "log"]
        environment = {**os.environ, **self._program.environment}
        with serving(command, self._home / "out", lambda: accepts(port), environment) as server:
            finish(server, self.name, port, certificate)
            yield server


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A registry that runs already, given by URL."""

    name: str
    url: str
    credentials: tuple[str, str] | None

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Return it; it is served by somebody else."""
        del certificate
        httpx.get(f"{self.url}/v2/", timeout=START_SECONDS)
        yield Server(self.name, self.url, credentials=self.credentials)


def finish(server: Server, name: str, port: int, certificate: Certificate | None) -> None:
    """Say where a server listens."""
    server.name = name
    server.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    server.certificate = certificate.certificate if certificate else None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(
    command: Sequence[object],
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str],
) -> Iterator[Server]:
    """Run a server in a process group of its own; stop it when the block ends."""
    words = [str(word) for word in command]
    with log.open("ab") as file:
        started_at = time.monotonic()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > started_at + START_SECONDS:
                raise RuntimeError(f"{words[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.002)
        yield Server("", "", process.pid, started_at=started_at)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
