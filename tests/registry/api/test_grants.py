"""Roles on owners, projects and packages over /api/v1."""

import asyncio

import pytest

from auth.accounts import PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Visibility
from registry.app import build_surface, wire
from tests.registry.api.asking import alike, limited, problem
from tests.registry.client import Client
from tests.registry.test_access_table import Counted
from tests.registry.world import World

ON = {
    "owner": "/api/v1/owners/acme/grants",
    "project": "/api/v1/projects/acme/widget/grants",
    "package": "/api/v1/packages/acme/app%2Fweb/grants",
}


@pytest.fixture(params=ON)
async def grants(world: World, request: pytest.FixtureRequest) -> str:
    """The path of the roles on an owner, a project and a package in turn."""
    await world.client().push_image("acme/app/web", "v1")
    project = await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/app/web", project)
    return ON[request.param]


async def test_a_role_is_given_changed_and_taken(world: World, grants: str) -> None:
    owner, stranger = world.client("owner"), world.client("stranger")
    manifest = "/v2/acme/app/web/manifests/v1"
    given = await owner.put(f"{grants}/Stranger", json={"role": "read"})
    assert given.json() == {"account": "stranger", "kind": "user", "role": "read"}
    assert (await stranger.get(manifest)).status_code == 200
    assert given.json() in (await owner.get(grants, params={"after": "r"})).json()["items"]
    problem(await stranger.get(grants), 403, "denied")
    for name in ("stranger", "nobody"):
        problem(await stranger.put(f"{grants}/{name}", json={"role": "admin"}), 403, "denied")
    assert (await owner.put(f"{grants}/stranger", json={"role": "admin"})).status_code == 200
    assert (await stranger.get(grants)).status_code == 200
    assert (await owner.delete(f"{grants}/stranger")).status_code == 204
    assert (await stranger.get(manifest)).status_code == 404
    problem(await owner.delete(f"{grants}/stranger"), 404, "not-found", "no role here")
    lines = await world.rows(
        "select kind, detail from audit where kind like 'grant%' order by id desc limit 3"
    )
    assert [tuple(line) for line in lines] == [
        ("grant.remove", "admin of stranger"),
        ("grant", "admin to stranger"),
        ("grant", "read to stranger"),
    ]


async def test_a_team_and_a_robot_are_named_with_their_signs(world: World, grants: str) -> None:
    owner = world.client("owner")
    await owner.post("/api/v1/organizations/acme/teams", json={"name": "core"})
    await world.services.projects.robot(OPERATOR, "acme/widget")
    team = await owner.put(f"{grants}/acme%2Fcore", json={"role": "write"})
    assert team.json() == {"account": "acme/core", "kind": "team", "role": "write"}
    robot = await owner.put(f"{grants}/acme+widget", json={"role": "read"})
    assert robot.json() == {"account": "acme+widget", "kind": "robot", "role": "read"}
    first = (await owner.get(grants, params={"n": 1})).json()
    assert first == {"items": [robot.json()], "next": "acme+widget"}
    rest = (await owner.get(grants, params={"after": "acme+widget", "n": 1})).json()
    assert rest["items"] == [team.json()]
    assert (await owner.delete(f"{grants}/acme%2Fcore")).status_code == 204
    for name in ("acme", "nobody", "acme%2Fnone"):
        problem(await owner.put(f"{grants}/{name}", json={"role": "read"}), 404, "not-found")
    for body in ({}, {"role": "none"}, {"role": "owner"}):
        problem(await owner.put(f"{grants}/stranger", json=body), 400, "invalid")


async def test_hidden_and_unknown_are_one_answer(world: World, grants: str) -> None:
    for name in ("stranger", ""):
        unknown = grants.replace("acme", "emca")
        await alike(world, name, grants, unknown)
        await alike(world, name, f"{grants}/reader", f"{unknown}/reader", f"{grants}/redaer")


