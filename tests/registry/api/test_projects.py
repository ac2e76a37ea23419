"""Projects and their sources over /api/v1."""

import asyncio

import pytest

from auth.accounts import OWNER, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from tests.registry.api.asking import alike, limited, problem
from tests.registry.client import Client
from tests.registry.world import World

OWNED = "/api/v1/owners/acme/projects"
WIDGET = "/api/v1/projects/acme/widget"
SOURCE = f"{WIDGET}/sources/https%3A%2F%2Fgit.example%2Facme%2Fwidget.git"


@pytest.fixture
async def projects(world: World) -> dict[str, int]:
    """Projects of acme in each visibility, by name."""
    return {
        name: await world.services.projects.create(OPERATOR, f"acme/{name}", visibility)
        for name, visibility in (
            ("Open", Visibility.PUBLIC),
            ("inside", Visibility.INTERNAL),
            ("widget", Visibility.PRIVATE),
        )
    }


async def names(client: Client, **params: object) -> list[str]:
    response = await client.get(OWNED, params={key: str(value) for key, value in params.items()})
    assert response.status_code == 200, response.text
    return [project["name"] for project in response.json()["items"]]


async def test_an_owner_makes_projects(world: World) -> None:
    owner = world.client("owner")
    made = await owner.post(OWNED, json={"name": "Widget"})
    assert made.status_code == 201
    assert made.json() == {
        "owner": "acme",
        "name": "Widget",
        "visibility": "private",
        "created_at": "2023-11-14T22:13:20Z",
    }
    assert (await owner.get(WIDGET)).json() == made.json()
    problem(await owner.post(OWNED, json={"name": "WIDGET"}), 409, "conflict", "exists")
    problem(await owner.post(OWNED, json={"name": "x.git"}), 400, "invalid", "name")
    refused = await world.client("writer").post(OWNED, json={"name": "mine"})
    problem(refused, 403, "denied", "administer acme")
    own = await world.client("writer").post("/api/v1/owners/writer/projects", json={"name": "mine"})
    assert own.status_code == 201


async def test_everybody_lists_what_he_may_see(world: World, projects: dict[str, int]) -> None:
    stranger = world.client("stranger")
    assert await names(world.client("")) == ["Open"]
    assert await names(stranger) == ["inside", "Open"]
    assert await names(world.client("reader")) == ["inside", "Open", "widget"]
    assert await names(world.client("admin")) == ["inside", "Open", "widget"]
    await world.services.accounts.grant(
        OPERATOR, PROJECT, projects["widget"], "stranger", Role.READ
    )
    assert await names(stranger) == ["inside", "Open", "widget"]
    assert await names(await limited(world, "stranger", (PROJECT, projects["widget"]))) == [
        "Open",
        "widget",
    ]
    home = (OWNER, (await world.services.accounts.get("admin")).id)
    assert await names(await limited(world, "admin", home)) == ["Open"]
    nobody = await world.client("").get("/api/v1/owners/nobody/projects")
    assert nobody.json() == {"items": [], "next": None}
    for name in ("a_b", "a" * 40):
        problem(await world.client("").get(f"/api/v1/owners/{name}/projects"), 400)


async def test_the_list_and_each_project_agree(world: World, projects: dict[str, int]) -> None:
    """One decision, in a list and alone."""
    robot_id, _ = await world.services.projects.robot(OPERATOR, "acme/widget")
    made = await world.services.tokens.create(OPERATOR, robot_id, "robot", "", 15, None)
    clients = [world.client(name) for name in ("", "stranger", "reader", "owner", "admin")]
    clients.append(Client(world, f"Bearer {made.text}"))
    for name in ("reader", "admin", "stranger"):
        clients.append(await limited(world, name, (PROJECT, projects["inside"])))
    for client in clients:
        seen = [
            name
            for name in ("inside", "Open", "widget")
            if (await client.get(f"/api/v1/projects/acme/{name}")).status_code == 200
        ]
        assert await names(client) == seen


async def test_projects_come_a_page_at_a_time(world: World, projects: dict[str, int]) -> None:
    first = (await world.client("owner").get(OWNED, params={"n": 2})).json()
    assert [project["name"] for project in first["items"]] == ["inside", "Open"]
    assert first["next"] == "open"
    assert await names(world.client("owner"), after="OPEN") == ["widget"]


async def test_an_ended_token_lists_nothing(world: World, projects: dict[str, int]) -> None:
    text = await world.mint("owner")
    await world.revoke(text)
    refused = await Client(world, f"Bearer {text}").get(OWNED)
    problem(refused, 401, "not-signed-in", "revoked")


