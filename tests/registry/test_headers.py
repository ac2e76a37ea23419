"""Headers by name answer what Starlette's do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from registry.headers import IndexedHeaders
from tests.registry.world import World

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


@pytest.mark.parametrize("path", ["/v2/", "/token", "/api/v1/user", "/api/v3/user", "/-/ui/"])
async def test_credentials_that_come_twice_are_refused(world: World, path: str) -> None:
    """A proxy in front may have judged the other one."""
    async with world.served() as served:
        port = int(served.url.rpartition(":")[2])
        for values, status in (("Bearer x", "Bearer y"), b"400"), (("Bearer x",), b"401"):
            if path == "/-/ui/" and status == b"401":
                continue  # pages know cookies only
            lines = "".join(f"Authorization: {value}\r\n" for value in values)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n".encode()
            )
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert answer.split()[1] == status, answer
            assert (b"came twice" in answer) == (status == b"400")
