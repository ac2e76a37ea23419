"""Tokens over /api/v1: what they may be, and who makes, sees and ends them."""

import asyncio
from typing import Any

import pytest

from auth.accounts import OWNER, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Scope, Visibility
from tests.registry.api.asking import ALL, bearer, limited, problem
from tests.registry.client import Client
from tests.registry.world import World

WRITER = "/api/v1/users/writer/tokens"
WIDGET = "/api/v1/projects/acme/widget/tokens"


@pytest.fixture
async def widget(world: World) -> int:
    """The project acme/widget, to which the image acme/app is linked; acme/other is not."""
    for name in ("acme/app", "acme/other"):
        await world.client().push_image(name, "v1")
    project = await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/app", project)
    return project


async def made(client: Client, path: str = WRITER, **wanted: Any) -> dict[str, Any]:
    response = await client.post(path, json=wanted)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    return document


async def using(world: World, client: Client, path: str = WRITER, **wanted: Any) -> Client:
    return bearer(world, (await made(client, path, **wanted))["token"])


async def pulls(client: Client, name: str = "acme/app") -> int:
    return (await client.get(f"/v2/{name}/manifests/v1")).status_code


async def test_a_password_makes_a_token_for_oneself_alone(world: World, widget: int) -> None:
    writer = world.signed_in("writer")
    token = await made(writer, name="laptop", scopes=ALL, expires_in=3600)
    assert token["token"].startswith("phu_")
    assert token["expires_at"] == "2023-11-14T23:13:20Z"
    assert await pulls(bearer(world, token["token"])) == 200
    problem(await writer.post("/api/v1/users/owner/tokens", json={}), 403, "denied")
    admin = await world.signed_in("admin").post(WRITER, json={})
    problem(admin, 403, "denied", "tokens of your own only")
    assert not (world.config.directory / "first-login.txt").exists()


async def test_no_other_door_takes_a_password(world: World, widget: int) -> None:
    writer, admin = world.signed_in("writer"), world.signed_in("admin")
    for method, path in (
        ("GET", WRITER),
        ("DELETE", "/api/v1/tokens/1"),
        ("GET", "/api/v1/user"),
        ("GET", "/api/v1/users"),
        ("POST", WIDGET),
        ("PUT", "/api/v1/users/writer/password"),
        ("GET", "/api/v1/owners/acme/projects"),
    ):
        for client in (writer, admin):
            refused = await client.request(method, path, json={})
            problem(refused, 401, "not-signed-in", "passwords are accepted at")


async def test_wrong_passwords_count_at_this_door_as_at_any(world: World) -> None:
    await world.reconfigure(wrong_passwords=20)
    wrong = world.client("").with_authorization("Basic d3JpdGVyOndyb25n")
    for _ in range(2):
        problem(await wrong.post(WRITER, json={}), 401, "not-signed-in", "wrong user name")
    refused = await world.signed_in("writer").post(WRITER, json={})
    problem(refused, 429, "too-many-requests", "wrong passwords")
    assert (await world.signed_in("writer").get("/token")).status_code == 429
    assert (await world.client("writer").post(WRITER, json={})).status_code == 201
    await world.services.audit.flush()
    lines = await world.rows("select kind, result, detail, times from audit where kind = 'sign-in'")
    assert [(row["kind"], row["result"], row["times"]) for row in lines] == [
        ("sign-in", "failed", 2)
    ]


async def test_a_token_makes_none_beyond_itself(world: World, widget: int) -> None:
    writer = world.client()
    narrow = await using(world, writer, scopes=["read", "admin"], expires_in=3600)
    more = await narrow.post(WRITER, json={"scopes": ["read", "write"]})
    problem(more, 403, "denied", "scope 'write'")
    longer = await narrow.post(WRITER, json={"scopes": ["read"], "expires_in": 7200})
    problem(longer, 403, "denied", "outlives")
    child = await made(narrow, scopes=["read"])
    assert child["expires_at"] == "2023-11-14T23:13:20Z"
    assert await pulls(bearer(world, child["token"])) == 200
    without = await using(world, writer, scopes=["read", "write", "delete"])
    problem(await without.post(WRITER, json={"scopes": ["read"]}), 403, "denied", "'admin'")


async def test_what_a_token_made_keeps_its_limits_and_ends_with_it(
    world: World, widget: int
) -> None:
    writer = world.client()
    limits = {"projects": ["acme/widget"]}
    parent = await made(writer, scopes=ALL, limits=limits)
    within = bearer(world, parent["token"])
    child = await using(world, within, scopes=ALL)
    assert [await pulls(child, f"acme/{name}") for name in ("app", "other")] == [200, 404]
    wider = await within.post(WRITER, json={"limits": {"owners": ["acme"]}})
    problem(wider, 404, "not-found", "may not see it")
    assert (await writer.delete(f"/api/v1/tokens/{parent['id']}")).status_code == 204
    assert await pulls(child) == 401


