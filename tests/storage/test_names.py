"""Names: the specification's grammar, our owners in front of it, and what is refused."""

import re
import string
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.digest import Digest
from storage.errors import DigestInvalid, Invalid, NameInvalid
from storage.names import (
    MAX_REPOSITORY_LENGTH,
    RESERVED_FORMATS,
    RESERVED_OWNERS,
    OneComponentName,
    RepositoryName,
    Tag,
    TagInvalid,
    component_of,
    parse_owner,
    parse_project,
    parse_reference,
    parse_repository,
    parse_tag,
)

SPEC_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
SPEC_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
RULE_OWNER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

component = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,4})[a-z0-9]{1,4}){0,3}", fullmatch=True)
name = st.lists(component, min_size=1, max_size=5).map("/".join)
noise = st.sampled_from([*"/._-aZ0 \n\0:@%é", "__", "//", "___"])


@st.composite
def mutated_name(draw: st.DrawFn) -> str:
    """A good name with something put into it, which may leave it good."""
    text = draw(name)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(noise) + text[at + draw(st.integers(0, 1)) :]


def expected(text: str) -> bool:
    owner = text.partition("/")[0]
    return bool(
        len(text) <= MAX_REPOSITORY_LENGTH
        and "/" in text
        and SPEC_NAME.fullmatch(text)
        and len(owner) <= 39
        and RULE_OWNER.fullmatch(owner)
    )


@given(st.one_of(name, mutated_name(), st.text(max_size=40)))
@example("acme/app\n")
@example("acme/" + "a" * 250)
@example("acme/" + "a" * 251)
def test_parse_repository_is_the_specification_with_an_owner_in_front(text: str) -> None:
    try:
        parsed = parse_repository(text)
    except NameInvalid:
        assert not expected(text)
    else:
        assert expected(text)
        assert str(parsed) == text
        assert (parsed.owner, *parsed.rest) == tuple(text.split("/"))


def test_a_name_of_one_component_says_what_to_write() -> None:
    with pytest.raises(OneComponentName) as refused:
        parse_repository("alpine")
    assert refused.value.message == "names are owner/image: try HOST/<you>/alpine"
    assert isinstance(refused.value, NameInvalid)


@pytest.mark.parametrize("text", ["", "/", "Alpine", "-", "a/", "/a", "a//b", "..", "a/../b"])
def test_a_broken_name_is_not_taken_for_one_component(text: str) -> None:
    with pytest.raises(NameInvalid) as refused:
        parse_repository(text)
    assert type(refused.value) is NameInvalid


def test_an_upper_case_name_is_told_so() -> None:
    with pytest.raises(NameInvalid, match="use lower case"):
        parse_repository("Acme/App")


@pytest.mark.parametrize("owner", ["a.b", "a_b", "a--b", "a" * 40])
def test_the_first_component_is_an_owner(owner: str) -> None:
    assert SPEC_NAME.fullmatch(f"{owner}/app")
    with pytest.raises(NameInvalid, match="owner name"):
        parse_repository(f"{owner}/app")


@pytest.mark.parametrize("reserved", sorted(RESERVED_FORMATS))
def test_a_format_is_reserved_as_second_of_three_or_more(reserved: str) -> None:
    assert parse_repository(f"acme/{reserved}/x").is_format_path
    assert parse_repository(f"acme/{reserved}/x/y").is_format_path
    assert not parse_repository(f"acme/{reserved}").is_format_path
    assert not parse_repository(f"acme/x/{reserved}").is_format_path
    assert not parse_repository(f"{reserved}/x/y").is_format_path


def test_charts_and_containers_are_ordinary_images() -> None:
    assert not parse_repository("acme/helm/x").is_format_path
    assert not parse_repository("acme/container/x").is_format_path


def test_a_repository_name_is_a_value() -> None:
    parsed = parse_repository("acme/app/web")
    assert parsed == RepositoryName("acme", ("app", "web"))
    assert {parsed: 1}[RepositoryName("acme", ("app", "web"))] == 1
    with pytest.raises(AttributeError):
        parsed.owner = "other"  # type: ignore[misc]


def test_an_owner_is_folded_to_lower_case() -> None:
    assert parse_owner("Acme-Corp") == "acme-corp"
    assert parse_owner("a" * 39) == "a" * 39


@pytest.mark.parametrize(
    "text",
    [
        *("", "-a", "a-", "a--b", "a.b", "a_b", "a/b", "a+b", "a" * 40, "acme\n", "acme\0", "é"),
        *("\u212aai", "\u0130x", "\u0663"),  # lower() makes k of the first; a dotted I; a digit
    ],
)
def test_an_owner_the_grammar_refuses(text: str) -> None:
    with pytest.raises(NameInvalid):
        parse_owner(text)


