"""Bodies that come slowly: what their sender may do is what he may once all of it is here."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

from auth.audit import OPERATOR
from auth.principals import Role
from tests.registry.api.asking import problem
from tests.registry.client import Client
from tests.registry.world import World


async def slowly(
    client: Client, method: str, path: str, body: Any, meanwhile: Callable[[], Awaitable[None]]
) -> httpx.Response:
    """Send a body in two parts; `meanwhile` is done when the server asks for the second."""
    data = json.dumps(body).encode()

    async def parts() -> AsyncIterator[bytes]:
        yield data[:1]
        await meanwhile()
        yield data[1:]

    headers = {"Content-Type": "application/json"}
    return await client.request(method, path, content=parts(), headers=headers)


async def test_a_role_that_was_lost_meanwhile_gives_none(world: World) -> None:
    grants, owner = "/api/v1/owners/acme/grants/stranger", world.client("owner")
    await world.set_role("writer", Role.ADMIN)
    lost = await slowly(
        owner, "PUT", grants, {"role": "admin"}, lambda: world.set_role("owner", Role.READ)
    )
    problem(lost, 403, "denied")
    rows = await world.rows(
        "select a.name from accounts a join grants g on g.grantee_id = a.id "
        "where a.name = 'stranger' and g.resource_id <> a.id"
    )
    assert rows == []


async def test_a_password_that_was_changed_meanwhile_makes_no_token(world: World) -> None:
    async def change() -> None:
        await world.services.accounts.set_password(OPERATOR, "stranger", "another long password")

    made = await slowly(
        world.signed_in("stranger"), "POST", "/api/v1/users/stranger/tokens", {}, change
    )
    problem(made, 401, "not-signed-in")
