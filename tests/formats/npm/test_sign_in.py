"""npm login, adduser, logout, whoami and ping."""

import json
import logging
from typing import Any

import httpx
import pytest

from auth.audit import OPERATOR
from auth.principals import Scope
from registry.debts import Counts
from storage.clock import SECOND
from tests.formats.npm.shop import Shop, application, told
from tests.registry.client import Client, basic
from tests.registry.person import Person
from tests.registry.world import PASSWORD, World

USER = "/npm/-/user/org.couchdb.user:{}"


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


async def couch(
    client: Client, name: str = "writer", password: str = PASSWORD, **more: Any
) -> httpx.Response:
    """Sign in as npm does with --auth-type=legacy."""
    body = {
        "_id": f"org.couchdb.user:{name}",
        "name": name,
        "password": password,
        "type": "user",
        "roles": [],
        "date": "2026-11-21T08:05:21.000Z",
        **more,
    }
    return await client.put(USER.format(name), json=body)


async def scopes_of(world: World, token: str) -> tuple[Scope, int]:
    """The scopes of a token, and its end."""
    who = await world.services.tokens.find(token)
    assert who is not None
    rows = await world.rows(f"select scopes, expires_at from tokens where id = {who.token_id}")
    return Scope(rows[0]["scopes"]), rows[0]["expires_at"]


async def test_the_registry_answers_a_ping(shop: Shop) -> None:
    for path in ("/npm/-/ping", "/auth/npm/-/ping"):
        response = await shop.person().get(path)
        assert (response.status_code, response.json()) == (200, {})
        assert response.headers["cache-control"] == "no-store"


async def test_whoever_comes_with_a_token_is_named(shop: Shop) -> None:
    response = await shop.person("reader").get("/npm/-/whoami")
    assert response.json() == {"username": "reader"}
    told(await shop.person().get("/npm/-/whoami"), 401, "sign in with a token")
    told(await shop.basic("reader", PASSWORD).get("/npm/-/whoami"), 401, "use a token")


async def test_a_password_gives_a_token_that_reads_and_writes_for_90_days(shop: Shop) -> None:
    response = await couch(shop.person())
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    token = response.json()["token"]
    scopes, end = await scopes_of(shop.world, token)
    assert scopes == Scope.READ | Scope.WRITE
    assert end == shop.world.clock.at + 90 * 86400 * SECOND
    assert (await shop.holder(token).get("/npm/-/whoami")).json() == {"username": "writer"}


async def test_a_name_is_folded_and_the_password_sent_again_does_as_well(shop: Shop) -> None:
    assert (await couch(shop.person(), "Writer")).status_code == 201
    again = USER.format("writer") + "/-rev/1-x"
    response = await shop.basic("writer", PASSWORD).put(
        again, json={"name": "writer", "password": PASSWORD}
    )
    assert response.status_code == 201


async def test_a_token_in_the_place_of_a_password_is_what_one_signs_in_with(shop: Shop) -> None:
    token = await shop.world.mint("writer", Scope.READ)
    assert (await couch(shop.person(), "writer", token)).json()["token"] == token
    await shop.world.revoke(token)
    told(await couch(shop.person(), "writer", token), 401, "revoked")


async def test_wrong_and_unknown_are_told_alike(shop: Shop) -> None:
    answers = [
        await couch(shop.person(), "writer", "not my password"),
        await couch(shop.person(), "nobody-here", "not my password"),
        await couch(shop.person(), "acme", "not my password"),
    ]
    assert len({told(answer, 401) for answer in answers}) == 1
    sign_ups = [
        await couch(shop.person(), name, "not my password", email="a@example.org")
        for name in ("writer", "nobody-here")
    ]
    assert len({told(answer, 403, "an administrator of this site") for answer in sign_ups}) == 1


async def test_adduser_with_the_right_password_is_a_login(shop: Shop) -> None:
    response = await couch(shop.person(), email="writer@example.org")
    assert response.status_code == 201


async def test_credentials_that_ended_keep_nobody_from_signing_in(shop: Shop) -> None:
    token = await shop.world.mint("writer")
    await shop.world.revoke(token)
    for client in (shop.holder(token), shop.holder("phu_nonsense"), shop.basic("x", "y")):
        assert (await couch(client)).status_code == 201
        assert (await client.post("/npm/-/v1/login", json={})).status_code == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "truncated"),
        (b"[]", "object"),
        (b"{}", "name"),
        (b'{"name": "writer"}', "password"),
        (b'{"name": "reader", "password": "x"}', "another user"),
        (b'{"name": "writer", "password": 7}', "str"),
        (b'{"name": "wri\\u0000ter", "password": "x"}', "NUL"),
        (b'{"name": "writer", "password": "\xff"}', "not what is expected"),
        (b"[" * 20000, "not what is expected"),
    ],
)
async def test_a_body_that_is_none_is_refused(shop: Shop, body: bytes, word: str) -> None:
    told(await shop.person().put(USER.format("writer"), content=body), 400, word)


async def test_a_body_is_capped(shop: Shop) -> None:
    told(await couch(shop.person(), password="x" * 70_000), 413)


@pytest.mark.parametrize("name", ["%00", "a%2fb", "a%0ab", "é", "x" * 300, "..", "a;b"])
async def test_hostile_names_sign_nobody_in(shop: Shop, name: str) -> None:
    body = json.dumps({"name": name, "password": PASSWORD}).encode()
    for path in (USER.format(name), USER.format(name.replace("%", "%25"))):
        response = await shop.person().raw("PUT", path.encode().decode("latin-1"), content=body)
        assert response.status_code in (400, 401, 404), response.text


