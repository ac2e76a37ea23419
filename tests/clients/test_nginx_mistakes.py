"""What users see of a proxy that is set up wrongly, and what `packhouse doctor` says of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import images, nginx, server
from tests.clients.engine import Engine
from tests.clients.nginx import House
from tests.clients.shell import Shell

MEGABYTE = 1_000_000
CURE = "client_max_body_size must be 0"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    certificate, key = server.make_certificate(home)
    settings = {"PACKHOUSE_TRUSTED_PROXIES": "127.0.0.1"}
    with (
        nginx.door() as door,
        server.running(home, **settings) as registry,
    ):
        yield House(registry, door, certificate, key, "")


def doctor(house: House, tmp_path: Path, changes: dict[str, str]) -> dict[str, str]:
    """Run doctor through an nginx with these changes; return what it says by name."""
    site = nginx.put(house.site(), changes)
    with nginx.running(tmp_path / "nginx", site, house.door, house.trust):
        return house.doctor()


def test_doctor_finds_nothing_in_the_documented_site(house: House, tmp_path: Path) -> None:
    found = doctor(house, tmp_path, {})
    names = ["public certificate", "public URL", "proxy headers", "claims of clients"]
    for name in [*names, "large uploads"]:
        assert found[name].startswith("ok: "), found
    assert "through 127.0.0.1" in found["proxy headers"]


HEADER = "        proxy_set_header {};\n".format
FOR, PROTO, HOST, NONE = (
    HEADER("X-Forwarded-For $remote_addr"),
    HEADER("X-Forwarded-Proto $scheme"),
    HEADER("X-Forwarded-Host $http_host"),
    HEADER('Forwarded ""'),
)
MISTAKES = {
    "limit": ({nginx.NO_LIMIT: "    client_max_body_size 100m;"}, "large uploads", "fail: ", "413"),
    "buffering": (
        {"proxy_request_buffering off": "proxy_request_buffering on"},
        "large uploads",
        "warn: ",
        "proxy_request_buffering off",
    ),
    "scheme": ({PROTO: ""}, "proxy headers", "fail: ", "X-Forwarded-Proto"),
    "client": ({FOR: ""}, "proxy headers", "warn: ", "X-Forwarded-For"),
    "host": (
        {HEADER("Host $http_host"): "", HOST: HEADER('X-Forwarded-Host ""')},
        "proxy headers",
        "fail: ",
        "proxy_set_header Host $http_host",
    ),
    "forwarded": ({NONE: ""}, "claims of clients", "fail: ", 'Forwarded ""'),
    "forwarded-host": ({HOST: ""}, "claims of clients", "fail: ", "must set each"),
    "redirect": (
        {
            "        proxy_pass http": "        return 308 https://elsewhere.example/;\n    }\n"
            "    location /healthz {\n        proxy_pass http"
        },
        "public URL",
        "fail: ",
        "redirects to 'https://elsewhere.example/'",
    ),
    "another-site": (
        {
            "        proxy_pass http": "        return 404;\n    }\n"
            "    location /healthz {\n        proxy_pass http"
        },
        "public URL",
        "fail: ",
        "answers 404",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_doctor_names_a_proxy_s_mistake_and_its_cure(
    house: House, tmp_path: Path, mistake: str
) -> None:
    changes, name, status, said = MISTAKES[mistake]
    found = doctor(house, tmp_path, changes)
    assert found[name].startswith(status), found
    assert said in found[name]


def test_doctor_names_a_proxy_that_is_not_trusted(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("untrusting")
    certificate, key = server.make_certificate(home)
    with nginx.door() as door, server.running(home) as registry:
        found = doctor(House(registry, door, certificate, key, ""), tmp_path, {})
    assert found["proxy headers"].startswith("fail: ")
    assert "127.0.0.1: name it in trusted_proxies" in found["proxy headers"]


@pytest.fixture
def limited(house: House, tmp_path: Path) -> Iterator[House]:
    """Behind an nginx that takes 100 MB, and says so as the document shows."""
    site = nginx.put(house.site(), {nginx.NO_LIMIT: nginx.LIMIT})
    with nginx.running(tmp_path / "nginx", site, house.door, house.trust):
        yield house


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Iterator[Shell]:
    """A shell in which alice is logged in, and whose clients trust the certificate."""
    made = Shell(tmp_path / "home", {"SSL_CERT_FILE": str(house.certificate)}, [house.registry.log])
    made.remember(house.host, house.registry.user, house.registry.password)
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_clients_show_what_a_limit_of_100_mb_says(
    limited: House, dockerd: Engine, shell: Shell, name: str, tmp_path: Path
) -> None:
    shell.env["DOCKER_HOST"] = dockerd.socket
    target, size = f"{limited.host}/{name}", 110 * MEGABYTE
    images.image_layout(tmp_path / "in", layers=(91,), layer_size=size)
    local = f"{tmp_path}/in:latest"
    assert CURE in shell.fails("crane", "push", tmp_path / "in", f"{target}:v1")
    assert CURE in shell.fails("skopeo", "copy", f"oci:{local}", f"docker://{target}:v1")
    assert CURE in shell.fails("oras", "cp", "--from-oci-layout", local, f"{target}:v1")
    images.docker_archive(tmp_path / "image.tar", f"{target}:v1", layers=(91,), layer_size=size)
    shell("docker", "load", "-i", tmp_path / "image.tar")
    said = shell.fails("docker", "push", f"{target}:v1")
    shell("docker", "rmi", f"{target}:v1")
    assert CURE in said
