"""A version stands in documents as it was published, but for the registry's own fields."""

import base64
import hashlib
import json
from typing import Any

import pytest

from formats.npm.fragments import ABBREVIATED, FULL, INSTALLED, OWN, render_fragments
from formats.npm.members import members
from registry.packaging.format import PublishedVersion
from tests.formats.npm.packages import Real, addressed, published, real

PAD = b'{"name":"@acme/pad","version":"1.0.0","x":{"n":1.0,"e":1e3,"2":"b","1":"a","u":"\\u00e9"}}'


def rendered(version: PublishedVersion, kind: str = FULL) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_fragments(version)[kind])
    return found


@pytest.mark.parametrize("each", real(), ids=lambda each: f"{each.client} {each.name}")
def test_no_field_of_a_known_package_is_lost_changed_or_moved(each: Real) -> None:
    fragment = members(render_fragments(published(each.metadata))[FULL])
    kept = {key: value for key, value in fragment.items() if key not in OWN}
    said = members(each.metadata)
    expected = {key: value for key, value in said.items() if key not in (*OWN, "readme")}
    assert list(kept.items()) == list(expected.items())
    places = [key for key in fragment if key in said]
    assert places == [key for key in said if key in fragment]


@pytest.mark.parametrize("each", real(), ids=lambda each: f"{each.client} {each.name}")
def test_every_field_of_its_package_json_is_there(each: Real) -> None:
    """But those that clients take out: npm what begins with _, yarn 1 the names of folders."""
    fragment = json.loads(render_fragments(published(each.metadata))[FULL])
    packed = json.loads(each.package_json.decode("utf-8-sig"))
    left_out = {"readme", "bundledDependencies"}
    if each.client == "yarn 1.22":
        left_out.add("directories")
    if "bundledDependencies" in packed:
        assert "bundleDependencies" in fragment or "bundledDependencies" in fragment
    assert {key for key in packed if key[:1] != "_" and key not in fragment} <= left_out


@pytest.mark.parametrize("each", real(), ids=lambda each: f"{each.client} {each.name}")
def test_the_abbreviated_object_has_the_described_keys_and_the_same_values(each: Real) -> None:
    full, short = (
        members(render_fragments(published(each.metadata))[kind]) for kind in (FULL, ABBREVIATED)
    )
    assert list(short) == [key for key in INSTALLED if key in short]
    for key, value in short.items():
        assert value == full.get(key, full.get("bundledDependencies"))
    present = set(INSTALLED).intersection(full) - {"_hasShrinkwrap"}
    assert present <= short.keys()


def test_what_was_published_stays_as_it_was_written() -> None:
    assert members(render_fragments(published(PAD))[FULL])["x"] == members(PAD)["x"]


def test_the_registrys_fields_are_its_own() -> None:
    """Whatever a client says of them."""
    forged = (
        b'{"dist":{"integrity":"sha512-x","tarball":"https://evil.com/x","signatures":[1]},'
        b'"name":"@acme/pad","_npmUser":{"name":"root"},"_hasShrinkwrap":true,"_id":"x",'
        b'"hasInstallScript":true,"version":"1.0.0","readme":"long"}'
    )
    fragment = rendered(published(forged, b"tar", fileCount=3, unpackedSize=99))
    sha512 = base64.b64encode(hashlib.sha512(b"tar").digest()).decode()
    assert fragment == {
        "dist": {
            "integrity": f"sha512-{sha512}",
            "shasum": hashlib.sha1(b"tar").hexdigest(),
            "tarball": "https://packhouse.invalid/-/pad-1.0.0.tgz",
            "fileCount": 3,
            "unpackedSize": 99,
        },
        "name": "@acme/pad",
        "_npmUser": {"name": "alice", "email": ""},
        "_hasShrinkwrap": False,
        "_id": "@acme/pad@1.0.0",
        "version": "1.0.0",
    }
    assert list(fragment)[:2] == ["dist", "name"]


def test_what_was_found_in_the_tarball_is_said() -> None:
    version = published(PAD, hasInstallScript=True, _hasShrinkwrap=True)
    for kind in (FULL, ABBREVIATED):
        fragment = rendered(version, kind)
        assert fragment["hasInstallScript"] is True
        assert fragment["_hasShrinkwrap"] is True
    plain = rendered(published(PAD), ABBREVIATED)
    assert not plain.keys() & {"hasInstallScript", "_hasShrinkwrap", "deprecated", "_npmUser"}


@pytest.mark.parametrize(
    ("said", "state", "shown"),
    [
        (b"null", {"deprecated": "use pad2"}, "use pad2"),
        (b'"old"', {"deprecated": "use pad2"}, "use pad2"),
        (b'"old"', {"deprecated": ""}, None),
        (b'"old"', {}, "old"),
        (b'""', {}, None),
        (b"false", {}, None),
        (b"null", {}, None),
    ],
)
def test_a_deprecation_is_the_states_else_what_was_published(
    said: bytes, state: dict[str, Any], shown: str | None
) -> None:
    metadata = PAD[:-1] + b',"deprecated":' + said + b"}"
    for kind in (FULL, ABBREVIATED):
        assert rendered(published(metadata, state=state), kind).get("deprecated") == shown


def test_a_state_adds_a_deprecation_where_none_was_published() -> None:
    version = published(PAD, state={"deprecated": 'say "ä"'})
    assert rendered(version)["deprecated"] == rendered(version, ABBREVIATED)["deprecated"]
    assert rendered(version)["deprecated"] == 'say "ä"'


def test_attestations_are_named_in_dist() -> None:
    types = [
        "https://github.com/npm/attestation/tree/main/specs/publish/v0.1",
        "https://slsa.dev/provenance/v1",
    ]
    version = published(PAD, attestations=types)
    for kind in (FULL, ABBREVIATED):
        assert rendered(version, kind)["dist"]["attestations"] == {
            "url": "https://root.packhouse.invalid/-/npm/v1/attestations/@acme%2fpad@1.0.0",
            "provenance": {"predicateType": "https://slsa.dev/provenance/v1"},
        }


def test_published_text_that_spells_a_placeholder_is_none() -> None:
    text = "see https://packhouse.invalid/-/x and https://root.packhouse.invalid"
    version = published(PAD[:-1] + b',"description":' + json.dumps(text).encode() + b"}")
    fragment = render_fragments(version)[FULL]
    assert json.loads(fragment)["description"] == text
    assert fragment.count(b"packhouse.invalid") == 1


def test_states_that_spell_a_placeholder_are_text() -> None:
    said = "https://packhouse.invalid/x https://root.packhouse.invalid"
    version = published(PAD, state={"deprecated": said}, attestations=[said])
    for kind in (FULL, ABBREVIATED):
        shown = json.loads(addressed(render_fragments(version)[kind], "https://h/npm", "@acme/pad"))
        assert shown["deprecated"] == said
        assert shown["dist"]["attestations"]["provenance"]["predicateType"] == said


def test_the_older_spelling_of_bundled_dependencies_reaches_installers() -> None:
    version = published(PAD[:-1] + b',"bundledDependencies":["ms"]}')
    assert rendered(version, ABBREVIATED)["bundleDependencies"] == ["ms"]
    assert "bundleDependencies" not in rendered(version)


def test_the_same_version_gives_the_same_bytes() -> None:
    one, other = (render_fragments(published(PAD, state={"deprecated": "x"})) for _ in range(2))
    assert one == other
