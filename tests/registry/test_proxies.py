"""What a proxy says about client, scheme and host counts only from a trusted one."""

import ipaddress
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from registry.app import build_surface
from registry.proxies import Hosts, Proxies, forwarded
from tests.registry.client import Client
from tests.registry.world import World

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")]
Seen = tuple[str, str, str]


async def ask(
    *headers: tuple[str, str], peer: str = "10.0.0.1", allowed: Sequence[str] = ()
) -> tuple[int, Seen | None]:
    """Return the status, and what the application saw: client, scheme and host."""
    seen: list[Seen] = []
    statuses: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        seen.append((scope["client"][0], scope["scheme"], host))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    pairs = [(b"host", b"inside:5000"), *((n.encode(), v.encode()) for n, v in headers)]
    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/",
        "headers": pairs,
        "client": (peer, 1),
        "scheme": "http",
    }
    await Proxies(Hosts(application, allowed, ()), TRUSTED)(scope, receive, send)
    return statuses[0], seen[0] if seen else None


CASES = [
    ([], ("10.0.0.1", "http", "inside:5000")),
    ([("x-forwarded-for", "192.0.2.7")], ("192.0.2.7", "http", "inside:5000")),
    ([("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.2.3.4")], ("192.0.2.7", "http", "inside:5000")),
    ([("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")], ("192.0.2.7",)),
    ([("x-forwarded-for", "[2001:db8::1]:443")], ("2001:db8::1",)),
    ([("x-forwarded-for", "::ffff:192.0.2.7, ::FFFF:10.2.3.4")], ("192.0.2.7",)),
    ([("forwarded", 'for="[::ffff:192.0.2.7]:9"')], ("192.0.2.7",)),
    (
        [("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example")],
        (None, "https", "a.example"),
    ),
    ([("x-forwarded-proto", "javascript")], (None, "http")),
    ([("forwarded", 'for="[2001:db8::1]:9";proto=https;host=b.example')], ("2001:db8::1", "https")),
    (
        [("forwarded", "for=6.6.6.6, for=192.0.2.7;proto=https"), ("x-forwarded-for", "1.1.1.1")],
        ("192.0.2.7", "https"),
    ),
]


@pytest.mark.parametrize(("headers", "wanted"), CASES)
async def test_a_trusted_proxy_is_believed_from_the_right(
    headers: list[tuple[str, str]], wanted: tuple[str | None, ...]
) -> None:
    _, seen = await ask(*headers)
    assert seen is not None
    for found, expected in zip(seen, wanted, strict=False):
        assert expected in (None, found)


@pytest.mark.parametrize("headers", [headers for headers, _ in CASES[1:]])
async def test_a_stranger_is_not_believed(headers: list[tuple[str, str]]) -> None:
    _, seen = await ask(*headers, peer="192.0.2.99")
    assert seen == ("192.0.2.99", "http", "inside:5000")


async def test_other_hosts_are_misdirected() -> None:
    assert (await ask(allowed=["inside"]))[0] == 200
    assert (await ask(allowed=["INSIDE"]))[0] == 200
    assert await ask(allowed=["other"]) == (421, None)
    said = ("x-forwarded-host", "packages.example")
    assert (await ask(said, allowed=["packages.example"]))[0] == 200
    assert (await ask(said, peer="192.0.2.99", allowed=["packages.example"]))[0] == 421


PATHS = {
    "/v2/acme/app/tags/list": "errors",
    "/token": "errors",
    "/api/v1/user": "code",
    "/api/v3/user": "documentation_url",
    "/npm/@acme%2fpad": "error",
    "/auth/npm/@acme%2fpad": "error",
}
"""Paths, and a key that only the dialect of their surface has."""


@pytest.mark.parametrize("path", PATHS)
async def test_a_misdirected_request_is_told_so_by_its_own_surface(world: World, path: str) -> None:
    config = replace(world.config, allowed_hosts=("packages.example",))
    client = Client(build_surface(replace(world.services, config=config)))
    refused = await client.get(path)
    body = refused.json()
    assert (refused.status_code, PATHS[path] in body) == (421, True)
    assert "does not answer for that host name" in refused.text
    assert body["request_id"] == refused.headers["x-request-id"]
    there = await client.get(path, headers={"Host": "packages.example"})
    assert there.status_code != 421


@given(
    st.lists(st.text(max_size=40), max_size=3), st.sampled_from([b"forwarded", b"x-forwarded-for"])
)
def test_any_text_is_read_without_an_error(values: list[str], name: bytes) -> None:
    chain, scheme, host = forwarded({name: values} if values else {})
    assert all(isinstance(part, str) for part in (*chain, scheme, host))
