"""Teams over /api/v1."""

import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from auth.tokens import NewToken
from tests.registry.api.asking import alike, limited, problem
from tests.registry.client import Client
from tests.registry.world import World

TEAMS = "/api/v1/organizations/acme/teams"
CORE = f"{TEAMS}/core"


@pytest.fixture
async def core(world: World) -> Client:
    """The organization's owner; acme/core has the maintainer reader and the member writer."""
    for name in ("reader", "writer"):
        await world.services.organizations.add(OPERATOR, "acme", name, owner=False)
    owner = world.client("owner")
    assert (await owner.post(TEAMS, json={"name": "core"})).status_code == 201
    for name, role in (("reader", "maintainer"), ("writer", "member")):
        assert (await owner.put(f"{CORE}/members/{name}", json={"role": role})).status_code == 200
    return owner


async def test_an_owner_makes_and_ends_teams(world: World) -> None:
    owner = world.client("owner")
    made = await owner.post(TEAMS, json={"name": "Docs"})
    assert made.status_code == 201
    shown = {"name": "docs", "account": "acme/docs", "members": 0}
    assert made.json() == shown | {"created_at": "2023-11-14T22:13:20Z"}
    assert (await owner.get(f"{TEAMS}/DOCS")).json() == made.json()
    problem(await owner.post(TEAMS, json={"name": "docs"}), 409, "conflict", "exists")
    problem(await owner.post(TEAMS, json={"name": "a/b"}), 400, "invalid")
    assert (await owner.delete(f"{TEAMS}/docs")).status_code == 204
    problem(await owner.get(f"{TEAMS}/docs"), 404, "not-found", "no team")
    own = await owner.post("/api/v1/organizations/owner/teams", json={"name": "x"})
    problem(own, 409, "conflict", "only an organization has teams")


async def test_teams_are_listed_by_name_a_page_at_a_time(world: World) -> None:
    owner = world.client("owner")
    for name in ("c", "a", "b"):
        await owner.post(TEAMS, json={"name": name})
    first = (await world.client("reader").get(TEAMS, params={"n": 2})).json()
    assert ([team["name"] for team in first["items"]], first["next"]) == (["a", "b"], "b")
    rest = (await owner.get(TEAMS, params={"after": "b"})).json()
    assert ([team["name"] for team in rest["items"]], rest["next"]) == (["c"], None)
    problem(await world.client("stranger").get(TEAMS), 404, "not-found", "may not see it")


async def test_a_maintainer_changes_the_members(world: World, core: Client) -> None:
    await world.services.organizations.add(OPERATOR, "acme", "stranger", owner=False)
    maintainer, member = world.client("reader"), f"{CORE}/members/stranger"
    body = {"role": "member"}
    assert (await maintainer.put(member, json=body)).json() == {"user": "stranger", **body}
    listed = (await world.client("stranger").get(f"{CORE}/members", params={"n": 2})).json()
    assert listed["items"] == [
        {"user": "reader", "role": "maintainer"},
        {"user": "stranger", "role": "member"},
    ]
    assert listed["next"] == "stranger"
    for name in ("stranger", "writer"):
        refused = await world.client(name).put(f"{CORE}/members/{name}", json={})
        problem(refused, 403, "denied", "its maintainers may")
    assert (await maintainer.delete(member)).status_code == 204
    problem(await maintainer.delete(member), 404, "not-found", "no member")
    problem(await maintainer.delete(CORE), 403, "denied", "administer acme")
    assert (await core.put(f"{CORE}/members/reader", json=body)).status_code == 200
    problem(await maintainer.delete(f"{CORE}/members/writer"), 403, "denied")


async def test_who_is_outside_the_organization_joins_no_team(world: World, core: Client) -> None:
    refused = await core.put(f"{CORE}/members/stranger", json={})
    problem(refused, 409, "conflict", "no member of 'acme'")
    problem(await core.put(f"{CORE}/members/nobody", json={}), 404, "not-found", "no user")


async def test_what_a_team_may_do_is_for_those_in_it(world: World, core: Client) -> None:
    services = world.services
    await world.client().push_image("acme/app", "v1")
    project = await services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    on = {
        "acme": (OWNER, (await services.accounts.get("acme")).id),
        "acme/widget": (PROJECT, project),
        "acme/app": (PACKAGE, (await services.packages.get("acme/app"))["id"]),
    }
    for kind, resource in on.values():
        await services.accounts.grant(OPERATOR, kind, resource, "acme/core", Role.WRITE)
    await services.organizations.add(OPERATOR, "acme", "stranger", owner=False)
    pages, after = [], ""
    while after is not None:
        params = {"n": 1, "after": after}
        page = (await world.client("writer").get(f"{CORE}/grants", params=params)).json()
        pages += page["items"]
        after = page["next"]
    assert pages == [
        {"kind": "owner", "resource": "acme", "role": "write"},
        {"kind": "project", "resource": "acme/widget", "role": "write"},
        {"kind": "package", "resource": "acme/app", "role": "write"},
    ]
    assert (await core.get(f"{CORE}/grants")).json()["items"] == pages
    stranger = world.client("stranger")
    assert (await stranger.get(CORE)).status_code == 200
    problem(await stranger.get(f"{CORE}/grants"), 404, "not-found", "may not see it")
    elsewhere = await limited(world, "writer", (PROJECT, project))
    problem(await elsewhere.get(f"{CORE}/grants"), 404, "not-found", "may not see it")
    within = await limited(world, "writer", on["acme"])
    assert (await within.get(f"{CORE}/grants")).json()["items"] == pages


async def test_a_maintainers_token_needs_the_scope_and_no_limits(
    world: World, core: Client
) -> None:
    project = await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    elsewhere = await limited(world, "reader", (PROJECT, project))
    problem(await elsewhere.delete(f"{CORE}/members/writer"), 403, "denied")
    account = (await world.services.accounts.get("reader")).id
    made = await world.services.tokens.make(OPERATOR, NewToken(account, "user"))
    without = Client(world, f"Bearer {made.text}")
    problem(await without.delete(f"{CORE}/members/writer"), 403, "denied")


async def test_hidden_and_unknown_teams_are_one_answer(world: World, core: Client) -> None:
    await alike(
        world,
        "stranger",
        *(f"{TEAMS}/{team}/members/writer" for team in ("core", "roce")),
        f"{TEAMS.replace('acme', 'emca')}/core/members/writer",
    )
    await alike(
        world,
        "",
        *(f"{TEAMS}/{team}/grants" for team in ("core", "roce")),
        f"{TEAMS.replace('acme', 'emca')}/core/grants",
    )
