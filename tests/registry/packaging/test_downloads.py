"""The files of versions: found and judged by one statement, whole or in ranges."""

import hashlib

import pytest
from starlette.types import ASGIApp

from registry.app import build_surface, wire
from tests.registry.client import Client, basic
from tests.registry.packaging.routes import GenericRoutes
from tests.registry.packaging.shelf import PAD, Shelf
from tests.registry.test_access_table import Counted
from tests.registry.world import World

FILE = "/generic/acme/pad/1.0.0/pad-1.0.0.bin"
MORE = bytes(range(256)) * 4000
WHOLE = b"1.0.0\n" + MORE
ETAG = f'"sha256:{hashlib.sha256(WHOLE).hexdigest()}"'


@pytest.fixture
async def app(world: World, shelf: Shelf) -> ASGIApp:
    await shelf.publish("1.0.0", more=MORE)
    return build_surface(world.services, adapters=lambda *_: [GenericRoutes(world.services)])


@pytest.fixture
def reader_of(world: World, app: ASGIApp) -> Client:
    return Client(app, basic("x", world.tokens["reader"]))


async def test_a_file_is_what_was_published(world: World, app: ASGIApp, reader_of: Client) -> None:
    private = await reader_of.get(FILE)
    assert (private.status_code, private.content) == (200, WHOLE)
    assert private.headers["cache-control"] == "private"
    await world.publish(PAD)
    public = await Client(app).get(FILE, headers={"Accept-Encoding": "gzip"})
    assert public.content == WHOLE
    assert public.headers["cache-control"] == "public, max-age=31536000, immutable"
    for response in (private, public):
        assert response.headers["etag"] == ETAG
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["accept-ranges"] == "bytes"
        assert response.headers["vary"] == "Authorization"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert "content-encoding" not in response.headers


async def test_a_range_of_it(reader_of: Client) -> None:
    part = await reader_of.get(FILE, headers={"Range": "bytes=6-9"})
    assert (part.status_code, part.content) == (206, MORE[:4])
    assert part.headers["content-range"] == f"bytes 6-9/{len(WHOLE)}"
    for condition, status in ((ETAG, 206), ('"other"', 200)):
        asked = {"Range": "bytes=0-3", "If-Range": condition}
        assert (await reader_of.get(FILE, headers=asked)).status_code == status
    beyond = await reader_of.get(FILE, headers={"Range": f"bytes={len(WHOLE)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(WHOLE)}"
    assert set(beyond.json()) == {"said"}


async def test_head_and_who_has_it_already(reader_of: Client) -> None:
    looked = await reader_of.head(FILE)
    assert (looked.status_code, looked.content) == (200, b"")
    assert looked.headers["content-length"] == str(len(WHOLE))
    fresh = await reader_of.get(FILE, headers={"If-None-Match": ETAG})
    assert (fresh.status_code, fresh.content) == (304, b"")


async def test_what_is_not_there_is_not_found(
    world: World, app: ASGIApp, shelf: Shelf, reader_of: Client
) -> None:
    base = "/generic/acme"
    for path in ("pad/1.0.0/other.bin", "pad/2.0.0/pad-1.0.0.bin", "other/1.0.0/pad-1.0.0.bin"):
        assert (await reader_of.get(f"{base}/{path}")).status_code == 404
        assert (await Client(app).get(f"{base}/{path}")).status_code == 401
    await shelf.delete("1.0.0")
    assert (await reader_of.get(FILE)).status_code == 404
    await shelf.restore()
    assert (await reader_of.get(FILE)).status_code == 200


async def test_a_file_of_a_hidden_package_is_hidden(
    world: World, app: ASGIApp, shelf: Shelf
) -> None:
    stranger = Client(app, basic("x", world.tokens["stranger"]))
    assert (await stranger.get(FILE)).status_code == 404
    assert (await Client(app).get(FILE)).status_code == 401
    await shelf.publish("1.0.0", name="open")
    await world.publish("acme/generic/open")
    assert (await Client(app).get(FILE)).status_code == 404
    assert (await Client(app).get("/generic/acme/open/1.0.0/open-1.0.0.bin")).status_code == 200


async def test_one_statement_decides_and_finds(world: World, app: ASGIApp) -> None:
    await world.publish(PAD)
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    surface = build_surface(counted, adapters=lambda *_: [GenericRoutes(counted)])
    for path in (FILE, "/generic/acme/pad/document"):
        ran.clear()
        assert (await Client(surface).get(path)).status_code == 200
        assert len(ran) == 1, ran


async def test_a_file_that_is_damaged_is_not_sent(
    world: World, shelf: Shelf, reader_of: Client
) -> None:
    file = await world.file_of_blob(ETAG.strip('"'))
    file.write_bytes(WHOLE[:-1])
    for method in ("GET", "HEAD"):
        assert (await reader_of.request(method, FILE)).status_code == 404
    file.write_bytes(WHOLE)
    assert (await reader_of.get(FILE)).status_code == 200
    await world.services.database.execute(DAMAGE, ETAG.strip('"'))
    assert (await reader_of.get(FILE)).status_code == 404


DAMAGE = "update blobs set damaged_at = 1 where digest = $1"


async def test_a_download_over_a_real_socket_is_counted_to_the_last_byte(
    world: World, app: ASGIApp
) -> None:
    await world.publish(PAD)
    world._surface = app
    async with world.served() as served:
        client = Client(None, "", served.url)
        assert (await client.get(FILE)).content == WHOLE
        part = await client.get(FILE, headers={"Range": "bytes=-5"})
        assert part.content == WHOLE[-5:]
        assert (await client.head(FILE)).headers["content-length"] == str(len(WHOLE))
        async with client.http.stream("GET", FILE) as response:
            assert response.status_code == 200  # and leaves in the middle
        assert (await client.get(FILE)).content == WHOLE
        await client.http.aclose()
