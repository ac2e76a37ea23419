"""Headers by name answer what Starlette's do."""

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from registry.headers import IndexedHeaders

NAMES = st.sampled_from(["accept", "range", "x-a", "authorization"])
HEADERS = st.lists(st.tuples(NAMES.map(str.encode), st.binary(max_size=4)), max_size=6)


@given(HEADERS, st.sampled_from(["accept", "Accept", "RANGE", "x-A", "authorization", "none"]))
def test_every_way_of_asking(raw: list[tuple[bytes, bytes]], name: str) -> None:
    theirs, ours = Headers(raw=raw), IndexedHeaders({"type": "http", "headers": raw})
    assert ours.get(name) == theirs.get(name)
    assert ours.get(name, "else") == theirs.get(name, "else")
    assert (name in ours) == (name in theirs)
    assert ours.getlist(name) == theirs.getlist(name)
    assert [ours[key] for key in ours] == [theirs[key] for key in theirs]
