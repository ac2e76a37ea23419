"""npm audit, and what npm can ask for that is not here."""

import gzip
import json
import zlib

import pytest

from formats.npm.audits import NOTICE, UNPACKED_BYTES, unpack
from storage.errors import TooLarge
from tests.formats.npm.shop import Shop, told
from tests.registry.client import Client
from tests.registry.world import World

SECURITY = "/npm/-/npm/v1/security"
BULK = SECURITY + "/advisories/bulk"
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


async def test_nothing_is_known_against_any_package(shop: Shop) -> None:
    asked = json.dumps({"@acme/pad": ["1.0.0", "1.1.0"], "left-pad": ["1.3.0"]}).encode()
    for name in ("", "reader"):
        for headers, body in (({}, asked), (GZIP, gzip.compress(asked))):
            response = await shop.person(name).post(BULK, content=body, headers=headers)
            assert (response.status_code, response.json()) == (200, {})
            assert "npm-notice" not in response.headers


async def test_who_asks_for_an_audit_is_told_that_it_says_nothing(shop: Shop) -> None:
    response = await shop.person().post(BULK, json={}, headers={"npm-command": "audit"})
    assert response.headers["npm-notice"] == NOTICE


@pytest.mark.parametrize("path", ["/audits/quick", "/audits"])
async def test_older_clients_get_their_report(shop: Shop, path: str) -> None:
    tree = {
        "name": "app",
        "version": "1.0.0",
        "requires": {"a": "^1.0.0"},
        "dependencies": {
            "a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}},
        },
    }
    body = gzip.compress(json.dumps(tree).encode())
    response = await shop.person().post(SECURITY + path, content=body, headers=GZIP)
    report = response.json()
    assert report["actions"] == report["muted"] == []
    assert report["advisories"] == {}
    assert report["metadata"]["totalDependencies"] == 2
    assert set(report["metadata"]["vulnerabilities"].values()) == {0}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[]", {}, 400),
        (b"{", {}, 400),
        (b"7", {}, 400),
        (b"{}", GZIP, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], GZIP, 400),
        (gzip.compress(b"{}", mtime=0) + b"x", GZIP, 400),
        (gzip.compress(b"{}", mtime=0) * 2, GZIP, 400),
        (zlib.compress(b"{}"), GZIP, 400),
        (b"{}", {"Content-Encoding": "br"}, 400),
        (b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", {}, 400),
        (gzip.compress(b" " * (UNPACKED_BYTES + 1), mtime=0), GZIP, 413),
        (b" " * (4 * 1024 * 1024 + 1), {}, 413),
    ],
)
async def test_hostile_bodies_are_refused(
    shop: Shop, body: bytes, headers: dict[str, str], status: int
) -> None:
    for path in (BULK, SECURITY + "/audits/quick"):
        told(await shop.person().post(path, content=body, headers=headers), status)


def test_a_bomb_is_unpacked_no_further_than_it_may_be() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(TooLarge):
        unpack(bomb, 1000)
    assert unpack(gzip.compress(bytes(1000)), 1000) == bytes(1000)


async def test_no_version_is_signed_by_the_registry(shop: Shop) -> None:
    assert (await shop.person().get("/npm/-/npm/v1/keys")).json() == {"keys": []}


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("POST", "/npm/-/npm/v1/oidc/token/exchange/package/@acme%2fpad", "give the build a token"),
        ("POST", "/-/npm/v1/oidc/token/exchange/package/@acme%2fpad", "give the build a token"),
        ("GET", "/npm/-/package/@acme%2fpad/trust", "give the build a token"),
        ("POST", "/npm/-/package/@acme/pad/trust", "give the build a token"),
        ("DELETE", "/npm/-/package/@acme%2fpad/trust/7", "give the build a token"),
        ("POST", "/npm/-/stage/package/@acme%2fpad", "not staged"),
        ("GET", "/npm/-/stage", "not staged"),
        ("GET", "/npm/-/stage/7/tarball", "not staged"),
        ("POST", "/npm/-/stage/7/approve", "not staged"),
        ("DELETE", "/npm/-/stage/7", "not staged"),
        ("GET", "/npm/-/_view/starredByUser?key=%22x%22", "stars"),
    ],
)
async def test_what_is_not_here_says_so(shop: Shop, method: str, path: str, word: str) -> None:
    for client in (shop.person(), shop.person("writer"), Client(shop.app, "Bearer phu_x")):
        told(await client.request(method, path, content=b"{}" * 100), 404, word)
