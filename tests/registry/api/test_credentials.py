"""No operation of an API is done without its scope, by an ended token, or for nobody."""

from collections.abc import Iterator

import pytest

from auth.audit import OPERATOR
from auth.principals import Scope
from registry.app import build_surface
from registry.rest.needs import FOR_ALL, On
from registry.rest.operation import Operation
from registry.rest.surface import RestSurface
from tests.registry.api.asking import bearer
from tests.registry.api.test_hidden import HIDDEN, filled
from tests.registry.client import Client, digest_of
from tests.registry.test_identity_faults import contents
from tests.registry.test_routes import parts
from tests.registry.world import World

NAMES = {
    **HIDDEN,
    **dict.fromkeys(("digest", "subject"), digest_of(b"none")),
    "package_type": "container",
    "version": "1",
}


def operations(world: World) -> Iterator[Operation]:
    """Those of every API that need anything at all."""
    for part in parts(build_surface(world.services), set()):
        if isinstance(part, RestSurface):
            yield from (one for one in part.operations if one.need.on is not On.NOTHING)


async def ask(client: Client, one: Operation) -> int:
    query = "?q=app" if one.path.endswith("/search") else ""
    query = (
        "?package_type=container" if one.path.endswith("/packages") and "v3" in one.path else query
    )
    path = filled(one.path, NAMES) + query
    return (await client.request(one.method, path, json={})).status_code


@pytest.fixture
async def stocked(world: World) -> World:
    await world.client().push_image("acme/app", "v1")
    return world


async def test_no_operation_is_done_without_its_scope(stocked: World) -> None:
    """An administrator of the site, by a token with every scope but the one: GETs may say 404."""
    clients, before = {}, {}
    for one in operations(stocked):
        lacking = one.need.scope
        if lacking not in clients:
            text = await stocked.mint("admin", Scope.ALL & ~lacking)
            clients[lacking], before = bearer(stocked, text), await contents(stocked)
        status = await ask(clients[lacking], one)
        refused = {403, 404} if one.method == "GET" else {403}
        assert status in refused, (one.method, one.path, status)
    assert await contents(stocked) == before
    assert {Scope.READ, Scope.WRITE, Scope.DELETE, Scope.ADMIN} <= set(clients)


async def test_no_get_changes_anything(stocked: World) -> None:
    """CVE-2026-24059: who may only read could make a token, by a GET."""
    text = await stocked.mint("admin", Scope.READ)
    before, done = await contents(stocked), 0
    for one in operations(stocked):
        if one.method == "GET":
            done += await ask(bearer(stocked, text), one) == 200
    assert done > 20
    assert await contents(stocked) == before


@pytest.mark.parametrize("how", ["revoked", "expired", "disabled", "nobody's"])
async def test_no_operation_is_done_by_what_has_ended(stocked: World, how: str) -> None:
    text = await stocked.mint("owner", expires_in=100)
    client = Client(stocked) if how == "nobody's" else bearer(stocked, text)
    if how == "revoked":
        await stocked.revoke(text)
    elif how == "expired":
        stocked.clock.advance(100)
    elif how == "disabled":
        await stocked.services.accounts.set_enabled(OPERATOR, "owner", enabled=False)
    before = await contents(stocked)
    for one in operations(stocked):
        open_to_all = how == "nobody's" and one.need.on in FOR_ALL and one.method == "GET"
        expected = {200, 401, 404} if open_to_all else {401}
        status = await ask(client, one)
        assert status in expected, (one.method, one.path, status)
    assert await contents(stocked) == before
