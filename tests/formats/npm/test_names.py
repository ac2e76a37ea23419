"""npm's names: what is a package here, where it lives, and what its readers are told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.npm.names import MAX_LENGTH, PackageName, parse_name, parse_pair
from storage.errors import NameInvalid
from storage.names import parse_repository

good = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,60}", fullmatch=True).filter(
    lambda name: name not in {"node_modules", "favicon.ico"}
)


def test_a_name_is_a_repository_of_its_owner() -> None:
    name = parse_name("@acme/pad")
    assert name == PackageName("acme", "pad")
    assert name.text == "@acme/pad"
    assert str(name.repository) == "acme/npm/pad"
    assert name.file("1.0.0") == "pad-1.0.0.tgz"


@given(good)
def test_every_good_name_lives_at_a_legal_repository(name: str) -> None:
    parsed = parse_pair("@acme", name)
    assert parsed == parse_name(f"@acme/{name}")
    assert parse_repository(str(parsed.repository)) == parsed.repository
    assert len(str(parsed.repository)) <= 200


def test_a_name_that_no_repository_spells_is_slugged() -> None:
    assert str(parse_name("@acme/_private").repository).startswith("acme/npm/private-x")
    assert str(parse_name("@acme/a..b").repository).startswith("acme/npm/a-b-x")


@pytest.mark.parametrize("text", ["pad", "left-pad", "", "acme/pad", "a" * 300, "<script>"])
def test_a_name_without_a_scope_says_what_to_do(text: str) -> None:
    with pytest.raises(NameInvalid) as refused:
        parse_name(text)
    message = refused.value.message
    assert "name it @<owner>/" in message
    assert "'@<owner>:registry=https://<this host>/npm/' in .npmrc" in message
    assert len(message) < 400
    assert "<script>" not in message


def test_the_words_to_a_name_without_a_scope_repeat_it() -> None:
    with pytest.raises(NameInvalid, match="name it @<owner>/left-pad and set"):
        parse_name("left-pad")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@acme/Pad", "use lower case"),
        ("@Acme/pad", "lower-case letters"),
        ("@acme/.pad", "not beginning with"),
        ("@acme/-pad", "not beginning with"),
        ("@acme/-", "not beginning with"),
        ("@acme/..", "not beginning with"),
        ("@acme/pad~", "use lower-case letters"),
        ("@acme/pad!", "use lower-case letters"),
        ("@acme/pad\n", "use lower-case letters"),
        ("@acme/pad\0", "use lower-case letters"),
        ("@acme/päd", "use lower-case letters"),
        ("@acme/a/b", "use lower-case letters"),
        ("@acme/a%2fb", "use lower-case letters"),
        ("@acme/", "use lower-case letters"),
        ("@acme", "no name after its scope"),
        ("@/pad", "owner name"),
        ("@a_b/pad", "owner name"),
        ("@a.b/pad", "owner name"),
        ("@-a/pad", "owner name"),
        ("@@acme/pad", "owner name"),
        (f"@{'a' * 40}/pad", "owner name"),
        ("@acme/node_modules", "choose another"),
        ("@acme/favicon.ico", "choose another"),
        (f"@acme/{'a' * 300}", "too long"),
    ],
)
def test_what_is_no_name_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(NameInvalid, match=words):
        parse_name(text)


def test_the_longest_name_is_npms() -> None:
    assert parse_name(f"@acme/{'a' * (MAX_LENGTH - 6)}").text.endswith("a")
    with pytest.raises(NameInvalid, match="too long"):
        parse_name(f"@acme/{'a' * (MAX_LENGTH - 5)}")


@given(st.one_of(st.text(max_size=60), st.text("@/aA._-%\0", max_size=30)))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = parse_name(text)
    except NameInvalid:
        return
    assert name.text == text


# Names at the edges, and whether npm 11's validate-npm-package-name takes each as a new package's.
NPM_SAYS = json.loads("""{
    "@acme/pad": true, "@acme/http": true, "@acme/_pad": true, "@acme/a..b": true,
    "@acme/a__b": true, "@acme/0": true, "@acme/.pad": false, "@acme/Pad": false,
    "@acme/pad~": false, "@acme/pad(1)": false, "@acme/pad*": false, "@acme/p ad": false,
    "@acme/päd": false, "@acme/": false, "@/pad": false, "@acme/a/b": false
}""")


@pytest.mark.parametrize(("text", "taken"), NPM_SAYS.items())
def test_npms_own_judgement_is_ours(text: str, taken: bool) -> None:
    try:
        parse_name(text)
    except NameInvalid:
        assert not taken
    else:
        assert taken
