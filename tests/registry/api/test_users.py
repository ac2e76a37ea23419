"""Users over /api/v1."""

import asyncio

import pytest

from tests.registry.api.asking import problem
from tests.registry.client import Client, basic
from tests.registry.person import Person
from tests.registry.world import PASSWORD, World

USERS = "/api/v1/users"
NEW = "another long password"


async def test_a_site_administrator_makes_users(world: World) -> None:
    admin = world.client("admin")
    made = await admin.post(USERS, json={"name": "Ann", "password": NEW})
    assert made.status_code == 201
    shown = {key: made.json()[key] for key in ("name", "admin", "disabled")}
    assert shown == {"name": "ann", "admin": False, "disabled": False}
    assert made.json()["created_at"] == "2023-11-14T22:13:20Z"
    assert (await admin.get(f"{USERS}/ANN")).json() == made.json()
    assert (await Client(world, basic("ann", NEW)).token()) != ""
    problem(await admin.post(USERS, json={"name": "ann"}), 409, "conflict", "taken")
    problem(await admin.post(USERS, json={"name": "v2"}), 400, "name-invalid", "reserved")
    problem(await admin.post(USERS, json={"name": "bob", "password": "short"}), 400, "invalid")
    nul = await admin.post(USERS, json={"name": "bob", "password": "long enough\0"})
    problem(nul, 400, "invalid", "NUL")
    problem(await admin.get(f"{USERS}/acme"), 404, "not-found", "no user named 'acme'")


async def test_users_are_listed_without_any_hash(world: World) -> None:
    admin = world.client("admin")
    first = (await admin.get(USERS, params={"n": 2})).json()
    assert ([user["name"] for user in first["items"]], first["next"]) == (
        ["admin", "owner"],
        "owner",
    )
    rest = await admin.get(USERS, params={"after": first["next"]})
    assert [user["name"] for user in rest.json()["items"]] == ["reader", "stranger", "writer"]
    assert rest.json()["next"] is None
    assert set(rest.json()["items"][0]) == {"name", "admin", "disabled", "created_at"}
    assert "argon2" not in rest.text


async def test_a_user_sees_himself_alone(world: World, stranger: Client) -> None:
    assert (await stranger.get(f"{USERS}/Stranger")).json()["name"] == "stranger"
    for name in ("owner", "nobody"):
        problem(await stranger.get(f"{USERS}/{name}"), 403, "denied", f"belongs to {name}")
        change = await stranger.patch(f"{USERS}/{name}", json={"admin": True})
        problem(change, 403, "denied", "no administrator of this site")
    own = await stranger.patch(f"{USERS}/stranger", json={"admin": True})
    problem(own, 403, "denied", "no administrator of this site")
    problem(await stranger.get(USERS), 403, "denied")
    problem(await world.client("").get(USERS), 401, "not-signed-in")


async def test_a_disabled_user_is_out_at_once_and_comes_back(world: World) -> None:
    admin, stranger = world.client("admin"), world.client("stranger")
    off = await admin.patch(f"{USERS}/stranger", json={"disabled": True})
    assert off.json()["disabled"] is True
    problem(await stranger.get(f"{USERS}/stranger"), 401, "not-signed-in", "disabled")
    on = await admin.patch(f"{USERS}/stranger", json={"disabled": False, "admin": True})
    assert (on.json()["disabled"], on.json()["admin"]) == (False, True)
    assert (await stranger.get(USERS)).status_code == 200
    assert (await admin.patch(f"{USERS}/stranger", json={})).json() == on.json()
    lines = await world.rows("select kind, subject, detail from audit order by id desc limit 3")
    assert [tuple(line) for line in lines] == [
        ("user.enable", "stranger", ""),
        ("user.admin", "stranger", "site administrator"),
        ("user.disable", "stranger", ""),
    ]


@pytest.mark.parametrize("change", [{"admin": False}, {"disabled": True}])
async def test_an_administrator_cannot_shut_himself_out(
    world: World, change: dict[str, bool]
) -> None:
    admin = world.client("admin")
    refused = await admin.patch(f"{USERS}/ADMIN", json=change)
    problem(refused, 409, "conflict", "another administrator")
    assert (await admin.get(f"{USERS}/admin")).json()["admin"] is True