async def test_limits_name_only_what_one_may_see(world: World, widget: int) -> None:
    stranger, path = world.client("stranger"), "/api/v1/users/stranger/tokens"
    for limits in (
        {"owners": ["acme"]},
        {"projects": ["acme/widget"]},
        {"packages": ["acme/app"]},
    ):
        hidden = await stranger.post(path, json={"limits": limits})
        problem(hidden, 404, "", "may not see it")
    for limits in ({"projects": ["acme"]}, {"packages": ["A/b"]}, {"owners": ["x"] * 101}):
        problem(await stranger.post(path, json={"limits": limits}), 400)
    unmade = await world.client().post(WRITER, json={"limits": {"packages": ["acme/none"]}})
    problem(unmade, 404, "", "no package acme/none")
    await world.services.packages.unlink(OPERATOR, "acme/app")
    await world.publish("acme/app")
    limited_to = {"owners": ["stranger"], "packages": ["acme/app"]}
    token = await made(stranger, path, limits=limited_to, scopes=["read"])
    listed = (await stranger.get(path, params={"after": token["id"] - 1})).json()["items"]
    assert listed[0]["limits"] == [limited_to | {"projects": []}]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"expires_in": 60, "expires_at": "2030-01-01T00:00:00Z"}, "one of them"),
        ({"expires_at": "2023-01-01T00:00:00Z"}, "in the future"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expected"),
        ({"expires_in": 0}, "expected"),
        ({"scopes": []}, "expected"),
        ({"scopes": ["everything"]}, "expected"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "x" * 101}, "expected"),
        ({"kind": "robot"}, "expected"),
    ],
)
async def test_a_token_is_asked_for_in_words_that_are_meant(
    world: World, wanted: dict[str, Any], words: str
) -> None:
    problem(await world.client().post(WRITER, json=wanted), 400, "invalid", words)


async def test_tokens_are_listed_without_their_texts(world: World) -> None:
    writer = world.client()
    token = await made(writer, name="ci", scopes=["read"], expires_at="2030-01-01T01:00:00+01:00")
    response = await writer.get(WRITER, params={"n": 1})
    assert response.json()["next"] == str(response.json()["items"][0]["id"])
    rest = await writer.get(WRITER, params={"after": response.json()["next"]})
    (listed,) = rest.json()["items"]
    assert listed["parent"] == response.json()["items"][0]["id"]
    assert listed | {"parent": 0} == {
        "id": token["id"],
        "kind": "user",
        "name": "ci",
        "scopes": ["read"],
        "limits": [],
        "parent": 0,
        "created_at": "2023-11-14T22:13:20Z",
        "expires_at": "2030-01-01T00:00:00Z",
        "revoked_at": None,
        "last_used_at": None,
    }
    assert token["token"] not in rest.text
    await writer.delete(f"/api/v1/tokens/{token['id']}")
    live = [item["id"] for item in (await writer.get(WRITER)).json()["items"]]
    ended = (await writer.get(WRITER, params={"ended": "true"})).json()["items"]
    assert token["id"] not in live
    assert [item["revoked_at"] for item in ended] == [None, "2023-11-14T22:13:20Z"]


async def test_whose_tokens_one_sees(world: World) -> None:
    assert (await world.client("admin").get(WRITER)).status_code == 200
    for path in (WRITER, "/api/v1/users/nobody/tokens"):
        problem(await world.client("owner").get(path), 403, "denied", "belongs to")
    home = (OWNER, (await world.services.accounts.get("writer")).id)
    problem(await (await limited(world, "writer", home)).get(WRITER), 403, "denied", "limits")
    reading = await using(world, world.client(), scopes=["read"])
    problem(await reading.get(WRITER), 403, "denied", "'admin'")


async def test_an_administrator_of_the_site_makes_tokens_for_others(world: World) -> None:
    admin = world.client("admin")
    token = await made(admin, scopes=["read"])
    assert (await bearer(world, token["token"]).get("/api/v1/user")).json()["name"] == "writer"
    (line,) = await world.rows("select account_id, subject from audit order by id desc limit 1")
    assert line["subject"] == "writer"
    assert line["account_id"] == (await world.services.accounts.get("admin")).id
    problem(await admin.post("/api/v1/users/acme/tokens", json={}), 404, "not-found", "no user")
    home = (OWNER, (await world.services.accounts.get("writer")).id)
    problem(await (await limited(world, "admin", home)).post(WRITER, json={}), 403, "denied")


