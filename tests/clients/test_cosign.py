"""cosign: images signed and verified with a local key, in both forms of storage.

Version 3 keeps a bundle as a referrer that has no tag; version 2 kept a `sha256-….sig` tag.
No transparency log: it needs a network.
"""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

HTTP = "--allow-http-registry"
VERIFY = ("cosign", "verify", HTTP, "--key", "cosign.pub", "--insecure-ignore-tlog")
OLD_FORM = ("--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.fixture
def cosign(run: Shell, registry: Registry) -> Shell:
    """A shell with a key pair, in which alice is logged in."""
    run.env["COSIGN_PASSWORD"] = ""
    run("cosign", "generate-key-pair")
    run("cosign", "signing-config", "create", "--out", "offline.json")
    return login(run, registry, registry.user, registry.password)


def login(run: Shell, registry: Registry, user: str, secret: str) -> Shell:
    options = ("-u", user, "--password-stdin", registry.host)
    run("crane", "auth", "login", *options, stdin=secret)
    return run


@pytest.fixture
def image(cosign: Shell, repository: str, tmp_path: Path) -> str:
    """A pushed image, by digest."""
    made = images.index_layout(tmp_path / "in")
    cosign("crane", "push", tmp_path / "in", f"{repository}:v1")
    return f"{repository}@{made['digest']}"


def sign(run: Shell, image: str, *options: str) -> None:
    run("cosign", "sign", HTTP, "--key", "cosign.key", "--yes", *options, image)


def referrers(registry: Registry, image: str) -> list[dict[str, str]]:
    repository, _, digest = image.removeprefix(f"{registry.host}/").partition("@")
    with registry.http() as http:
        found: list[dict[str, str]] = http.get(f"/v2/{repository}/referrers/{digest}").json()[
            "manifests"
        ]
    return found


def test_a_bundle_is_a_referrer_without_a_tag(
    cosign: Shell, registry: Registry, image: str
) -> None:
    sign(cosign, image, "--signing-config", "offline.json")
    assert [found["artifactType"] for found in referrers(registry, image)] == [BUNDLE]
    assert cosign("crane", "ls", image.partition("@")[0]).split() == ["v1"]
    assert image.partition("@")[2] in cosign(*VERIFY, image)


def test_a_signature_of_the_old_form_is_a_tag(cosign: Shell, image: str) -> None:
    sign(cosign, image, *OLD_FORM)
    repository, _, digest = image.partition("@")
    assert f"{digest.replace(':', '-')}.sig" in cosign("crane", "ls", repository).split()
    said = json.loads(cosign(*VERIFY, "--new-bundle-format=false", image))
    assert said[0]["critical"]["image"]["docker-manifest-digest"] == digest


def test_an_attestation_is_kept(cosign: Shell, registry: Registry, image: str) -> None:
    (cosign.home / "about.json").write_text('{"builder": "tests"}')
    predicate = ("--predicate", "about.json", "--type", "https://example.com/about/v1")
    attest = ("cosign", "attest", HTTP, "--key", "cosign.key", "--yes", *predicate)
    cosign(*attest, "--signing-config", "offline.json", image)
    assert len(referrers(registry, image)) == 1
    check = ("cosign", "verify-attestation", HTTP, "--key", "cosign.pub")
    cosign(*check, "--insecure-ignore-tlog", "--type", "https://example.com/about/v1", image)


def test_signatures_travel_with_a_copy(
    cosign: Shell, registry: Registry, repository: str, image: str
) -> None:
    sign(cosign, image, "--signing-config", "offline.json")
    copy = ("oras", "cp", "-r", "--from-plain-http", "--to-plain-http")
    cosign(*copy, f"{repository}:v1", f"{repository}-copy:v1")
    moved = image.replace("@", "-copy@")
    assert referrers(registry, moved) == referrers(registry, image)
    cosign(*VERIFY, moved)


def test_an_unsigned_image_is_not_verified(cosign: Shell, image: str) -> None:
    assert "no signatures found" in cosign.fails(*VERIFY, image)


def test_a_wrong_password_is_refused(cosign: Shell, registry: Registry, image: str) -> None:
    login(cosign, registry, registry.user, "wrong-password")
    assert "wrong user name, password or token" in cosign.fails(*VERIFY, image)


def test_a_dead_token_is_refused(
    cosign: Shell, registry: Registry, dead_tokens: dict[str, str], image: str
) -> None:
    for said, token in dead_tokens.items():
        login(cosign, registry, registry.user, token)
        assert said in cosign.fails(*VERIFY, image)


def test_a_reader_verifies_and_cannot_sign(cosign: Shell, registry: Registry, image: str) -> None:
    sign(cosign, image, "--signing-config", "offline.json")
    login(cosign, registry, registry.reader, registry.reader_password)
    cosign(*VERIFY, image)
    options = ("--key", "cosign.key", "--yes", "--signing-config", "offline.json")
    assert "bob may not push acme/" in cosign.fails("cosign", "sign", HTTP, *options, image)


def test_a_name_without_an_owner_is_explained(cosign: Shell, registry: Registry) -> None:
    image = f"{registry.host}/alpine@sha256:{'0' * 64}"
    options = ("--key", "cosign.key", "--yes", "--signing-config", "offline.json")
    assert "owner/image" in cosign.fails("cosign", "sign", HTTP, *options, image)