async def test_ones_own_password_takes_the_old_one(world: World, stranger: Client) -> None:
    path = f"{USERS}/stranger/password"
    problem(await stranger.put(path, json={"password": NEW}), 400, "invalid", "old")
    wrong = await stranger.put(path, json={"password": NEW, "old": "not this one"})
    problem(wrong, 403, "denied", "the old password is wrong")
    token = await stranger.put(path, json={"password": NEW, "old": world.tokens["stranger"]})
    problem(token, 403, "denied", "the old password is wrong")
    bearer = await world.signed_in("stranger").bearer()
    assert (await bearer.get("/v2/")).status_code == 200
    assert (await stranger.put(path, json={"password": NEW, "old": PASSWORD})).status_code == 204
    assert (await bearer.get("/v2/")).status_code == 401
    assert (await Client(world, basic("stranger", NEW)).token()) != ""
    admin = await world.client("admin").put(path, json={"password": PASSWORD})
    assert admin.status_code == 204
    assert (await world.signed_in("stranger").token()) != ""
    other = await world.client("owner").put(path, json={"password": NEW, "old": PASSWORD})
    problem(other, 403, "denied", "belongs to stranger")


async def test_guessing_the_old_password_counts_as_signing_in(world: World) -> None:
    await world.reconfigure(wrong_passwords=20)
    stranger, path = world.client("stranger"), f"{USERS}/stranger/password"
    for _ in range(2):
        wrong = await stranger.put(path, json={"password": NEW, "old": "a wrong password"})
        problem(wrong, 403, "denied")
    over = await stranger.put(path, json={"password": NEW, "old": PASSWORD})
    problem(over, 429, "too-many-requests", "wrong passwords")
    assert int(over.headers["retry-after"]) > 0
    at_token = await world.signed_in("stranger").get("/token")
    assert at_token.status_code == 429


async def test_a_token_with_limits_or_without_admin_changes_no_password(world: World) -> None:
    made = await world.client("stranger").post(
        f"{USERS}/stranger/tokens", json={"scopes": ["read"]}
    )
    reading = Client(world, f"Bearer {made.json()['token']}")
    body = {"password": NEW, "old": PASSWORD}
    refused = await reading.put(f"{USERS}/stranger/password", json=body)
    problem(refused, 403, "denied", "scope 'admin'")
    scopes = {"scopes": ["read", "admin"], "limits": {"owners": ["stranger"]}}
    made = await world.client("stranger").post(f"{USERS}/stranger/tokens", json=scopes)
    limited = Client(world, f"Bearer {made.json()['token']}")
    refused = await limited.put(f"{USERS}/stranger/password", json=body)
    problem(refused, 403, "denied", "this token has limits")
    assert (await limited.get(f"{USERS}/stranger")).status_code == 200


async def test_a_disabled_users_sessions_do_not_come_back(world: World) -> None:
    admin, browser = world.client("admin"), await Person(world).signed_in("stranger")
    for disabled in (True, False):
        changed = await admin.patch(f"{USERS}/stranger", json={"disabled": disabled})
        assert changed.status_code == 200
    assert not await browser.is_signed_in()


@pytest.mark.parametrize("change", [{"admin": False}, {"disabled": True}])
async def test_of_two_administrators_who_end_each_other_one_stays(
    world: World, change: dict[str, bool]
) -> None:
    admin, stranger = world.client("admin"), world.client("stranger")
    await admin.patch(f"{USERS}/stranger", json={"admin": True})
    answers = await asyncio.gather(
        *(admin.patch(f"{USERS}/stranger", json=change) for _ in range(5)),
        *(stranger.patch(f"{USERS}/admin", json=change) for _ in range(5)),
    )
    assert {answer.status_code for answer in answers} <= {200, 401, 403}
    left = await world.rows("select name from accounts where is_admin = 1 and disabled_at is null")
    assert len(left) == 1
