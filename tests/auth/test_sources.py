"""Source URLs: many spellings, one source; nothing else passes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.sources import parse_source
from storage.errors import Invalid

WIDGET = "git.example.com/acme/widget"


@pytest.mark.parametrize(
    "text",
    [
        "https://git.example.com/acme/widget",
        "https://git.example.com/acme/widget.git",
        "https://git.example.com/acme/widget.git/",
        "https://git.example.com//acme/widget//",
        "http://GIT.example.com:80/Acme/Widget",
        "https://git.example.com:443/acme/widget",
        "https://git.example.com./acme/widget",
        "https://ada:secret@git.example.com/acme/widget",
        "https://git.example.com/acme/widget?tab=readme#top",
        "git://git.example.com/acme/widget.git",
        "git+https://git.example.com/acme/widget.git",
        "ssh://git@git.example.com/acme/widget.git",
        "ssh://git@git.example.com:2222/acme/widget.git",
        "git+ssh://git@git.example.com/acme/widget.git",
        "git@git.example.com:acme/widget.git",
        "git@git.example.com:/acme/widget",
        "git.example.com/acme/widget",
        "  https://git.example.com/acme/widget\n",
    ],
)
def test_spellings_of_one_source_are_one(text: str) -> None:
    assert parse_source(text) == WIDGET


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://git.example.com:8443/a/b", "git.example.com:8443/a/b"),
        ("http://localhost:3000/a/b.git", "localhost:3000/a/b"),
        ("https://[2001:DB8::1]/a", "[2001:db8::1]/a"),
        ("https://git.example.com/group/sub/project", "git.example.com/group/sub/project"),
        ("https://git.example.com/a.git/b", "git.example.com/a.git/b"),
    ],
)
def test_what_tells_two_sources_apart_is_kept(text: str, found: str) -> None:
    assert parse_source(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "widget", "acme/widget", "https://", "https://git.example.com", "https:///a/b"),
        *("https://git.example.com/.git", "https://git.example.com/a/../b", "file:///etc/passwd"),
        *("javascript://git.example.com/%0aalert(1)", "https://git.example.com:port/a/b"),
        *("https://[::1/a", "https://git.example.com/a b", "https://git.example.com\\a", "git@:a"),
        *("https://git.example.com/a\x00b", "https://git.example.com/\x1b[31m", "a" * 1001),
        *("https://git.example.com/" + "a/" * 500, "https://git.example.com/./a"),
    ],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(Invalid, match="is not a source URL: write https://HOST/PATH") as refused:
        parse_source(text)
    assert refused.value.message.isprintable()


def test_a_refusal_repeats_no_password() -> None:
    with pytest.raises(Invalid) as refused:
        parse_source("https://ada:secret@git.example.com")
    assert "secret" not in refused.value.message


@example("https://h.example/x.git.git")
@example("https://h.example/x.GIT")
@given(
    st.text(max_size=100) | st.text("abc:/@.[]%?#-", max_size=30).map("https://h.example/".__add__)
)
def test_whatever_comes_is_read_or_refused_and_reads_the_same_again(text: str) -> None:
    try:
        found = parse_source(text)
    except Invalid:
        return
    assert parse_source(f"https://{found}") == found
