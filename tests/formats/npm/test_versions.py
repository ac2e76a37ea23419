"""npm's versions: strict SemVer, an order that rows can keep, and tags that are no versions."""

import json
from functools import cmp_to_key
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats.npm.versions import (
    VersionInvalid,
    check_version,
    is_range,
    order_of,
    parse_dist_tag,
    tag_of,
)
from storage.errors import Invalid
from storage.names import TagInvalid, parse_tag

RECORDINGS = Path(__file__).parent / "recorded"

number = st.one_of(st.integers(0, 12), st.integers(0, 2**53 - 1)).map(str)
word = st.from_regex(r"[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True)
identifier = st.one_of(number, word, st.sampled_from(["alpha", "beta", "rc", "a", "a-", "-"]))
prerelease = st.lists(identifier, max_size=3).map(".".join)


@st.composite
def versions(draw: st.DrawFn) -> str:
    core = ".".join(draw(st.one_of(st.just("1"), number)) for _ in range(3))
    tail = draw(prerelease)
    return f"{core}-{tail}" if tail else core


def precedence(one: str, other: str) -> int:
    """SemVer 2.0.0, 11, word for word."""
    (core, _, tail), (other_core, _, other_tail) = one.partition("-"), other.partition("-")
    numbers, others = ([int(n) for n in text.split(".")] for text in (core, other_core))
    if numbers != others:
        return -1 if numbers < others else 1
    if not tail or not other_tail:
        return bool(other_tail) - bool(tail)
    fields, other_fields = tail.split("."), other_tail.split(".")
    for field, other_field in zip(fields, other_fields, strict=False):
        if field == other_field:
            continue
        if field.isdigit() and other_field.isdigit():
            return -1 if int(field) < int(other_field) else 1
        if field.isdigit() or other_field.isdigit():
            return -1 if field.isdigit() else 1
        return -1 if field < other_field else 1
    return (len(fields) > len(other_fields)) - (len(fields) < len(other_fields))


@given(versions(), versions())
@example("1.0.0", "1.0.0-alpha")
@example("1.0.0-alpha", "1.0.0-alpha-")
@example("1.0.0-alpha.1", "1.0.0-alpha")
@example("1.0.0-alpha.9", "1.0.0-alpha.10")
@example("1.0.0-9", "1.0.0-9999999999")
@example("1.0.0-alpha.1", "1.0.0-alpha-")
@example("1.0.0-999999999999999999999", "1.0.0-a")
@example("9.0.0", "10.0.0")
def test_keys_compare_as_precedence_does(one: str, other: str) -> None:
    key, other_key = order_of(one).key, order_of(other).key
    assert (key > other_key) - (key < other_key) == precedence(one, other)
    assert key.isascii()


def test_the_specifications_own_row_is_in_order() -> None:
    prereleases = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    row = [*(f"1.0.0-{each}" for each in prereleases), "1.0.0", "2.0.0", "2.1.0", "2.1.1"]
    shuffled = sorted(row)
    assert sorted(shuffled, key=lambda text: order_of(text).key) == row
    assert sorted(shuffled, key=cmp_to_key(precedence)) == row


def test_an_order_says_what_a_prerelease_is() -> None:
    assert order_of("1.0.0-0").prerelease
    assert not order_of("1.0.0").prerelease


@given(versions())
def test_a_version_is_its_tag(version: str) -> None:
    assert check_version(version) == version
    assert tag_of(version) == parse_tag(version) == version


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.0", "v1.0.0", "=1.0.0", " 1.0.0", "1.0.0 ", "1.0.0\n", "01.0.0", "1.00.0"),
        *("1.0.0-", "1.0.0-01", "1.0.0-a..b", "1.0.0-a.", "1.0.0-.a", "1.0.0-ä", "1.0.0-a_b"),
        *(
            "1.0.0.0",
            "-1.0.0",
            "1.0.x",
            "\u0661.0.0",
            "1.0.0\0",
            "latest",
            "../1.0.0",
            "1.0.0-../x",
        ),
        *("9007199254740992.0.0", "0.0.99999999999999999999", f"1.0.0-{'a' * 251}"),
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    for read in (check_version, tag_of, order_of):
        with pytest.raises(VersionInvalid):
            read(text)


def test_build_metadata_says_what_to_leave_out() -> None:
    with pytest.raises(VersionInvalid, match=r"leave out the build metadata after '\+'"):
        check_version("1.0.0+build.5")


def test_a_version_longer_than_a_tag_is_refused_as_such() -> None:
    assert len(tag_of(f"1.0.0-{'a' * 122}")) == 128
    version = check_version(f"1.0.0-{'a' * 123}")
    with pytest.raises(VersionInvalid, match="it becomes a tag, and tags have at most 128"):
        tag_of(version)


RECORDED = json.loads((RECORDINGS / "dist_tags.json").read_text("utf-8"))
"""What semver.validRange of npm 11.19 took for a range, of tags made from the pieces of one."""


def test_a_range_is_what_npm_takes_for_one() -> None:
    assert len(RECORDED["ranges"]) > 250 < len(RECORDED["words"])
    assert [tag for tag in RECORDED["ranges"] if not is_range(tag)] == []
    assert [tag for tag in RECORDED["words"] if is_range(tag)] == []


@given(versions())
def test_a_dist_tag_is_never_a_version(version: str) -> None:
    for text in (version, f"v{version}"):
        with pytest.raises(TagInvalid, match="a version or a range"):
            parse_dist_tag(text)


@pytest.mark.parametrize("text", ["latest", "next", "beta-1", "x1", "release-1.x", "LTS", "1st"])
def test_words_are_dist_tags(text: str) -> None:
    assert parse_dist_tag(text) == text


@pytest.mark.parametrize(
    "text", ["", "*", ">=1", "^1", "1 - 2", "a/b", "ä", "_state", "sha256-0", "a" * 129, "-a", "x"]
)
def test_what_is_no_dist_tag_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid):
        parse_dist_tag(text)


@given(st.one_of(st.text(max_size=300), st.text("0123.-+vxX*a", max_size=300)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (check_version, tag_of, order_of, parse_dist_tag):
        try:
            read(text)
        except Invalid:
            continue


@pytest.mark.parametrize("text", ["1.0.0-" + "0" * 5_000_000, "1." * 3_000_000, "v" * 5_000_000])
def test_a_text_of_megabytes_is_not_looked_at(text: str) -> None:
    for read in (check_version, tag_of, order_of, parse_dist_tag):
        with pytest.raises(Invalid) as refused:
            read(text)
        assert len(refused.value.message) < 400
