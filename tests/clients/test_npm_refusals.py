"""What clients of npm's protocol show to people whose request is refused."""

import re
from pathlib import Path

import pytest

from tests.clients import npm
from tests.clients.npm import CLIENTS, Client
from tests.clients.server import Registry
from tests.clients.shell import Shell


@pytest.fixture(params=CLIENTS, ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


@pytest.fixture
def alice(tmp_path: Path, registry: Registry) -> Shell:
    return npm.home(tmp_path / "alice", registry, registry.token)


def test_a_dead_or_wrong_token_is_named(
    client: Client,
    alice: Shell,
    registry: Registry,
    dead_tokens: dict[str, str],
    pad: str,
    tmp_path: Path,
) -> None:
    source = npm.package(tmp_path / "pad", pad)
    alice("npm", "publish", cwd=source)
    for said, token in {**dead_tokens, "wrong user name, password or token": "phu_no"}.items():
        other = npm.home(tmp_path / "other", registry, token)
        app = npm.project(tmp_path / "app")
        shown = npm.OF_THEIR_OWN.get(client.name, said)
        refused = other.fails(client.name, *client.add, pad, cwd=app)
        assert shown in refused
        assert "password at" not in refused, "npm sends people to another registry's page"
        assert ("try logging in again" in refused) is (client.name == "npm")
        again = npm.package(source, pad, "1.0.1")
        assert shown in npm.refused(other, client, again)


def test_who_may_not_write_is_told_so(
    client: Client, registry: Registry, pad: str, tmp_path: Path
) -> None:
    token = registry.admin("token", "create", "--user", registry.reader)
    bob = npm.home(tmp_path / "bob", registry, token)
    source = npm.package(tmp_path / "pad", pad)
    assert "bob may not" in npm.refused(bob, client, source)


def test_an_owner_that_is_not_there_is_named(client: Client, alice: Shell, tmp_path: Path) -> None:
    source = npm.package(tmp_path / "pad", "@nobody-here/pad")
    assert "nobody-here" in npm.refused(alice, client, source)


def test_a_name_without_a_scope_is_told_what_to_do(
    client: Client, alice: Shell, tmp_path: Path
) -> None:
    source = npm.package(tmp_path / "pad", "pad")
    assert "scoped" in npm.refused(alice, client, source)
    app = npm.project(tmp_path / "app")
    alice.fails(client.name, *client.add, "pad", cwd=app)


def test_what_is_not_there_is_not_found(client: Client, alice: Shell, tmp_path: Path) -> None:
    app = npm.project(tmp_path / "app")
    said = alice.fails(client.name, *client.add, "@acme/there-is-none", cwd=app)
    words = r"\b404\b|there is no package acme/npm/there-is-none"  # a port may hold the digits
    assert re.search(words, said)
