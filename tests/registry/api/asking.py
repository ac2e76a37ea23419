"""What tests of the API say over and over."""

from typing import Any

import httpx

from auth.audit import OPERATOR
from auth.principals import Scope
from registry.app import build_surface, wire
from tests.registry.client import Client
from tests.registry.test_access_table import Counted
from tests.registry.world import World

ID = "a" * 16
ALL = ["read", "write", "delete", "admin"]


def problem(response: httpx.Response, status: int, code: str = "", *words: str) -> dict[str, Any]:
    """Check a problem document; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert set(said) == {"type", "title", "status", "code", "detail", "request_id"}
    assert (said["status"], said["code"]) == (status, code or said["code"])
    assert said["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in said["detail"]
    assert "Traceback" not in response.text
    return said


def bearer(world: World, text: str) -> Client:
    """Whoever comes with a token."""
    return Client(world, f"Bearer {text}")


async def limited(world: World, name: str, *limits: tuple[int, int]) -> Client:
    """A person with a token of all scopes that is limited to resources, as (kind, id)."""
    account = await world.services.accounts.get(name)
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits=limits
    )
    return bearer(world, made.text)


async def alike(world: World, name: str, *paths: str) -> None:
    """Check that every method is answered alike on these paths, by the same statements.

    They are of one length, and differ only in names that the caller may not know of.
    """
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    client = Client(build_surface(counted), world.client(name).authorization)
    for method in ("GET", "PUT", "PATCH", "POST", "DELETE"):
        seen = set()
        for path in paths:
            ran.clear()
            response = await client.request(method, path, json={}, headers={"X-Request-Id": ID})
            text = response.text
            for other in paths:
                for said, first in zip(other.split("/"), paths[0].split("/"), strict=True):
                    text = text.replace(said, first)
            headers = [pair for pair in response.headers.items() if pair[0] != "content-length"]
            seen.add((response.status_code, str(headers), text, tuple(ran)))
        assert len(seen) == 1, (method, seen)