async def test_a_disabled_account_signs_in_no_more(shop: Shop) -> None:
    await shop.world.services.accounts.set_enabled(OPERATOR, "writer", enabled=False)
    told(await couch(shop.person()), 401, "disabled: ask an administrator")


async def test_guessing_ends_and_is_counted_with_that_at_the_other_doors(world: World) -> None:
    await world.reconfigure(wrong_passwords=20)
    app = application(world.services, Counts.alone())
    for number in range(2):
        response = await couch(Client(app), "writer", f"a guess, {number}")
        assert response.status_code == 401
    told(await couch(Client(app), "writer", PASSWORD), 429, "2 wrong passwords")
    response = await Client(app, basic("writer", PASSWORD)).get("/token")
    assert response.status_code == 429
    assert (await couch(Client(app), "reader", PASSWORD)).status_code == 201


async def test_sign_ins_are_counted(world: World) -> None:
    await world.reconfigure(tokens_per_minute=2)
    app = application(world.services, Counts.alone())
    assert (await couch(Client(app))).status_code == 201
    assert (await Client(app, basic("writer", PASSWORD)).get("/token")).status_code == 200
    told(await couch(Client(app)), 429, "sign-ins a minute")
    rows = await world.rows("select id from tokens where name like 'npm login%'")
    assert len(rows) == 1


async def test_a_login_in_a_browser_gives_a_token_once(shop: Shop) -> None:
    response = await shop.person().post("/npm/-/v1/login", json={})
    begun = response.json()
    assert begun["loginUrl"].startswith("http://registry.test/-/ui/confirm?login=")
    waiting = await shop.person().get(begun["doneUrl"])
    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "2")
    person = await Person(shop.app).signed_in("writer")
    page = begun["loginUrl"].removeprefix("http://registry.test")
    form = await person.form(page, "/-/ui/confirm", 1)
    assert (await person.post(form.action, form.fields)).status_code == 200
    done = await shop.person().get(begun["doneUrl"])
    token = done.json()["token"]
    assert (await scopes_of(shop.world, token))[0] == Scope.READ | Scope.WRITE
    assert (await shop.person().get(begun["doneUrl"])).status_code == 410


async def test_a_login_below_auth_has_the_same_pages(shop: Shop) -> None:
    response = await shop.person().post("/auth/npm/-/v1/login", json={"hostname": "laptop"})
    assert response.json()["loginUrl"].startswith("http://registry.test/-/ui/confirm?login=")


async def test_a_browser_makes_no_accounts(shop: Shop) -> None:
    response = await shop.person().post("/npm/-/v1/login", json={"create": True})
    told(response, 403, "packhouse user create")
    assert await shop.world.rows("select id from web_logins") == []


async def test_logins_that_are_begun_are_counted_by_address(world: World) -> None:
    app = application(world.services, Counts.alone())
    for _ in range(3000):  # one is paid off every two seconds
        response = await Client(app).post("/npm/-/v1/login")
        if response.status_code != 200:
            break
    told(response, 429, "300 sign-ins begun")
    assert (await Client(app).post("/-/ui/logins")).status_code == 429


async def test_logging_out_ends_the_token(shop: Shop) -> None:
    token = await shop.world.mint("writer", Scope.READ)
    client = shop.holder(token)
    assert (await client.delete(f"/npm/-/user/token/{token}")).status_code == 200
    told(await client.get("/npm/-/whoami"), 401, "revoked")


async def test_only_ones_own_token_is_ended(shop: Shop) -> None:
    other = await shop.world.mint("reader")
    unknown = other[:-1] + ("a" if other[-1] != "a" else "b")
    said = {
        told(await shop.person("writer").delete(f"/npm/-/user/token/{text}"), 404)
        for text in (other, unknown, "phu_", "x" * 500, "npm_abc")
    }
    assert said == {"you have no such token"}
    assert (await shop.holder(other).get("/npm/-/whoami")).status_code == 200
    told(await shop.person().delete(f"/npm/-/user/token/{other}"), 401)


async def test_a_token_that_is_ended_is_in_no_line(
    shop: Shop, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="packhouse.request")
    token = await shop.world.mint("writer")
    await shop.person("writer").delete(f"/npm/-/user/token/{token}")
    await shop.person("reader").delete(f"/npm/-/npm/v1/tokens/token/{token}")
    await couch(shop.person())
    lines = capsys.readouterr().err
    assert lines.count("/token/{token}") == 2
    assert token[4:] not in lines
    assert PASSWORD not in lines
    audit = await shop.world.rows("select kind, subject, detail from audit")
    assert token[4:] not in str([dict(row) for row in audit])


async def test_the_audit_knows_who_signed_in_and_who_was_refused(shop: Shop) -> None:
    await couch(shop.person())
    await couch(shop.person(), password="not my password")
    await shop.publish("@acme/pad")
    body = {"access": "public"}
    await shop.person("stranger").post("/npm/-/package/@acme%2fpad/access", json=body)
    await shop.person().get("/npm/-/package/@acme%2fpad/visibility")
    await shop.world.services.audit.flush()
    rows = await shop.world.rows(
        "select x.kind, x.result, a.name, x.subject, o.name as owner from audit x "
        "left join accounts a on a.id = x.account_id left join accounts o on o.id = x.owner_id "
        "where x.result <> 'done' or x.kind = 'sign-in' order by x.kind, x.result, a.name"
    )
    found = {
        tuple(row[key] for key in ("kind", "result", "name", "subject", "owner")) for row in rows
    }
    assert found == {
        ("sign-in", "done", "writer", "", "writer"),
        ("sign-in", "failed", "writer", "", "writer"),
        ("push", "denied", "stranger", "acme/npm/pad", "acme"),
        ("pull", "not signed in", None, "", "acme"),
    }
