"""npm token and npm profile."""

from typing import Any

import httpx
import pytest

from auth.accounts import OWNER
from auth.audit import OPERATOR
from auth.principals import Scope
from storage.clock import SECOND
from tests.formats.npm.shop import Shop, told
from tests.registry.client import Client
from tests.registry.world import PASSWORD, World

TOKENS = "/npm/-/npm/v1/tokens"
PROFILE = "/npm/-/npm/v1/user"


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


async def create(client: Client, password: str = PASSWORD, **wanted: Any) -> httpx.Response:
    """Make a token as npm does."""
    return await client.post(TOKENS, json={"name": "ci", "password": password, **wanted})


async def row_of(world: World, token: str) -> dict[str, Any]:
    who = await world.services.tokens.find(token)
    assert who is not None
    (row,) = await world.rows(f"select * from tokens where id = {who.token_id}")
    return dict(row)


async def test_a_password_makes_a_token(shop: Shop) -> None:
    response = await create(shop.person("writer"), expires=30)
    assert response.status_code == 201
    made = response.json()
    assert set(made) == {
        *("key", "token", "name", "created", "updated", "expires", "readonly", "cidr_whitelist")
    }
    row = await row_of(shop.world, made["token"])
    assert made["key"] == f"{row['id']}-"
    assert (row["name"], row["parent_id"]) == ("ci", None)
    assert row["scopes"] == Scope.READ | Scope.WRITE
    assert row["expires_at"] == shop.world.clock.at + 30 * 86400 * SECOND
    whoami = await shop.holder(made["token"]).get("/npm/-/whoami")
    assert whoami.json() == {"username": "writer"}


async def test_older_clients_make_one_without_a_name(shop: Shop) -> None:
    body = {"password": PASSWORD, "readonly": True, "cidr_whitelist": []}
    response = await shop.person("writer").post(TOKENS, json=body)
    assert response.status_code == 201
    row = await row_of(shop.world, response.json()["token"])
    assert (row["name"], row["scopes"], row["expires_at"]) == ("npm token", Scope.READ, None)


async def test_a_wrong_password_makes_none_and_is_counted(shop: Shop) -> None:
    told(await create(shop.person("writer"), "not my password"), 401)
    told(await create(shop.person()), 401)
    told(await create(shop.basic("writer", PASSWORD)), 401)
    rows = await shop.world.rows("select id from tokens where name = 'ci'")
    assert rows == []


async def test_tokens_that_are_made_count_as_sign_ins(world: World) -> None:
    await world.reconfigure(tokens_per_minute=2)
    shop = Shop(world)
    assert (await create(shop.person("writer"))).status_code == 201
    assert (await create(shop.person("writer"))).status_code == 201
    told(await create(shop.person("writer")), 429, "sign-ins a minute")
    rows = await world.rows("select id from tokens where name = 'ci'")
    assert len(rows) == 2


async def test_a_token_is_limited_to_packages_and_scopes(shop: Shop) -> None:
    await shop.publish("@acme/pad")
    await shop.publish("@acme/other")
    response = await create(
        shop.person("writer"), packages=["@acme/pad"], packages_and_scopes_permission="read-only"
    )
    assert response.status_code == 201
    holder = shop.holder(response.json()["token"])
    assert (await holder.get("/npm/-/package/@acme%2fpad/visibility")).status_code == 200
    told(await holder.get("/npm/-/package/@acme%2fother/visibility"), 404)
    response = await create(shop.person("writer"), scopes=["@acme"])
    holder = shop.holder(response.json()["token"])
    assert (await holder.get("/npm/-/package/@acme%2fother/visibility")).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "status", "word"),
    [
        ({"cidr_whitelist": ["10.0.0.0/8"]}, 400, "addresses"),
        ({"orgs": ["acme"]}, 400, "organization"),
        ({"orgs_permission": "read-write"}, 400, "organization"),
        ({"packages_and_scopes_permission": "no-access"}, 400, "read-only"),
        ({"packages_all": True, "scopes": ["@acme"]}, 400, "not both"),
        ({"packages": ["pad"]}, 400, "scoped"),
        ({"packages": ["@acme/unknown"]}, 404, "acme/npm/unknown"),
        ({"packages": ["@acme/a\x00b"]}, 400, "NUL"),
        ({"scopes": ["@nobody"]}, 404, "nobody"),
        ({"scopes": ["@acme"] * 101}, 400, "100"),
        ({"expires": 0}, 400, "expires"),
        ({"expires": 10**30}, 400, "expires"),
        ({"expires": "soon"}, 400, "expires"),
        ({"name": "x" * 101}, 400, "name"),
        ({"name": "a\nb"}, 400, "printable"),
        ({"narrowed_by_something_new": True}, 400, "narrowed_by_something_new"),
    ],
)
async def test_what_no_token_here_can_be_is_refused(
    shop: Shop, wanted: dict[str, Any], status: int, word: str
) -> None:
    told(await create(shop.person("writer"), **wanted), status, word)
    assert await shop.world.rows("select id from tokens where name <> ''") == []