@pytest.mark.parametrize("text", sorted(RESERVED_OWNERS))
def test_a_reserved_owner_is_refused_in_any_case(text: str) -> None:
    for spelling in (text, text.upper()):
        with pytest.raises(NameInvalid):
            parse_owner(spelling)


@given(st.text(max_size=50))
def test_every_accepted_owner_begins_a_repository_name(text: str) -> None:
    try:
        owner = parse_owner(text)
    except NameInvalid:
        return
    assert parse_repository(f"{owner}/x").owner == owner == parse_owner(owner)


@given(st.text(st.sampled_from(string.ascii_letters + "0._-gitGIT/ é\n"), max_size=102))
@example("..")
@example("widget.git")
@example("x" * 100)
def test_parse_project_is_its_rule(text: str) -> None:
    allowed = set(string.ascii_letters + string.digits + "._-")
    good = 1 <= len(text) <= 100 and set(text) <= allowed and text not in (".", "..")
    good = good and not text.casefold().endswith(".git")
    try:
        assert parse_project(text) == text
    except NameInvalid:
        assert not good
    else:
        assert good


@given(st.one_of(st.text(), st.from_regex(SPEC_TAG), st.from_regex(SPEC_TAG, fullmatch=True)))
@example("a" * 128)
@example("a" * 129)
@example("v1\n")
def test_parse_tag_is_the_specification(text: str) -> None:
    try:
        assert parse_tag(text) == text
    except TagInvalid:
        assert not SPEC_TAG.fullmatch(text)
    else:
        assert SPEC_TAG.fullmatch(text)


def test_a_refused_tag_is_shown_with_what_is_allowed() -> None:
    with pytest.raises(TagInvalid) as refused:
        parse_tag("v1+2")
    assert refused.value.message.startswith(
        "tag 'v1+2' is not valid: use letters, digits, '_', '.', '-' (at most 128)"
    )
    assert isinstance(refused.value, Invalid)


def test_a_reference_is_a_digest_or_a_tag() -> None:
    digest = Digest.of(b"")
    assert type(parse_reference(str(digest))) is Digest
    assert type(parse_reference("latest")) is Tag
    assert type(parse_reference(digest.fallback_tag)) is Tag
    with pytest.raises(DigestInvalid):
        parse_reference("sha256:totallywrong")
    with pytest.raises(TagInvalid):
        parse_reference(".hidden")


@pytest.mark.parametrize(
    "parse", [parse_repository, parse_owner, parse_project, parse_tag, parse_reference]
)
@pytest.mark.parametrize(
    "text",
    [
        *("a" * 500_000, "a-" * 250_000, "-" * 500_000, "a/" * 250_000, "a__" * 99_999 + "!"),
        *("a/" + "-" * 253, "a/a" + "-" * 252, "a/" + "a-" * 126 + "!", "a/" + "a_" * 126),
        "\ud800" * 500_000,
    ],
    ids=lambda value: f"{value[:8]!a} {value[-1:]!a}" if isinstance(value, str) else None,
)
def test_a_hostile_name_costs_nothing_and_its_message_is_short(
    parse: Callable[[str], object], text: str
) -> None:
    began = time.thread_time()
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert refused.value.message.isascii()
    assert len(refused.value.message) < 1_000
    assert time.thread_time() - began < 0.2


true_name = st.one_of(name, st.text(max_size=40), st.text("aA0._-/@é ", max_size=230))


@given(true_name)
@example("a" * 150)
@example("a" * 151)
@example("-x0123456789abcdef")
@example("pad-x0123456789abcdef")
@example("pad-x0123456789abcdef\n")
@example("\ud800")
@example("")
def test_every_true_name_has_a_component_that_leaves_room_for_owner_and_format(text: str) -> None:
    found = component_of(text)
    longest = f"{'o' * 39}/rubygems/{found}"
    assert str(parse_repository(longest)) == longest
    assert len(longest) <= 200
    assert component_of(text) == found


@given(true_name, true_name)
@example("Pad", component_of("Pad"))
@example("Pad", "pad")
@example("a..b", "a-b")
def test_no_two_true_names_share_a_component(one: str, other: str) -> None:
    assert (component_of(one) == component_of(other)) == (one == other)


@given(st.one_of(component, name))
def test_a_legal_component_is_itself(text: str) -> None:
    assert component_of(text) == text or "/" in text or re.search("-x[0-9a-f]{16}$", text)


def test_a_slug_is_read_by_people_and_never_changes() -> None:
    """Packages live under these names for ever."""
    assert component_of("Mono.Cecil") == "mono.cecil-xc8137d82d65983fd"
    assert component_of("日本") == "x-xcf2abf0c5be326cb"
    assert len(component_of("a" * 151)) == 150
    assert len(component_of("A" * 200, most=60)) == 60
