"""Owners over /api/v1, and the list of organizations."""

import pytest

from auth.accounts import OWNER
from auth.audit import OPERATOR
from auth.principals import Role
from tests.registry.api.asking import alike, limited, problem
from tests.registry.client import Client
from tests.registry.world import World

ORGANIZATIONS = "/api/v1/organizations"
ACME = "/api/v1/owners/acme"


async def test_an_owner_says_who_sees_what_it_will_make(world: World) -> None:
    owner, path = world.client("owner"), f"{ACME}"
    shown = {"name": "acme", "kind": "organization", "default_visibility": "private"}
    assert (await world.client("reader").get(path)).json() == shown
    changed = await owner.patch(path, json={"default_visibility": "internal"})
    assert changed.json() == shown | {"default_visibility": "internal"}
    assert (await owner.patch(path, json={})).json() == changed.json()
    assert (await owner.get(f"{ORGANIZATIONS}/acme")).json()["default_visibility"] == "internal"
    await world.client().push_image("acme/app", "v1")
    assert (await world.client("stranger").get("/v2/acme/app/manifests/v1")).status_code == 200
    for body in ({"default_visibility": "open"}, {"default_visibility": None}, {"name": "x"}):
        problem(await owner.patch(path, json=body), 400, "invalid")
    refused = await world.client("writer").patch(path, json={"default_visibility": "public"})
    problem(refused, 403, "denied", "administer acme")
    own = await world.client("writer").get("/api/v1/owners/Writer")
    assert own.json() == {"name": "writer", "kind": "user", "default_visibility": "private"}


async def test_hidden_and_unknown_owners_are_one_answer(world: World) -> None:
    for name in ("stranger", ""):
        await alike(world, name, ACME, "/api/v1/owners/emca")
        await alike(world, name, f"{ACME}/audit", "/api/v1/owners/emca/audit")


async def names(client: Client) -> list[str]:
    response = await client.get(ORGANIZATIONS)
    assert response.status_code == 200, response.text
    return [organization["name"] for organization in response.json()["items"]]


@pytest.fixture
async def several(world: World) -> dict[str, int]:
    """Organizations: stranger belongs to b, has a role on c by a team of b, and none on d."""
    accounts, found = world.services.accounts, {}
    for name in ("b", "c", "d"):
        found[name] = await accounts.create_organization(OPERATOR, name, "owner")
    await world.services.organizations.add(OPERATOR, "b", "stranger", owner=False)
    await world.services.teams.create(OPERATOR, "b/core")
    await world.client("owner").put(
        f"{ORGANIZATIONS}/b/teams/core/members/stranger", json={"role": "member"}
    )
    await accounts.grant(OPERATOR, OWNER, found["c"], "b/core", Role.READ)
    return found


async def test_organizations_are_listed_for_those_they_concern(
    world: World, several: dict[str, int]
) -> None:
    assert await names(world.client("stranger")) == ["b", "c"]
    assert await names(world.client("writer")) == ["acme"]
    assert await names(world.client("owner")) == ["acme", "b", "c", "d"]
    assert await names(world.client("admin")) == ["acme", "b", "c", "d"]
    for name in ("stranger", "owner", "admin"):
        assert await names(await limited(world, name, (OWNER, several["c"]))) == (
            [] if name == "admin" else ["c"]
        )
    problem(await world.client("").get(ORGANIZATIONS), 401, "not-signed-in")
    first = (await world.client("owner").get(ORGANIZATIONS, params={"n": 3})).json()
    assert ([one["name"] for one in first["items"]], first["next"]) == (["acme", "b", "c"], "c")


async def test_the_list_and_each_organization_agree(world: World, several: dict[str, int]) -> None:
    for name in ("stranger", "writer", "owner", "reader"):
        client = world.client(name)
        seen = [
            each
            for each in ("acme", "b", "c", "d")
            if (await client.get(f"{ORGANIZATIONS}/{each}")).status_code == 200
        ]
        assert await names(client) == seen
