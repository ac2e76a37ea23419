"""Scoped names behind nginx: one that passes `%2f` on as it came, and one that decodes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import nginx, npm, server
from tests.clients.nginx import House
from tests.clients.npm import CLIENTS
from tests.clients.shell import Shell

PASS = "proxy_pass http://packhouse;"
DECODE = {PASS: "proxy_pass http://packhouse/;"}
"""With a path of its own behind the host, nginx writes the path anew from what it decoded."""


@pytest.fixture(scope="module", params=["as-it-came", "decoded"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    certificate, key = server.make_certificate(home)
    with (
        nginx.door() as door,
        server.running(home, PACKHOUSE_TRUSTED_PROXIES="127.0.0.1") as registry,
    ):
        made = House(registry, door, certificate, key, "")
        site = nginx.put(made.site(), DECODE) if request.param == "decoded" else made.site()
        with nginx.running(home / "nginx", site, door, made.trust):
            yield made


@pytest.fixture
def alice(house: House, tmp_path: Path) -> Shell:
    shell = npm.home(tmp_path / "alice", house.registry, house.registry.token, url=house.url)
    # Not the certificate: pnpm trusts none that signs itself, however it is told.
    with (shell.home / ".npmrc").open("a") as file:
        file.write("strict-ssl=false\n")
    (shell.home / ".yarnrc").write_text("strict-ssl false\n")
    with (shell.home / ".yarnrc.yml").open("a") as file:
        file.write("enableStrictSsl: false\n")
    return shell


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_scoped_names_are_published_and_installed(
    alice: Shell, house: House, client: npm.Client, pad: str, tmp_path: Path
) -> None:
    npm.published(alice, client, npm.package(tmp_path / "pad", pad))
    app = npm.project(tmp_path / "app")
    alice(client.name, *client.add, pad, cwd=app)
    assert npm.says(alice, app, pad) == "1.0.0"
    assert alice("npm", "view", pad, "dist.tarball").startswith(f"{house.url}/npm/{pad}/-/")
    alice("npm", "dist-tag", "add", f"{pad}@1.0.0", "stable")
    alice("npm", "deprecate", f"{pad}@1.0.0", "no more")
    alice("npm", "unpublish", f"{pad}@1.0.0", "--force")
    assert "E404" in alice.fails("npm", "view", pad)