async def test_no_token_makes_one_that_can_do_more(shop: Shop) -> None:
    reading = await shop.world.mint("writer", Scope.READ)
    told(await create(shop.holder(reading)), 403, "lacks the scope 'write'")
    assert (await create(shop.holder(reading), readonly=True)).status_code == 201
    account = await shop.world.services.accounts.get("writer")
    acme = await shop.world.services.accounts.get("acme")
    limited = await shop.world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits=[(OWNER, acme.id)]
    )
    told(await create(shop.holder(limited.text)), 403, "this token is limited")
    told(await shop.holder(limited.text).get(TOKENS), 403, "this token has limits")


async def test_tokens_are_listed_in_pages_without_their_texts(shop: Shop) -> None:
    client, texts = shop.person("writer"), [shop.world.tokens["writer"]]
    for _ in range(101):
        texts.append(await shop.world.mint("writer"))
    await shop.world.mint("reader")
    revoked = texts.pop()
    await shop.world.revoke(revoked)
    found, url = [], TOKENS
    while url:
        page = (await client.get(url)).json()
        found += page["objects"]
        url = page["urls"].get("next")
    assert len(found) == len(texts) == 101
    assert len({each["key"] for each in found}) == 101
    assert all(each["key"][-1] == "-" and each["key"][:-1].isdigit() for each in found)
    assert all(each["token"] == "phu_" and each["readonly"] is False for each in found)
    assert all(text[4:] not in str(found) for text in texts)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "%00", "9" * 400, "²"])
async def test_a_page_begins_after_a_number(shop: Shop, after: str) -> None:
    response = await shop.person("writer").get(f"{TOKENS}?after={after}")
    assert response.status_code in (200, 400)
    assert response.status_code == 400 or response.json()["objects"] == []


async def test_a_token_is_ended_by_its_key_or_by_itself(shop: Shop) -> None:
    client = shop.person("writer")
    for by_text in (False, True):
        text = (await create(client)).json()
        ended = text["token"] if by_text else text["key"]
        assert (await client.delete(f"{TOKENS}/token/{ended}")).status_code == 200
        told(await shop.holder(text["token"]).get("/npm/-/whoami"), 401, "revoked")
        told(await client.delete(f"{TOKENS}/token/{ended}"), 404)


async def test_nobody_ends_what_is_anothers(shop: Shop) -> None:
    token = (await create(shop.person("reader"))).json()
    client = shop.person("writer")
    told(await client.delete(f"{TOKENS}/token/{token['key']}"), 403, "not yours")
    told(await client.delete(f"{TOKENS}/token/{token['token']}"), 404)
    told(await client.delete(f"{TOKENS}/token/999999999999-"), 403, "not yours")
    for text in ("0-", "x", "1²", "phu_x", "9" * 19, "1--"):
        told(await client.delete(f"{TOKENS}/token/{text}"), 404)
    assert (await shop.holder(token["token"]).get("/npm/-/whoami")).status_code == 200


async def test_tokens_are_seen_and_ended_with_the_scope_for_it_alone(shop: Shop) -> None:
    holder = shop.holder(await shop.world.mint("writer", Scope.READ | Scope.WRITE))
    told(await holder.get(TOKENS), 403, "lacks the scope 'admin'")
    told(await holder.delete(f"{TOKENS}/token/1-"), 403, "lacks the scope 'admin'")
    told(await shop.person().get(TOKENS), 401)


async def test_a_profile_has_every_field_that_npm_prints(shop: Shop) -> None:
    profile = (await shop.person("writer").get(PROFILE)).json()
    assert profile["name"] == "writer"
    assert profile["tfa"] is False
    assert profile["created"] == "2023-11-14T22:13:20Z"
    assert profile.keys() >= {"email", "email_verified", "fullname", "twitter", "github"}
    told(await shop.person().get(PROFILE), 401)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            {"password": {"old": PASSWORD, "new": "something else"}},
            "packhouse user password writer",
        ),
        ({"tfa": {"mode": "auth-only", "password": PASSWORD}}, "no second factor"),
        ({"email": "a@example.org"}, "no profile"),
        ({}, "no profile"),
    ],
)
async def test_a_profile_is_changed_elsewhere(
    shop: Shop, change: dict[str, Any], word: str
) -> None:
    response = await shop.person("writer").post(PROFILE, json=change)
    told(response, 405, word)
    assert response.headers["allow"] == "GET, HEAD"
    assert (await shop.basic("writer", PASSWORD).get("/token")).status_code == 200
