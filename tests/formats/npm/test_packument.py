"""Documents are joined from fragments, and every client reads them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.npm.fragments import ABBREVIATED
from formats.npm.packument import (
    parse_revision,
    render_abbreviated,
    render_packument,
    revision_text,
)
from registry.packaging.version_rows import Fragment
from storage.errors import Invalid
from tests.formats.npm.packages import AT, addressed, fragments, real, shelf, shelf_document

BASE = "https://host.example.com/npm"


def test_the_full_document_is_what_npm_describes() -> None:
    document = json.loads(shelf_document(BASE))
    rev = document.pop("_rev")
    assert rev.startswith("7-")
    assert parse_revision(rev) == 7
    versions = document.pop("versions")
    assert list(versions) == ["1.0.0", "1.1.0", "2.0.0-rc.1"]
    tarball = versions["1.1.0"]["dist"]["tarball"]
    assert tarball == f"{BASE}/@acme/numbers/-/numbers-1.1.0.tgz"
    assert document == {
        "_id": "@acme/numbers",
        "name": "@acme/numbers",
        "dist-tags": {"latest": "1.1.0", "next": "2.0.0-rc.1", "old": "1.0.0"},
        "time": {
            "created": "2026-11-18T11:06:40.123Z",
            "modified": "2026-11-18T11:06:45.123Z",
            **dict.fromkeys(versions, "2026-11-18T11:06:40.123Z"),
        },
        "maintainers": [{"name": "alice", "email": ""}],
        "users": {},
        "readme": "# numbers\n",
    }


def test_the_full_document_repeats_its_newest_version_at_the_top() -> None:
    each = next(each for each in real() if each.name == "@babel/core")
    said = each.document
    document: dict[str, Any] = json.loads(
        render_packument(
            said["name"],
            revision=1,
            created=AT,
            modified=AT,
            fragments=fragments([each.metadata], "full"),
            dist_tags={"latest": said["version"]},
        )
    )
    for key in ("description", "homepage", "keywords", "repository", "author", "bugs", "license"):
        assert document[key] == said[key]
    assert document["versions"][said["version"]]["dependencies"] == said["dependencies"]


def test_the_abbreviated_document_has_four_fields() -> None:
    now = shelf()
    data = render_abbreviated(
        now.name, modified=AT, fragments=now.fragments, dist_tags=now.dist_tags
    )
    document = json.loads(data)
    assert list(document) == ["name", "modified", "dist-tags", "versions"]
    assert document["modified"] == "2026-11-18T11:06:40.123Z"
    assert document["versions"].keys() == {"1.0.0", "1.1.0", "2.0.0-rc.1"}


def test_a_package_whose_versions_are_gone_is_still_a_document() -> None:
    document = json.loads(
        render_packument(
            "@acme/pad", revision=3, created=AT, modified=AT, fragments=[], dist_tags={}
        )
    )
    assert (document["versions"], document["dist-tags"]) == ({}, {})


def test_a_version_alone_has_its_addresses_too() -> None:
    (fragment,) = fragments([real()[0].metadata], ABBREVIATED)
    name = real()[0].name
    document = json.loads(addressed(fragment.bytes, BASE, name))
    assert document["dist"]["tarball"].startswith(f"{BASE}/{name}/-/")


@given(st.text())
def test_no_text_breaks_a_document(readme: str) -> None:
    """Nor does one that spells a placeholder."""
    readme = readme.encode("utf-8", "ignore").decode() + " https://packhouse.invalid/-/"
    data = render_packument(
        "@acme/pad",
        revision=1,
        created=AT,
        modified=AT,
        fragments=[Fragment("1.0.0", AT, b'{"u":"https://packhouse.invalid/-/x"}')],
        dist_tags={},
        readme=readme,
    )
    document = json.loads(addressed(data, BASE, "@acme/pad"))
    assert document["readme"] == readme
    assert document["versions"]["1.0.0"]["u"] == f"{BASE}/@acme/pad/-/x"


@given(st.integers(0, 2**59))
def test_a_revision_is_read_from_what_was_rendered(revision: int) -> None:
    text = revision_text("@acme/pad", revision)
    assert parse_revision(text) == revision
    assert text != revision_text("@acme/pad", revision + 1)


@pytest.mark.parametrize("text", ["", "undefined", "-1", "x-1", "1" * 19, "¹-a"])
def test_a_revision_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="read the package again"):
        parse_revision(text)