async def test_a_project_changes_as_a_whole_or_not_at_all(
    world: World, projects: dict[str, int]
) -> None:
    owner = world.client("owner")
    await world.client().push_image("acme/app", "v1")
    await world.services.packages.link(OPERATOR, "acme/app", projects["widget"])
    change = {"name": "inside", "visibility": "public"}
    problem(await owner.patch(WIDGET, json=change), 409, "conflict", "exists")
    assert (await owner.get(WIDGET)).json()["visibility"] == "private"
    assert (await world.client("").get("/v2/acme/app/manifests/v1")).status_code == 401
    changed = await owner.patch(WIDGET, json=change | {"name": "Gadget"})
    assert (changed.json()["name"], changed.json()["visibility"]) == ("Gadget", "public")
    assert (await world.client("").get("/v2/acme/app/manifests/v1")).status_code == 200
    problem(await owner.get(WIDGET), 404, "not-found")
    gadget = "/api/v1/projects/acme/gadget"
    assert changed.json()["changed_packages"] == 1
    again = await owner.patch(gadget, json={})
    assert again.json() == changed.json() | {"changed_packages": 0}
    problem(await owner.patch(gadget, json={"name": None}), 400, "invalid")
    problem(await world.client("reader").patch(gadget, json=change), 403, "denied")


async def test_sources_come_and_go(world: World, projects: dict[str, int]) -> None:
    owner = world.client("owner")
    kept = {"url": "git.example/acme/widget"}
    assert (await owner.put(SOURCE)).json() == kept
    assert (await owner.put(SOURCE)).json() == kept
    assert (await owner.put(f"{WIDGET}/sources/git.example%2Fother")).status_code == 200
    first = (await world.client("reader").get(f"{WIDGET}/sources", params={"n": 1})).json()
    assert first == {"items": [kept], "next": "git.example/acme/widget"}
    rest = await owner.get(f"{WIDGET}/sources", params={"after": first["next"]})
    assert rest.json() == {"items": [{"url": "git.example/other"}], "next": None}
    elsewhere = await owner.put(SOURCE.replace("projects/acme/widget", "projects/acme/inside"))
    problem(elsewhere, 409, "conflict", "'widget' already")
    problem(await owner.put(f"{WIDGET}/sources/nonsense"), 400, "invalid", "not a source URL")
    problem(await world.client("writer").put(SOURCE), 403, "denied")
    assert (await owner.delete(SOURCE)).status_code == 204
    problem(await owner.delete(SOURCE), 404, "not-found", "no source")


async def test_ten_who_make_one_project_at_once_make_one(world: World) -> None:
    owner = world.client("owner")
    answers = await asyncio.gather(*(owner.post(OWNED, json={"name": "one"}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_hidden_and_unknown_projects_are_one_answer(
    world: World, projects: dict[str, int]
) -> None:
    for name in ("stranger", ""):
        paths = [f"/api/v1/projects/{path}" for path in ("acme/widget", "acme/gadget", "emca/x")]
        await alike(world, name, *paths)
        await alike(world, name, *(f"{path}/sources" for path in paths))
        await alike(world, name, *(f"{path}/sources/git.example%2Fx" for path in paths))
        await alike(world, name, *(f"{path}/tokens" for path in paths))


async def test_a_robot_has_the_name_of_its_project_whoever_renames_that(world: World) -> None:
    """Or the next project of the old name would get the robot, and with it these rights."""
    owner = world.client("owner")
    for number in range(4):
        path = f"/api/v1/projects/acme/old{number}"
        assert (await owner.post(OWNED, json={"name": f"old{number}"})).status_code == 201
        answers = await asyncio.gather(
            *(owner.post(f"{path}/tokens", json={"kind": "robot"}) for _ in range(4)),
            *(owner.patch(path, json={"name": f"{new}{number}"}) for new in ("new", "other")),
            *(owner.post(f"{path}/tokens", json={"kind": "robot"}) for _ in range(4)),
        )
        assert {answer.status_code for answer in answers} <= {200, 201, 404}
    found = await world.rows(
        "select r.folded_name, a.name from grants g join projects r on r.id = g.resource_id "
        "join accounts a on a.id = g.grantee_id where g.resource_kind = 2 and a.kind = 'robot'"
    )
    assert {row["name"] for row in found} == {f"acme+{row['folded_name']}" for row in found}
    assert len(found) == len({row["folded_name"] for row in found})
