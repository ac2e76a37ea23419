"""nginx with TLS in front, by the site of docs/proxy.md: clients, uploads, and its own limit."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients import images, nginx, server
from tests.clients.engine import Engine
from tests.clients.nginx import House
from tests.clients.shell import Shell

PATIENCE = 120
OFF, ON = "proxy_request_buffering off", "proxy_request_buffering on"
THREE = "\n".join(line for line in nginx.SITE.splitlines() if "Forwarded" in line)
MEGABYTE = 1_000_000


@pytest.fixture(scope="module", params=["public-url", "no-public-url"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    certificate, key = server.make_certificate(home)
    with nginx.door() as door:
        public_url = f"https://localhost:{door.getsockname()[1]}"
        settings = {"PACKHOUSE_TRUSTED_PROXIES": "127.0.0.1"}
        if request.param == "public-url":
            settings["PACKHOUSE_PUBLIC_URL"] = public_url
        with server.running(home, **settings) as registry:
            known = settings.get("PACKHOUSE_PUBLIC_URL", "")
            yield House(registry, door, certificate, key, known)


@pytest.fixture(scope="module", params=["unbuffered", "buffered-and-forwarded"])
def proxied(
    request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The same behind nginx: as documented, and with what the document names instead."""
    site = house.site()
    if request.param != "unbuffered":
        site = nginx.put(site, {OFF: ON, THREE: nginx.FORWARDED})
    home = tmp_path_factory.mktemp("nginx") / request.param
    with nginx.running(home, site, house.door, house.trust):
        yield house


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Iterator[Shell]:
    """A shell in which alice is logged in, and whose clients trust the certificate."""
    made = Shell(tmp_path / "home", {"SSL_CERT_FILE": str(house.certificate)}, [house.registry.log])
    made.remember(house.host, house.registry.user, house.registry.password)
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_clients_are_sent_to_https_and_locations_name_no_host(proxied: House, name: str) -> None:
    challenge = httpx.get(f"{proxied.url}/v2/", verify=proxied.trust).headers["www-authenticate"]
    assert f'realm="{proxied.public_url or proxied.url}/token"' in challenge
    with proxied.http() as http:
        location = http.post(f"/v2/{name}/blobs/uploads/").headers["location"]
        assert location.startswith(f"/v2/{name}/blobs/uploads/")
        assert http.patch(location, content=b"in one piece").status_code == 202


def test_the_log_names_the_client_and_not_the_proxy(proxied: House) -> None:
    """The client is on a loopback address too: another one than nginx comes from."""
    transport = httpx.HTTPTransport(verify=proxied.trust, local_address="127.0.0.9")
    mark = {"User-Agent": f"marked/{time.monotonic_ns()}"}
    with httpx.Client(transport=transport, headers=mark, timeout=PATIENCE) as http:
        assert http.get(f"{proxied.url}/v2/").status_code == 401
    deadline = time.monotonic() + PATIENCE
    while not (found := lines_with(proxied.registry.log, mark["User-Agent"])):
        assert time.monotonic() < deadline
    assert '"client": "127.0.0.9"' in found[0].replace('":"', '": "')


def lines_with(log: Path, text: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if text in line]


def test_what_a_client_claims_of_itself_is_not_believed(proxied: House) -> None:
    claims = {
        "Forwarded": "for=192.0.2.1;proto=http;host=evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
    }
    answer = httpx.get(f"{proxied.url}/v2/", headers=claims, verify=proxied.trust)
    assert (
        f'realm="{proxied.public_url or proxied.url}/token"' in answer.headers["www-authenticate"]
    )


def test_an_upload_of_unknown_length_passes(proxied: House, name: str) -> None:
    pieces = [bytes([number]) * MEGABYTE for number in range(3)]
    with proxied.http() as http:
        location = http.post(f"/v2/{name}/blobs/uploads/").headers["location"]
        answer = http.patch(location, content=iter(pieces))
        assert (answer.status_code, answer.headers["range"]) == (202, f"0-{3 * MEGABYTE - 1}")


def test_an_upload_that_broke_off_is_resumed(
    proxied: House, name: str, request: pytest.FixtureRequest
) -> None:
    """With buffering nginx keeps the half to itself; the client is told to begin anew."""
    whole = bytes(range(256)) * 40_000
    with proxied.http() as http:
        location = http.post(f"/v2/{name}/blobs/uploads/").headers["location"]
        break_off(proxied, location, whole[: len(whole) // 2], len(whole))
        kept = resume(http, location, whole)
        assert bool(kept) == ("unbuffered" in request.node.callspec.id)
        digest = f"sha256:{images.digest_and_size([whole])[0]}"
        assert http.put(location, params={"digest": digest}).status_code == 201
        assert http.get(f"/v2/{name}/blobs/{digest}").content == whole


def break_off(house: House, location: str, half: bytes, length: int) -> None:
    """Send the head of a PATCH and half of its body; leave."""
    who = httpx.BasicAuth(house.registry.user, house.registry.token)
    authorization = who._auth_header
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: {house.host}\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with (
        socket.create_connection(house.door.getsockname(), PATIENCE) as raw,
        house.trust.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(head.encode() + half)


def resume(http: httpx.Client, location: str, whole: bytes) -> int:
    """Go on from where the registry stands, and again where it had not yet seen the break.

    Returns how many bytes it had kept.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        said = http.get(location).headers["range"]
        start = 0 if said == "0-0" else int(said.partition("-")[2]) + 1
        headers = {"Content-Range": f"{start}-{len(whole) - 1}"}
        if http.patch(location, content=whole[start:], headers=headers).status_code == 202:
            return start
    raise AssertionError("the upload could not be resumed")


def test_skopeo_crane_and_oras_push_and_pull(
    proxied: House, shell: Shell, name: str, tmp_path: Path
) -> None:
    made = images.image_layout(tmp_path / "in", layer_size=3 * MEGABYTE)
    target = f"{proxied.host}/{name}"
    shell("crane", "push", tmp_path / "in", f"{target}:crane")
    shell("crane", "validate", "--remote", f"{target}:crane")
    shell("skopeo", "copy", f"oci:{tmp_path}/in:latest", f"docker://{target}/skopeo:v1")
    shell("skopeo", "copy", f"docker://{target}/skopeo:v1", f"oci:{tmp_path}/out:latest")
    shell("oras", "cp", "--from-oci-layout", f"{tmp_path}/in:latest", f"{target}/oras:v1")
    shell("oras", "cp", "--to-oci-layout", f"{target}/oras:v1", f"{tmp_path}/back:v1")
    for found in ("out", "back"):
        assert (tmp_path / found / "blobs" / made["digest"].replace(":", "/")).exists()


def test_docker_pushes_and_pulls(
    proxied: House, dockerd: Engine, shell: Shell, name: str, tmp_path: Path
) -> None:
    shell.env["DOCKER_HOST"] = dockerd.socket
    image = f"{proxied.host}/{name}:v1"
    images.docker_archive(tmp_path / "image.tar", image, layer_size=3 * MEGABYTE)
    shell("docker", "load", "-i", tmp_path / "image.tar")
    assert "v1: digest: sha256:" in shell("docker", "push", image)
    shell("docker", "rmi", image)
    assert "Downloaded newer image" in shell("docker", "pull", image)
    shell("docker", "rmi", image)