async def test_a_token_gives_roles_within_its_limits_alone(world: World, grants: str) -> None:
    project = await world.services.projects.get("acme/widget")
    within = await limited(world, "owner", (PROJECT, project))
    answer = await within.put(f"{grants}/stranger", json={"role": "read"})
    assert answer.status_code == (403 if grants == ON["owner"] else 200)
    other = await world.services.projects.create(OPERATOR, "acme/other", Visibility.PRIVATE)
    beyond = await limited(world, "owner", (PROJECT, other))
    problem(await beyond.put(f"{grants}/stranger", json={"role": "read"}), 403, "denied")
    package = (await world.services.packages.get("acme/app/web"))["id"]
    within = await limited(world, "owner", (PACKAGE, package))
    answer = await within.put(f"{grants}/stranger", json={"role": "read"})
    assert answer.status_code == (200 if grants == ON["package"] else 403)


async def test_an_owner_keeps_who_administers_it(world: World) -> None:
    owner, last = world.client("owner"), f"{ON['owner']}/owner"
    for method, body in (("DELETE", None), ("PUT", {"role": "write"})):
        problem(await owner.request(method, last, json=body), 409, "conflict", "no owner")
        own = "/api/v1/owners/owner/grants/owner"
        refused = await world.client("admin").request(method, own, json=body)
        problem(refused, 409, "conflict", "namespace of its name")
    assert (await owner.put(f"{ON['owner']}/writer", json={"role": "admin"})).status_code == 200
    assert (await owner.delete(last)).status_code == 204
    problem(await owner.get(ON["owner"]), 403, "denied")


async def test_of_two_who_take_the_role_from_each_other_one_stays(world: World) -> None:
    owner, writer = world.client("owner"), world.client("writer")
    await owner.put(f"{ON['owner']}/writer", json={"role": "admin"})
    answers = await asyncio.gather(
        *(owner.delete(f"{ON['owner']}/writer") for _ in range(5)),
        *(writer.delete(f"{ON['owner']}/owner") for _ in range(5)),
    )
    assert {answer.status_code for answer in answers} <= {204, 403, 404, 409}
    assert sum(answer.status_code == 204 for answer in answers) == 1
    left = (await world.client("admin").get(ON["owner"])).json()["items"]
    assert [item["role"] for item in left if item["account"] != "reader"] == ["admin"]


async def test_who_is_given_a_role_is_somebody_the_giver_may_see(world: World) -> None:
    """Everybody has a namespace to give roles on: it must not tell what other owners have."""
    owner, stranger = world.client("owner"), world.client("stranger")
    await owner.post("/api/v1/organizations/acme/teams", json={"name": "core"})
    for project, visibility in (("widget", Visibility.PRIVATE), ("seen", Visibility.PUBLIC)):
        await world.services.projects.create(OPERATOR, f"acme/{project}", visibility)
        await world.services.projects.robot(OPERATOR, f"acme/{project}")
    own = "/api/v1/owners/stranger/grants"
    ran: list[str] = []
    database = Counted(world.services.database, ran)
    counted = wire(world.config, database, world.services.store, world.clock)
    asking, seen = Client(build_surface(counted), stranger.authorization), []
    for name in ("acme+widget", "acme%2Fcore", "acme", "nobody", "acme+nobody", "acme%2Fnobody"):
        ran.clear()
        given = await asking.put(f"{own}/{name}", json={"role": "read"})
        problem(given, 404, "not-found", f"{name.replace('%2F', '/')!r}, or you may not see it")
        problem(await asking.delete(f"{own}/{name}"), 404, "not-found", "no role here")
        seen.append(tuple(ran))
    assert len(set(seen)) == 1
    assert (await stranger.put(f"{own}/acme+seen", json={"role": "read"})).status_code == 200
    await owner.put("/api/v1/organizations/acme/members/stranger", json={"role": "member"})
    assert (await stranger.put(f"{own}/acme%2Fcore", json={"role": "read"})).status_code == 200
    problem(await stranger.put(f"{own}/acme+widget", json={"role": "read"}), 404, "not-found")
    await owner.put("/api/v1/projects/acme/widget/grants/stranger", json={"role": "read"})
    assert (await stranger.put(f"{own}/acme+widget", json={"role": "read"})).status_code == 200
