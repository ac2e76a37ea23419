"""A body is one version of the package that its URL names, and anything else is refused."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.principals import Visibility
from formats.npm.members import members
from formats.npm.metadata import Publication, access_notice, parse_publish
from formats.npm.names import parse_name
from storage.errors import Invalid, PackhouseError
from tests.formats.npm.packages import Odd, odd, odd_one

PAD = parse_name("@acme/pad")
TARBALL = {"content_type": "application/octet-stream", "data": "", "length": 7}
BODY: dict[str, Any] = {
    "_id": "@acme/pad",
    "name": "@acme/pad",
    "dist-tags": {"latest": "1.0.0"},
    "versions": {"1.0.0": {"name": "@acme/pad", "version": "1.0.0"}},
    "access": None,
    "_attachments": {"@acme/pad-1.0.0.tgz": TARBALL},
}


def parsed(**changes: object) -> Publication:
    return parse_publish(json.dumps({**BODY, **changes}).encode(), PAD)


@pytest.mark.parametrize("each", odd(), ids=lambda each: f"{each.client} {each.package.name}")
def test_the_version_object_is_kept_byte_for_byte(each: Odd) -> None:
    if (
        json.loads(each.body)["versions"].keys() & {"v1.2.3+build.7"}
        or each.package.name == "lists"
    ):
        return  # test_reading says what is refused of these
    said = parse_publish(each.body, each.package)
    assert said.metadata in each.body
    assert json.loads(said.metadata) == json.loads(each.body)["versions"][said.version]
    assert said.tarball.name.endswith(f"{each.package.name}-{said.version}.tgz")
    assert said.provenance is None


def test_numbers_order_and_unknown_fields_stay_as_they_were_written() -> None:
    spaced = b'{"a" : 1.0,"b":1e3,\n "2":{"z":1, "a":12345678901234567890}}'
    body = (
        json.dumps(BODY).encode().replace(b'"version": "1.0.0"', b'"version":"1.0.0","x":' + spaced)
    )
    assert members(parse_publish(body, PAD).metadata)["x"] == spaced


def test_what_clients_say_beside_the_version() -> None:
    yarn = parse_publish(odd_one("both", "yarn 4.18").body, odd_one("both").package)
    assert (yarn.access, yarn.dist_tags) == ("restricted", {"latest": "1.0.0"})
    assert parsed().access == ""
    assert parsed(access="public").access == "public"
    assert parsed(**{"dist-tags": {"next": "1.0.0", "beta": "1.0.0"}}).dist_tags.keys() == {
        "next",
        "beta",
    }


def test_a_provenance_bundle_may_come_beside_the_tarball() -> None:
    type_ = "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = {"content_type": type_, "data": "{}", "length": 2}
    for name in ("@acme/pad-1.0.0.sigstore", "pad-1.0.0.sigstore"):
        said = parsed(_attachments={"pad-1.0.0.tgz": TARBALL, name: bundle})
        assert said.provenance is not None
        assert (said.provenance.name, said.provenance.content_type) == (name, type_)
        assert said.tarball.length == 7


def version(**changes: object) -> dict[str, object]:
    return {"versions": {"1.0.0": {"name": "@acme/pad", "version": "1.0.0", **changes}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "@acme/other"}, "the body is of '@acme/other', not of @acme/pad as its URL says"),
        ({"name": None}, "'name' is missing"),
        ({"_id": "@acme/other"}, "another _id"),
        ({"versions": {}}, "one version at a time: the body holds 0"),
        ({"versions": {"1.0.0": {}, "1.0.1": {}}}, "one version at a time: the body holds 2"),
        ({"versions": []}, "no object 'versions'"),
        ({"versions": {"1.0": {}}}, "version '1.0' is not valid"),
        ({"versions": {"1.0.0": 7}}, "version 1.0.0 is not a JSON object"),
        ({"versions": {"1.0.0-" + "a" * 150: {}}}, "too long"),
        (version(name="@acme/other"), "calls itself '@acme/other@1.0.0'"),
        (version(version="1.0.1"), "calls itself '@acme/pad@1.0.1'"),
        (version(_id="@acme/pad@2.0.0"), "another _id"),
        (version(dependencies=["ms"]), "'dependencies' is not an object"),
        (version(dist="x"), "'dist' is not an object"),
        ({"dist-tags": {"latest": "1.0.1"}}, "names another version than 1.0.0"),
        ({"dist-tags": {"1.x": "1.0.0"}}, "tag '1.x' is not valid"),
        ({"dist-tags": {"a b": "1.0.0"}}, "'a b'"),
        ({"dist-tags": {"_state": "1.0.0"}}, "the registry's own"),
        ({"dist-tags": [1]}, "'dist-tags' is not an object"),
        ({"dist-tags": {f"t{at}": "1.0.0" for at in range(21)}}, "at most 20 tags"),
        ({"access": "secret"}, "'access' is neither"),
        ({"access": ["public"]}, "'access' is neither"),
        ({"_attachments": {}}, "attaches no pad-1.0.0.tgz"),
        ({"_attachments": {"pad-1.0.1.tgz": TARBALL}}, "attachment 'pad-1.0.1.tgz' is not"),
        ({"_attachments": {"../pad-1.0.0.tgz": TARBALL}}, "is not expected"),
        ({"_attachments": {"@evil/pad-1.0.0.tgz": TARBALL}}, "is not expected"),
        (
            {"_attachments": {"pad-1.0.0.tgz": TARBALL, "@acme/pad-1.0.0.tgz": TARBALL}},
            "is not expected",
        ),
        ({"_attachments": {"pad-1.0.0.tgz": 7}}, "is not expected"),
        ({"_attachments": {"pad-1.0.0.tgz": {"length": -1}}}, "no length that is a number"),
        ({"_attachments": {"pad-1.0.0.tgz": {"length": True}}}, "no length that is a number"),
        ({"_attachments": {"pad-1.0.0.tgz": {"content_type": 1}}}, "no content_type"),
    ],
)
def test_a_body_that_is_no_publication_of_this_package_is_refused(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        parsed(**changes)


@pytest.mark.parametrize(
    ("asked", "visibility", "does"),
    [
        ("public", Visibility.PUBLIC, None),
        ("public", Visibility.INTERNAL, "public"),
        ("public", Visibility.PRIVATE, "public"),
        ("restricted", Visibility.PUBLIC, "private"),
        ("restricted", Visibility.INTERNAL, None),
        (None, Visibility.PUBLIC, None),
        (None, Visibility.PRIVATE, None),
    ],
)
def test_publishing_opens_and_closes_nothing_and_says_so(
    asked: str | None, visibility: Visibility, does: str | None
) -> None:
    notice = access_notice(parsed(access=asked), visibility)
    assert notice.endswith(f"'packhouse package visibility acme/npm/pad {does}' does") == bool(does)
    assert bool(notice) == bool(does)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*BODY]), JSON), JSON)
def test_no_body_raises_anything_but_a_refusal(
    changes: dict[str, object], odd_field: object
) -> None:
    body = {**BODY, **version(dist=odd_field, dependencies=odd_field), **changes}
    for data in (json.dumps(body).encode(), repr(odd_field).encode("utf-8", "replace")):
        with suppress(PackhouseError):
            parse_publish(data, PAD)
