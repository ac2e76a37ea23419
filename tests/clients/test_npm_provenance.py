"""npm publish --provenance-file: the bundle is kept as a referrer, and served to both doors."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell

UNVERIFIED = Path(__file__).with_name("unverified.cjs")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://slsa.dev/provenance/v1"


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    shell = npm.home(tmp_path / "alice", registry, registry.token)
    shell.remember(registry.host, registry.user, registry.token)
    return shell


def bundle(pad: str, tarball: bytes, version: str = "1.0.0") -> dict[str, Any]:
    """A bundle as a build service makes it, but for its signature."""
    subject = {
        "name": f"pkg:npm/{pad.replace('@', '%40')}@{version}",
        "digest": {"sha512": hashlib.sha512(tarball).hexdigest()},
    }
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": {"externalParameters": {"workflow": "é"}}},
    }
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(json.dumps(statement).encode()).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": "AAAA", "keyid": ""}],
        },
    }


def test_a_bundle_is_a_referrer_and_an_attestation(
    alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "pad", pad)
    packed = json.loads(alice("npm", "pack", "--json", cwd=source))
    assert packed[0]["version"] == "1.0.0"
    tarball = next(source.glob("*.tgz"))
    made = bundle(pad, tarball.read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps(made))
    options = ("--provenance-file", tmp_path / "bundle.json")
    alice("npm", "publish", tarball, *options, env={"NODE_OPTIONS": f"--require={UNVERIFIED}"})

    dist = json.loads(alice("npm", "view", f"{pad}@1.0.0", "dist", "--json"))
    assert dist["attestations"]["provenance"] == {"predicateType": PREDICATE}
    with registry.http() as http:
        answer = http.get(dist["attestations"]["url"])
        assert answer.json() == {"attestations": [{"predicateType": PREDICATE, "bundle": made}]}
    name = f"{registry.host}/{pad.replace('@acme/', 'acme/npm/')}:1.0.0"
    discover = ("oras", "discover", "--plain-http", "--format", "json")
    [found] = json.loads(alice(*discover, name))["referrers"]
    assert found["artifactType"] == BUNDLE
    app = npm.project(tmp_path / "app")
    alice("npm", "install", pad, cwd=app)
    assert npm.says(alice, app, pad) == "1.0.0"
