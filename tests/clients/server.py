"""A running Packhouse with people in it, started and peopled by its own command line."""

import datetime
import io
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.cli import main

PACKHOUSE = Path(sys.executable).with_name("packhouse")
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Registry:
    """Where it listens, and who may do what: alice writes to `acme`, bob reads it."""

    url: str
    data: Path
    log: Path
    pid: int
    user: str = "alice"
    password: str = "alice-has-a-long-password"
    reader: str = "bob"
    reader_password: str = "bob-has-a-long-password"
    owner: str = "acme"
    certificate: Path | None = None

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def token(self) -> str:
        return (self.data.parent / "alice.token").read_text()

    def peak_memory(self) -> list[int]:
        """The most bytes that each of its processes ever held, from proc(5); Linux only."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in [str(self.pid), *children]]
        return [int(text.split("VmHWM:")[1].split()[0]) * 1024 for text in texts]

    def admin(self, *arguments: str, stdin: str = "") -> str:
        """Run a `packhouse` command on this server's data; here, for a process takes far longer."""
        said, complained, before = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(stdin)
        try:
            with redirect_stdout(said), redirect_stderr(complained):
                status = main([*arguments, "--data", str(self.data)])
        finally:
            sys.stdin = before
        if status:
            raise RuntimeError(f"packhouse {' '.join(arguments)}: {complained.getvalue()}")
        return said.getvalue().strip()

    def revoked_token(self) -> str:
        """A token of alice's that was good until now."""
        name = "revoked"
        token = self.admin("token", "create", "--user", self.user, "--name", name)
        listed = json.loads(self.admin("token", "list", "--user", self.user, "--json"))
        self.admin("token", "revoke", *[str(at["id"]) for at in listed if at["name"] == name])
        return token

    def expired_token(self) -> str:
        """A token of alice's that was good for a second, after that second."""
        token = self.admin("token", "create", "--user", self.user, "--expires", "1s")
        with self.http(self.user, token) as http:
            while http.get("/v2/").status_code == 200:
                time.sleep(0.05)
        return token

    def http(self, user: str = "", secret: str = "") -> httpx.Client:
        """A client of the API that signs in as alice, or as somebody else."""
        who = (user or self.user, secret or self.token)
        trust = ssl.create_default_context(cafile=self.certificate)
        return httpx.Client(base_url=self.url, auth=who, timeout=60, verify=trust)


def populate(registry: Registry) -> None:
    create = ("user", "create")
    registry.admin(*create, registry.user, "--password-stdin", stdin=registry.password)
    registry.admin(*create, registry.reader, "--password-stdin", stdin=registry.reader_password)
    registry.admin("org", "create", registry.owner)
    registry.admin("grant", registry.owner, registry.user, "admin")
    registry.admin("grant", registry.owner, registry.reader, "read")
    scope = ("--scope", "read,write,delete")
    token = registry.admin("token", "create", "--user", registry.user, *scope)
    (registry.data.parent / "alice.token").write_text(token)


@contextmanager
def running(home: Path, *, tls: bool = False, **settings: str) -> Iterator[Registry]:
    """Serve on a free port of 127.0.0.1, with everything below `home`."""
    data, log = home / "data", home / "server.log"
    options = ["--tls", ",".join(map(str, make_certificate(home)))] if tls else []
    command = [PACKHOUSE, "serve", "--data", data, "--host", "127.0.0.1", "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **settings}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process,
    ):
        try:
            url = wait(process, data / "listening.json", log)
            certificate = home / "certificate.pem" if tls else None
            registry = Registry(url, data, log, process.pid, certificate=certificate)
            populate(registry)
            yield registry
        finally:
            stop(process)
    shutil.rmtree(data)
    said = log.read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def wait(process: subprocess.Popen[bytes], listening: Path, log: Path) -> str:
    """The URL the server says it listens on."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if listening.exists():
            url: str = json.loads(listening.read_text())["urls"][0]
            return url.rstrip("/")
        time.sleep(0.05)
    raise RuntimeError(f"packhouse serve did not start:\n{log.read_text()}")


def make_certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for localhost and 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = home / "certificate.pem", home / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(*encoding, serialization.NoEncryption()))
    paths[1].chmod(0o600)
    return paths
