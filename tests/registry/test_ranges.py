"""Ranges: what is cut, what is ignored, and what is refused with 416."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.ranges import MAX_OFFSET, ByteRange, parse_content_range, parse_range
from storage.errors import Invalid, RangeInvalid

number = st.one_of(st.integers(0, 12), st.integers(0, 2**70))
DIGITS = "9" * 5000  # more than int() takes from text


@given(number, st.one_of(st.none(), number), st.integers(0, 12))
def test_a_range_selects_what_slicing_selects(first: int, last: int | None, size: int) -> None:
    data = bytes(range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    expected = data[first:] if last is None else data[first : last + 1]
    if not expected:
        with pytest.raises(RangeInvalid) as refused:
            parse_range(header, size)
        assert refused.value.headers == {"Content-Range": f"bytes */{size}"}
        return
    found = parse_range(header, size)
    assert found is not None
    assert data[found.start : found.stop] == expected
    assert found.length == len(expected) > 0
    assert found.stop <= size


@given(number, st.integers(0, 12))
def test_a_suffix_selects_the_end(length: int, size: int) -> None:
    if length == 0:
        with pytest.raises(RangeInvalid):
            parse_range("bytes=-0", size)
    elif size == 0:
        assert parse_range(f"bytes=-{length}", 0) is None
    else:
        assert parse_range(f"bytes=-{length}", size) == ByteRange(max(0, size - length), size)


@pytest.mark.parametrize(
    "header",
    [
        *(
            None,
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2,4-5",
            "bytes=0-1,",
        ),
        *("items=0-5", "bytes 0-5", "bytes=0-5/10", "bytes=--5", "bytes=+1-2", "bytes=1 - 2"),
        *("bytes=0-5\n", "byte\u017f=0-5", "bytes=\u0661-\u0662", "bytes=1.0-2", "bytes=0x1-2"),
    ],
)
def test_what_is_no_single_range_of_bytes_is_ignored(header: str | None) -> None:
    assert parse_range(header, 100) is None


@given(st.text(), st.integers(0, 100))
@example("bytes=" + "," * 100_000, 5)
@example("bytes=" + " " * 100_000, 5)
def test_no_text_raises_anything_else(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeInvalid:
        return
    assert found is None or 0 <= found.start < found.stop <= size


def test_spelling_and_blanks_of_the_unit_do_not_matter() -> None:
    assert parse_range("Bytes= 0-4 ", 10) == ByteRange(0, 5)


def test_the_conformance_suite_gets_416_for_a_range_that_ends_before_it_begins() -> None:
    with pytest.raises(RangeInvalid):
        parse_range("bytes=500-0", 2048)


def test_the_end_is_clipped_and_spelled() -> None:
    found = parse_range("bytes=2000-4000", 2048)
    assert found is not None
    assert found.content_range(2048) == "bytes 2000-2047/2048"
    assert parse_range(f"bytes=0-{DIGITS}", 10) == ByteRange(0, 10)
    assert parse_range(f"bytes=-{DIGITS}", 10) == ByteRange(0, 10)
    assert parse_range(f"bytes={'0' * 5000}1-2", 10) == ByteRange(1, 3)
    with pytest.raises(RangeInvalid):
        parse_range(f"bytes={DIGITS}-", 10)


@given(st.integers(0, MAX_OFFSET - 1), st.integers(0, MAX_OFFSET - 1))
def test_a_content_range_is_two_offsets_in_order(first: int, last: int) -> None:
    if first <= last:
        assert parse_content_range(f"{first}-{last}") == (first, last)
    else:
        with pytest.raises(RangeInvalid):
            parse_content_range(f"{first}-{last}")


@pytest.mark.parametrize(
    "header",
    [
        *("", "-", "0-", "-5", "bytes 0-5/*", "bytes 0-5/6", "bytes=0-5", "0-5/6", " 0-5", "0-5 "),
        *("0-5\n", "0 - 5", "0-5-6", "+0-5", "\u0660-\u0665", "0-5,6-7", "-" * 100_000),
    ],
    ids=lambda header: ascii(header[:20]),
)
def test_another_form_of_content_range_is_invalid(header: str) -> None:
    with pytest.raises(Invalid, match="write <first>-<last>") as refused:
        parse_content_range(header)
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("last", [str(MAX_OFFSET), str(2**64), DIGITS])
def test_a_content_range_beyond_what_a_row_holds_is_refused(last: str) -> None:
    with pytest.raises(RangeInvalid) as refused:
        parse_content_range(f"0-{last}")
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("text", ["0" * 500_000, "0-" * 250_000, "bytes=" + "0" * 500_000])
def test_a_hostile_range_costs_nothing(text: str) -> None:
    began = time.thread_time()
    assert parse_range(text, 10) is None
    with pytest.raises(Invalid):
        parse_content_range(text)
    assert time.thread_time() - began < 0.2
