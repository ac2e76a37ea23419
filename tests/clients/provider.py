"""A real OpenID Connect provider, npm's `oidc-provider`, as a process on loopback."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.clients.server import stop
from tests.clients.shell import client

SCRIPT = Path(__file__).with_name("provider.mjs")
START_SECONDS = 60
SECRET = "a secret: +%/&=?"


@dataclass(frozen=True, slots=True)
class RunningProvider:
    """Where it is, and the people it knows."""

    issuer: str
    accounts: Path

    def knows(self, people: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the people, by login, and what is said of them."""
        partial = self.accounts.with_suffix(".partial")
        partial.write_text(json.dumps(people))
        partial.replace(self.accounts)


def signing_keys() -> str:
    """A key set with private keys, one for each algorithm that the provider signs with."""
    rsa_key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    ec_key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    keys = [{**key, "kid": kid, "use": "sig"} for kid, key in (("rsa", rsa_key), ("ec", ec_key))]
    return json.dumps({"keys": [{k: v for k, v in key.items() if k != "key_ops"} for key in keys]})


@contextmanager
def running(home: Path) -> Iterator[RunningProvider]:
    """Run a provider that sends browsers back to our callback on 127.0.0.1, and nowhere else."""
    accounts, ready, log = home / "accounts.json", home / "ready.json", home / "provider.log"
    accounts.write_text("{}")
    command = [client("node"), SCRIPT, client("oidc-provider"), accounts, ready]
    environment = {**os.environ, "KEYS": signing_keys()}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process,
    ):
        try:
            issuer = _wait(process, ready, log)
            yield RunningProvider(issuer, accounts)
        finally:
            stop(process)


def _wait(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready.exists():
            issuer: str = json.loads(ready.read_text())["issuer"]
            return issuer
        time.sleep(0.05)
    raise RuntimeError(f"the provider did not start:\n{log.read_text()}")
