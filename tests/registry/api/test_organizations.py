"""Organizations over /api/v1."""

from tests.registry.api.asking import problem
from tests.registry.client import Client
from tests.registry.world import World

ORGANIZATIONS = "/api/v1/organizations"
ACME = f"{ORGANIZATIONS}/acme"


async def test_a_site_administrator_makes_an_organization(world: World) -> None:
    admin = world.client("admin")
    made = await admin.post(ORGANIZATIONS, json={"name": "Widgets", "owner": "stranger"})
    assert made.status_code == 201
    assert made.json() == {
        "name": "widgets",
        "default_visibility": "private",
        "created_at": "2023-11-14T22:13:20Z",
    }
    assert (await world.client("stranger").get(f"{ORGANIZATIONS}/widgets")).json() == made.json()
    problem(await admin.post(ORGANIZATIONS, json={"name": "widgets"}), 409, "conflict", "taken")
    problem(await admin.post(ORGANIZATIONS, json={"name": "a_b"}), 400, "invalid", "name")
    again = await world.client("owner").post(ORGANIZATIONS, json={"name": "other"})
    problem(again, 403, "denied", "no administrator")


async def test_members_come_and_go(world: World, stranger: Client) -> None:
    owner, member = world.client("owner"), f"{ACME}/members/stranger"
    hidden = await stranger.get(ACME)
    problem(hidden, 404, "not-found", "you may not see it")
    assert (await owner.put(member, json={})).json() == {"user": "stranger", "role": "member"}
    assert (await stranger.get(ACME)).status_code == 200
    problem(await stranger.put(member, json={"role": "owner"}), 403, "denied", "administer acme")
    assert (await owner.put(member, json={"role": "owner"})).json()["role"] == "owner"
    first = (await stranger.get(f"{ACME}/members", params={"n": 1})).json()
    assert first == {"items": [{"user": "owner", "role": "owner"}], "next": "owner"}
    rest = await stranger.get(f"{ACME}/members", params={"after": first["next"]})
    assert rest.json() == {"items": [{"user": "stranger", "role": "owner"}], "next": None}
    assert (await owner.delete(member)).status_code == 204
    problem(await owner.delete(member), 404, "not-found", "no member")
    assert (await stranger.get(ACME)).status_code == 404


async def test_an_organization_is_meant_whatever_the_case_of_its_name(world: World) -> None:
    owner, loud = world.client("owner"), f"{ORGANIZATIONS}/ACME"
    assert (await owner.put(f"{loud}/members/STRANGER", json={})).json()["user"] == "stranger"
    for path in ("", "/members"):
        assert (await owner.get(loud + path)).json() == (await owner.get(ACME + path)).json()
    assert (await owner.delete(f"{loud}/members/Stranger")).status_code == 204


async def test_hidden_and_unknown_are_one_answer(world: World, stranger: Client) -> None:
    for who, status in ((stranger, 404), (world.client(""), 401)):
        hidden = await who.get(ACME, headers={"X-Request-Id": "a" * 16})
        unknown = await who.get(f"{ORGANIZATIONS}/emca", headers={"X-Request-Id": "a" * 16})
        assert hidden.status_code == unknown.status_code == status
        assert hidden.text == unknown.text.replace("emca", "acme")
    for method in ("PUT", "DELETE"):
        for name in ("acme", "emca"):
            path = f"{ORGANIZATIONS}/{name}/members/stranger"
            refused = await stranger.request(method, path, json={})
            problem(refused, 403, "denied", f"may not administer {name}")
