"""The text of a token: what it is made of, and what is no token before any row is read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth.tokens import KINDS, looks_like_token, mint


@pytest.mark.parametrize(("kind", "prefix"), KINDS.items())
def test_a_token_says_its_kind_and_is_never_made_twice(kind: str, prefix: str) -> None:
    texts = {mint(kind) for _ in range(100)}
    assert len(texts) == 100
    for text in texts:
        assert text.startswith(prefix)
        assert len(text) == 40
        assert text[4:].isalnum()
        assert looks_like_token(text)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    at=st.integers(0, 39),
    other=st.characters(codec="utf-8"),
)
def test_one_wrong_character_is_seen_by_the_checksum(kind: str, at: int, other: str) -> None:
    text = mint(kind)
    wrong = text[:at] + other + text[at + 1 :]
    assert looks_like_token(wrong) == (wrong == text)


@given(st.text(max_size=60) | st.text(max_size=36).map(lambda rest: f"phu_{rest}"))
@example("")
@example("phu_")
@example("phu_" + "0" * 36)
@example("phu_" + "٣" * 36)
@example("PHU_" + mint("user")[4:])
@example(mint("user") + "\n")
@example(" " + mint("user"))
def test_anything_else_is_no_token(text: str) -> None:
    assert not looks_like_token(text)