async def test_a_token_ends_at_the_hands_of_those_it_belongs_to(world: World, widget: int) -> None:
    writer, owner, admin = (world.client(name) for name in ("writer", "owner", "admin"))
    own, robots = await made(writer), await made(owner, WIDGET, kind="robot")
    ids = [own["id"], robots["id"], 10**17]
    for number in ids:
        refused = await world.client("stranger").delete(f"/api/v1/tokens/{number}")
        problem(refused, 403, "denied", "not yours to end")
    problem(await owner.delete(f"/api/v1/tokens/{own['id']}"), 403, "denied")
    problem(await writer.delete(f"/api/v1/tokens/{robots['id']}"), 403, "denied")
    assert (await writer.delete(f"/api/v1/tokens/{own['id']}")).status_code == 204
    problem(await writer.delete(f"/api/v1/tokens/{own['id']}"), 404, "not-found", "no live token")
    assert (await owner.delete(f"/api/v1/tokens/{robots['id']}")).status_code == 204
    problem(await admin.delete(f"/api/v1/tokens/{ids[2]}"), 404, "not-found")
    again = await made(writer)
    assert (await admin.delete(f"/api/v1/tokens/{again['id']}")).status_code == 204
    for number in ("0x1", "-1", "1" * 19, "one"):
        problem(await admin.delete(f"/api/v1/tokens/{number}"), 400, "invalid", "{id}")


async def test_a_token_with_limits_ends_itself_and_what_it_made_alone(
    world: World, widget: int
) -> None:
    writer = world.client()
    other = await made(writer)
    mine = await made(writer, scopes=ALL, limits={"projects": ["acme/widget"]})
    within = bearer(world, mine["token"])
    child = await made(within, scopes=["read"])
    problem(await within.delete(f"/api/v1/tokens/{other['id']}"), 403, "denied")
    assert (await within.delete(f"/api/v1/tokens/{child['id']}")).status_code == 204
    assert (await within.delete(f"/api/v1/tokens/{mine['id']}")).status_code == 204
    problem(await within.delete(f"/api/v1/tokens/{mine['id']}"), 401, "not-signed-in")


async def test_robots_of_a_project_have_tokens(world: World, widget: int) -> None:
    owner = world.client("owner")
    job = await made(owner, WIDGET, kind="job", name="build")
    assert (job["token"][:4], job["expires_at"]) == ("phj_", "2023-11-14T23:13:20Z")
    client = bearer(world, job["token"])
    assert [await pulls(client, f"acme/{name}") for name in ("app", "other")] == [200, 404]
    robot = await made(owner, WIDGET, kind="robot", scopes=["read"])
    assert (robot["token"][:4], robot["expires_at"]) == ("phr_", None)
    listed = (await owner.get(WIDGET)).json()["items"]
    assert [(item["kind"], item["name"]) for item in listed] == [("job", "build"), ("robot", "")]
    for wanted in ({"kind": "job", "expires_in": 60}, {"kind": "job", "expires_in": 90_000}):
        problem(await owner.post(WIDGET, json=wanted), 400, "invalid", "5m at least")
    for name in ("writer", "stranger"):
        problem(await world.client(name).post(WIDGET, json={"kind": "job"}), 403, "denied")
        problem(await world.client(name).get(WIDGET), 403, "denied")


async def test_a_robots_token_has_no_more_than_the_token_that_made_it(
    world: World, widget: int
) -> None:
    """The robot may get roles elsewhere; a token made within a project stays there."""
    other = await world.services.projects.create(OPERATOR, "acme/other", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/other", other)
    within = await limited(world, "owner", (PROJECT, widget))
    robot = await using(world, within, WIDGET, kind="robot", scopes=["read"])
    await world.services.accounts.grant(OPERATOR, PROJECT, other, "acme+widget", Role.READ)
    assert [await pulls(robot, f"acme/{name}") for name in ("app", "other")] == [200, 404]
    scopes = Scope.READ | Scope.ADMIN
    reading = bearer(world, await world.mint("owner", scopes))
    refused = await reading.post(WIDGET, json={"kind": "robot", "scopes": ["write"]})
    problem(refused, 403, "denied", "scope 'write'")


async def test_a_token_that_ends_meanwhile_leaves_none_behind(world: World) -> None:
    """Ten ask with one token while it is revoked: whatever was made has ended with it."""
    writer = world.client()
    mine = await made(writer, scopes=ALL)
    asking = bearer(world, mine["token"])
    ended, *answers = await asyncio.gather(
        writer.delete(f"/api/v1/tokens/{mine['id']}"),
        *(asking.post(WRITER, json={"scopes": ["read"]}) for _ in range(10)),
    )
    assert ended.status_code == 204
    assert {answer.status_code for answer in answers} <= {201, 401}
    live = (await writer.get(WRITER)).json()["items"]
    assert [item["parent"] for item in live] == [None]


async def test_an_end_that_cannot_be_written_is_refused(world: World, widget: int) -> None:
    for path, kind in ((WRITER, {}), (WIDGET, {"kind": "robot"})):
        for end in ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", "2150-01-01T00:00:00Z"):
            body = {**kind, "expires_at": end}
            refused = await world.client("admin").post(path.replace("writer", "admin"), json=body)
            problem(refused, 400, "invalid", "within a hundred years")
    assert (await world.client("admin").get(WIDGET)).status_code == 200
