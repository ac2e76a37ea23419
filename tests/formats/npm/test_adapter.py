"""npm as the core sees it."""

import json
from typing import Any

import pytest

from formats.npm.adapter import ARTIFACT_TYPE, METADATA_TYPE, TARBALL_TYPE, Npm
from formats.npm.install import install_commands
from formats.npm.names import parse_name
from registry.packaging.format import Format
from storage.errors import Invalid, NameInvalid
from storage.names import parse_repository, parse_tag
from tests.formats.npm.packages import odd_one, opened, published

NPM: Format = Npm()


def test_it_says_what_it_makes() -> None:
    assert (NPM.name, NPM.default_alias) == ("npm", "latest")
    assert (NPM.artifact_type, NPM.metadata_type) == (ARTIFACT_TYPE, METADATA_TYPE)
    assert NPM.media_type("pad-1.0.0.tgz") == TARBALL_TYPE
    with pytest.raises(Invalid, match="is no file of an npm package"):
        NPM.media_type("pad-1.0.0.zip")


def test_a_repository_has_the_name_that_belongs_to_it() -> None:
    assert NPM.package_name(parse_repository("acme/npm/pad"), "pad") == "@acme/pad"
    slug = parse_name("@acme/a__b-").repository
    assert NPM.package_name(slug, "a__b-") == "@acme/a__b-"


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("acme/npm/pad", "other"),
        ("acme/npm/pad/deep", "pad/deep"),
        ("acme/npm/pad", ".hidden"),
        ("acme/maven/pad", "pad"),
        ("acme/npm/pad-x0123456789abcdef", "pad-x0123456789abcdef"),
    ],
)
def test_a_repository_that_no_package_has_is_refused(repository: str, name: str) -> None:
    with pytest.raises(NameInvalid):
        NPM.package_name(parse_repository(repository), name)


def test_tags_are_versions_and_dist_tags() -> None:
    assert NPM.tag("1.0.0-rc.1") == "1.0.0-rc.1"
    for tag, fine in {"latest": True, "1.x": False, "1.0.0": False, "_state": False}.items():
        assert NPM.is_alias(parse_tag(tag)) is fine


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ({}, {}),
        ({"deprecated": "use pad2"}, {"deprecated": "use pad2"}),
        ({"deprecated": ""}, {"deprecated": ""}),
        ({"deprecated": None}, {"deprecated": ""}),
    ],
)
def test_a_state_is_kept_in_one_form(state: dict[str, Any], kept: dict[str, Any]) -> None:
    assert NPM.check_state(state) == kept
    assert NPM.check_state(kept) == kept


@pytest.mark.parametrize(
    "state",
    [
        {"yanked": True},
        {"deprecated": 7},
        {"deprecated": "a\x00b"},
        {"attestations": ["a"]},
    ],
)
def test_a_state_that_says_anything_else_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        NPM.check_state(state)


def test_what_it_reads_it_renders() -> None:
    each = odd_one("strings")
    version = json.loads(each.body)["versions"]["1.2.3"]
    metadata = json.dumps(version).encode()
    facts = NPM.read("@acme/strings", metadata, opened("strings-1.2.3.tgz", each.tarball))
    parts = NPM.fragments(published(facts.metadata, each.tarball, **facts.computed))
    full, short = json.loads(parts["full"]), json.loads(parts["abbreviated"])
    assert full["dist"]["integrity"] == version["dist"]["integrity"]
    assert short["dist"] == full["dist"]
    assert short["hasInstallScript"] is True
    assert short["dependencies"] == {"ms": "^2.1.0"}


def test_every_client_is_told_what_to_type() -> None:
    commands = install_commands(parse_name("@acme/pad"), "1.0.0", "https://host:8443/npm")
    lines = {command.client: command.lines for command in commands}
    assert lines["npm"] == (
        "npm config set @acme:registry=https://host:8443/npm/",
        "npm install @acme/pad@1.0.0",
    )
    config = "yarn config set npmScopes.acme"
    assert lines["yarn"][:2] == (
        f"{config}.npmRegistryServer https://host:8443/npm",
        f"{config}.npmPublishRegistry https://host:8443/npm",
    )
    assert lines["oras"] == ("oras pull host:8443/acme/npm/pad:1.0.0",)
    assert lines.keys() == {"npm", "pnpm", "yarn", "yarn 1", "oras"}
