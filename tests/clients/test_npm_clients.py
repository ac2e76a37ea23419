"""npm, pnpm, yarn 1 and yarn 4: publish, install, and install again from the lock file."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients import npm
from tests.clients.npm import CLIENTS, Client
from tests.clients.server import Registry
from tests.clients.shell import Shell

TOOL = "#!/usr/bin/env node\nconsole.log('padded by', require('./index.js'));\n"


@pytest.fixture(params=CLIENTS, ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    return npm.home(tmp_path / "alice", registry, registry.token)


def test_a_package_is_published_and_installed_again_from_the_lock_file(
    client: Client, alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "pad", pad)
    npm.published(alice, client, source)
    app = npm.project(tmp_path / "app")
    alice(client.name, *client.add, pad, cwd=app)
    assert npm.says(alice, app, pad) == "1.0.0"
    lock = (app / client.lock).read_text()
    npm.published(alice, client, npm.package(source, pad, "1.0.1"))

    shutil.rmtree(app / "node_modules")
    elsewhere = npm.home(tmp_path / "elsewhere", registry, registry.token)
    elsewhere(client.name, *client.again, cwd=app)
    assert npm.says(elsewhere, app, pad) == "1.0.0"
    assert (app / client.lock).read_text() == lock


def test_a_lock_file_holds_the_hash_of_what_was_published(
    client: Client, alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    alice("npm", "publish", cwd=npm.package(tmp_path / "pad", pad))
    app = npm.project(tmp_path / "app")
    alice(client.name, *client.add, pad, cwd=app)
    about = json.loads(alice("npm", "view", pad, "dist", "--json"))
    assert about["tarball"] == f"{registry.url}/npm/{pad}/-/{pad.partition('/')[2]}-1.0.0.tgz"
    if client is not npm.BERRY:  # it has a hash of its own, of the archive that it makes
        assert about["integrity"] in (app / client.lock).read_text()


def test_what_one_of_them_publishes_all_of_them_install(
    client: Client, alice: Shell, pad: str, tmp_path: Path
) -> None:
    """A package with a command, and one that depends on it by a range."""
    source = npm.package(tmp_path / "pad", pad, "1.2.3", bin={"pad-left": "tool.js"})
    (source / "tool.js").write_text(TOOL)
    npm.published(alice, client, source)
    above = npm.package(tmp_path / "above", f"{pad}-above", dependencies={pad: "^1.1.0"})
    npm.published(alice, client, above)
    for other in CLIENTS:
        app = npm.project(tmp_path / f"app-{other}")
        alice(other.name, *other.add, f"{pad}-above", pad, cwd=app)
        assert npm.says(alice, app, pad) == "1.2.3"
        assert "padded by 1.2.3" in alice("npm", "exec", "--no", "pad-left", cwd=app)


def test_a_beta_is_installed_by_its_tag_alone(
    client: Client, alice: Shell, pad: str, tmp_path: Path
) -> None:
    npm.published(alice, client, npm.package(tmp_path / "pad", pad))
    beta = npm.package(tmp_path / "pad", pad, "2.0.0-beta.1")
    npm.published(alice, client, beta, "--tag", "beta")
    for wanted, version in ((pad, "1.0.0"), (f"{pad}@beta", "2.0.0-beta.1")):
        app = npm.project(tmp_path / version)
        alice(client.name, *client.add, wanted, cwd=app)
        assert npm.says(alice, app, pad) == version


def test_a_private_package_is_for_tokens_and_a_public_one_for_everybody(
    client: Client, alice: Shell, registry: Registry, owner: str, tmp_path: Path
) -> None:
    alice("npm", "publish", cwd=npm.package(tmp_path / "pad", f"@{owner}/pad"))
    nobody = npm.home(tmp_path / "nobody", registry)
    app = npm.project(tmp_path / "app")
    said = nobody.fails(client.name, *client.add, f"@{owner}/pad", cwd=app)
    assert npm.OF_THEIR_OWN.get(client.name, f"to see the npm packages of {owner}") in said
    registry.admin("package", "visibility", f"{owner}/npm/pad", "public")
    nobody(client.name, *client.add, f"@{owner}/pad", cwd=app)
    assert npm.says(nobody, app, f"@{owner}/pad") == "1.0.0"
    shutil.rmtree(app / "node_modules")
    npm.home(tmp_path / "somebody", registry)(client.name, *client.again, cwd=app)
    assert npm.says(nobody, app, f"@{owner}/pad") == "1.0.0"


def test_below_auth_everybody_is_asked_for_a_token(
    client: Client, alice: Shell, registry: Registry, owner: str, tmp_path: Path
) -> None:
    alice("npm", "publish", cwd=npm.package(tmp_path / "pad", f"@{owner}/pad"))
    registry.admin("package", "visibility", f"{owner}/npm/pad", "public")
    app = npm.project(tmp_path / "app")
    nobody = npm.home(tmp_path / "nobody", registry, mount="auth/npm")
    said = nobody.fails(client.name, *client.add, f"@{owner}/pad", cwd=app)
    assert npm.OF_THEIR_OWN.get(client.name, "this address always asks for one") in said
    somebody = npm.home(tmp_path / "somebody", registry, registry.token, mount="auth/npm")
    somebody(client.name, *client.add, f"@{owner}/pad", cwd=app)
    assert npm.says(somebody, app, f"@{owner}/pad") == "1.0.0"


def test_a_read_only_token_installs_and_does_not_publish(
    client: Client, alice: Shell, registry: Registry, pad: str, tmp_path: Path
) -> None:
    alice("npm", "publish", cwd=npm.package(tmp_path / "pad", pad))
    scope = ("--scope", "read")
    token = registry.admin("token", "create", "--user", registry.user, *scope)
    reader = npm.home(tmp_path / "reader", registry, token)
    app = npm.project(tmp_path / "app")
    reader(client.name, *client.add, pad, cwd=app)
    assert npm.says(reader, app, pad) == "1.0.0"
    again = npm.package(tmp_path / "pad", pad, "1.0.1")
    said = npm.refused(reader, client, again)
    assert "scope 'write'" in said
    assert json.loads(alice("npm", "view", pad, "versions", "--json")) == ["1.0.0"]


AUDITS = {
    npm.NPM: (["audit"], "found 0 vulnerabilities"),
    npm.PNPM: (["audit"], "No known vulnerabilities found"),
    npm.BERRY: (["npm", "audit"], "No audit suggestions"),
}
"""Yarn 1 asks its own registry, whatever is configured."""


@pytest.mark.parametrize("client", AUDITS, ids=str)
def test_an_audit_finds_nothing(client: Client, alice: Shell, pad: str, tmp_path: Path) -> None:
    alice("npm", "publish", cwd=npm.package(tmp_path / "pad", pad))
    app = npm.project(tmp_path / "app")
    alice(client.name, *client.add, pad, cwd=app)
    command, said = AUDITS[client]
    assert said in alice(client.name, *command, cwd=app)
