"""What `docker login` with a password leaves behind, a refresh token, and who can use it.

docker sends it back by the OAuth2 form of /token for every bearer, and so do all others that read
its configuration; nothing of the password is on the disk.
"""

import json
from pathlib import Path

import pytest

from tests.clients.server import Registry
from tests.clients.shell import Shell
from tests.clients.test_docker import image_id, load, login

pytestmark = pytest.mark.usefixtures("dockerd")

READERS = {
    "crane": ["crane", "digest", "{image}"],
    "oras": ["oras", "manifest", "fetch", "--plain-http", "{image}"],
    "skopeo": ["skopeo", "inspect", "--tls-verify=false", "docker://{image}"],
    "podman": ["podman", "pull", "--tls-verify=false", "{image}"],
    "buildah": ["buildah", "pull", "--tls-verify=false", "{image}"],
    "regctl": ["regctl", "manifest", "head", "{image}"],
    "docker manifest": ["docker", "manifest", "inspect", "--insecure", "{image}"],
    "cosign": ["cosign", "tree", "--allow-insecure-registry", "{image}"],
}


def stored(run: Shell, host: str) -> dict[str, str]:
    config = json.loads(Path(run.env["REGISTRY_AUTH_FILE"]).read_text())
    found: dict[str, str] = config["auths"][host]
    return found


def sign_in_ids(registry: Registry) -> list[int]:
    """The ids of alice's live refresh tokens, oldest first."""
    listed = json.loads(registry.admin("token", "list", "--user", registry.user, "--json"))
    return [it["id"] for it in listed if it["kind"] == "refresh" and not it["revoked"]]


def test_docker_works_with_the_refresh_token_it_was_given(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.user, registry.password)
    entry = stored(run, registry.host)
    assert entry["identitytoken"].startswith("phf_")
    assert registry.password not in json.dumps(entry)
    pushed = load(run, tmp_path / "image.tar", f"{repository}:v1", layers=(1, 2, 3, 4))
    for _ in range(2):  # the same text again and again
        run("docker", "push", f"{repository}:v1")
        run("docker", "rmi", f"{repository}:v1")
        run("docker", "pull", f"{repository}:v1")
        assert image_id(run, f"{repository}:v1") == pushed
    assert stored(run, registry.host) == entry


def test_a_login_that_was_revoked_is_told_so(
    run: Shell, registry: Registry, repository: str, tmp_path: Path
) -> None:
    login(run, registry, registry.user, registry.password)
    load(run, tmp_path / "image.tar", f"{repository}:v1")
    run("docker", "push", f"{repository}:v1")
    registry.admin("token", "revoke", str(sign_in_ids(registry)[-1]))
    said = run.fails("docker", "push", f"{repository}:v1", timeout_seconds=60)
    assert "unauthorized" in said


@pytest.mark.parametrize("reader", READERS)
def test_others_use_what_docker_stored(
    run: Shell, registry: Registry, repository: str, tmp_path: Path, reader: str
) -> None:
    login(run, registry, registry.user, registry.password)
    load(run, tmp_path / "image.tar", f"{repository}:v1")
    run("docker", "push", f"{repository}:v1")
    if reader == "regctl":
        run("regctl", "registry", "set", "--skip-check", "--tls", "disabled", registry.host)
    run(*(word.format(image=f"{repository}:v1") for word in READERS[reader]))


def test_a_login_with_a_token_keeps_the_token(run: Shell, registry: Registry) -> None:
    before = sign_in_ids(registry)
    login(run, registry, registry.user, registry.token)
    assert "identitytoken" not in stored(run, registry.host)
    assert sign_in_ids(registry) == before
