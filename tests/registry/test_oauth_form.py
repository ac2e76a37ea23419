"""`/token` as the OAuth2 form: passwords, tokens, and refresh tokens that rotate."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from auth.audit import OPERATOR
from auth.oauth import MAX_FORM_BYTES
from auth.principals import Scope
from auth.refresh_tokens import GRACE_SECONDS, REFRESH_SECONDS
from registry.gc import LEASE
from registry.sign_in_expiry import KEPT_SECONDS
from tests.registry.client import Client, basic, refused
from tests.registry.test_token import claims
from tests.registry.world import PASSWORD, World

PULL = "repository:acme/app:pull"


async def post(world: World, **form: str | list[str]) -> httpx.Response:
    return await world.client("").post("/token", data={"service": "packhouse", **form})


async def sign_in(world: World, name: str = "writer", secret: str = PASSWORD) -> dict[str, Any]:
    """Sign in for a refresh token."""
    answer = await post(
        world, grant_type="password", username=name, password=secret, access_type="offline"
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refresh(world: World, text: str, scope: str = PULL) -> httpx.Response:
    return await post(world, grant_type="refresh_token", refresh_token=text, scope=scope)


def invalid(response: httpx.Response, status: int, code: str, *words: str) -> None:
    """Check a refusal in OAuth2's dialect."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error", "error_description"}
    assert response.json()["error"] == code
    assert response.headers["cache-control"] == "no-store"
    for word in words:
        assert word in response.json()["error_description"]


def bearer(world: World, answer: httpx.Response) -> Client:
    assert answer.status_code == 200, answer.text
    return Client(world, f"Bearer {answer.json()['access_token']}")


async def test_a_password_gets_a_bearer_of_its_scopes(world: World) -> None:
    image = await world.client().push_image("acme/app", "v1")
    scopes = f"{PULL},push repository:acme/nothing:*"
    answer = await post(
        world, grant_type="password", username="reader", password=PASSWORD, scope=scopes
    )
    found = answer.json()
    assert set(found) == {"access_token", "expires_in", "issued_at", "scope", "token_type"}
    assert found["scope"] == "repository:acme/app:pull repository:acme/nothing:pull"
    assert (found["token_type"], found["expires_in"]) == ("Bearer", 300)
    assert answer.headers["cache-control"] == "no-store"
    assert claims(found["access_token"])["sub"] == "reader"
    got = await bearer(world, answer).get("/v2/acme/app/manifests/v1")
    assert got.content == image.data


async def test_a_sign_in_that_ended_long_ago_is_forgotten(world: World) -> None:
    used, unused = await sign_in(world), await sign_in(world, "reader")
    world.clock.advance(REFRESH_SECONDS - 3600)
    following = (await refresh(world, used["refresh_token"])).json()["refresh_token"]
    world.clock.advance(KEPT_SECONDS + 7200)
    assert (await collected(world))["sign-ins"] == 1
    invalid(await refresh(world, unused["refresh_token"]), 401, "invalid_grant", "not known")
    assert (await refresh(world, following)).status_code == 200
    world.clock.advance(REFRESH_SECONDS + KEPT_SECONDS + 1)
    assert (await collected(world))["sign-ins"] == 1
    invalid(await refresh(world, following), 401, "invalid_grant", "not known")


async def collected(world: World) -> Counter[str]:
    """Let a round of garbage collection go by; return what it removed."""
    term = await world.services.leases.acquire(LEASE, 60)
    assert term is not None
    removed = (await world.services.collector.round(term)).removed
    await term.release()
    return removed


async def test_a_token_is_as_good_as_a_password(world: World) -> None:
    text = await world.mint("writer", Scope.READ)
    answer = await post(
        world, grant_type="password", username="any", password=text, scope=f"{PULL},push"
    )
    assert answer.json()["scope"] == PULL


async def test_what_is_wrong_is_said_as_oauth2_says_it(world: World) -> None:
    good = {"grant_type": "password", "username": "writer", "password": PASSWORD}
    wrong = "wrong user name, password or token"
    for change in ({"password": "wrong"}, {"username": "nobody"}, {"password": "phu_" + "0" * 36}):
        invalid(await post(world, **(good | change)), 401, "invalid_grant", wrong)
    for text in ("", "x", "phf_" + "0" * 36, world.tokens["writer"], "\0", "é" * 40):
        invalid(await refresh(world, text), 401, "invalid_grant")
    for kind in ("", "client_credentials"):
        invalid(await post(world, **(good | {"grant_type": kind})), 400, "unsupported_grant_type")
    doubled = await post(world, **good | {"username": ["writer", "admin"]})
    invalid(doubled, 400, "invalid_request", "2 times")
    many = [f"repository:acme/{number}:pull" for number in range(101)]
    invalid(await post(world, **good, scope=many), 400, "invalid_request", "at most 100")
    await world.services.accounts.set_enabled(OPERATOR, "writer", enabled=False)
    invalid(await post(world, **good), 401, "invalid_grant", "disabled")


async def test_a_form_that_is_none_is_refused(world: World) -> None:
    client = world.client("")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, headers, status in (
        (b"grant_type=password", {"Content-Type": "application/json"}, 400),
        (b"grant_type=password", {}, 400),
        (b"username=%ff&grant_type=password", form, 400),
        (b"\xff\xfe", form, 400),
        (b"&".join(b"a=b" for _ in range(300)), form, 400),
        (b"a=" + b"b" * MAX_FORM_BYTES, form, 413),
    ):
        answer = await client.post("/token", content=body, headers=headers)
        invalid(answer, status, "invalid_request")


async def test_the_limit_of_guesses_holds_at_the_form_too(world: World) -> None:
    await world.reconfigure(wrong_passwords=20)
    guess = {"grant_type": "password", "username": "writer", "password": "wrong"}
    for _ in range(2):
        invalid(await post(world, **guess), 401, "invalid_grant")
    refusal = await post(world, **guess)
    invalid(refusal, 429, "temporarily_unavailable", "wrong passwords")
    assert int(refusal.headers["retry-after"]) > 0
    refused(await Client(world, basic("writer", "x")).get("/token"), 429, "TOOMANYREQUESTS")


async def test_a_refresh_token_changes_with_each_use(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    text = (await sign_in(world))["refresh_token"]
    for _ in range(3):
        assert text.startswith("phf_")
        answer = await refresh(world, text)
        assert (await bearer(world, answer).get("/v2/acme/app/manifests/v1")).status_code == 200
        assert answer.json()["refresh_token"] != text
        text = answer.json()["refresh_token"]
        world.clock.advance(REFRESH_SECONDS - 1)
    world.clock.advance(1)
    invalid(await refresh(world, text), 401, "invalid_grant", "expired")


async def test_a_refresh_token_opens_nothing_but_the_form(world: World) -> None:
    text = (await sign_in(world))["refresh_token"]
    for header in (basic("writer", text), f"Bearer {text}", text):
        for path in ("/token", "/v2/"):
            refused(await Client(world, header).get(path), 401, "UNAUTHORIZED")


async def test_a_text_that_was_used_before_ends_the_sign_in(world: World) -> None:
    stolen = (await sign_in(world))["refresh_token"]
    answer = await refresh(world, stolen)
    latest, client = answer.json()["refresh_token"], bearer(world, answer)
    world.clock.advance(GRACE_SECONDS)
    again = await refresh(world, stolen)  # the answer was lost, or requests crossed
    assert "refresh_token" not in again.json()
    assert (await bearer(world, again).get("/v2/")).status_code == 200
    world.clock.advance(1)
    invalid(await refresh(world, stolen), 401, "invalid_grant", "used before")
    invalid(await refresh(world, latest), 401, "invalid_grant", "revoked")
    refused(await client.get("/v2/"), 401, "UNAUTHORIZED", "revoked")


async def test_those_who_refresh_at_once_all_get_a_bearer_and_one_the_next_text(
    world: World,
) -> None:
    text = (await sign_in(world))["refresh_token"]
    async with world.another_worker() as other:
        answers = await asyncio.gather(*(refresh(one, text) for one in (world, other) * 5))
    assert [answer.status_code for answer in answers] == [200] * 10
    following = [it for answer in answers if (it := answer.json().get("refresh_token"))]
    assert len(following) == 1
    assert (await refresh(world, following[0])).status_code == 200


@pytest.mark.parametrize("how", ["parent", "itself", "password", "account", "parent's end"])
async def test_a_refresh_token_ends_with_what_it_came_from(world: World, how: str) -> None:
    await world.client().push_image("acme/app", "v1")
    parent = await world.mint("writer", expires_in=3600)
    text = (await sign_in(world, secret=PASSWORD if how == "password" else parent))["refresh_token"]
    answer = await refresh(world, text)
    text, client = answer.json()["refresh_token"], bearer(world, answer)
    assert (await client.get("/v2/")).status_code == 200
    if how == "parent":
        await world.revoke(parent)
    elif how == "itself":
        (row,) = await world.rows("select id from tokens where kind = 'refresh'")
        await world.services.tokens.revoke(OPERATOR, row["id"])
    elif how == "password":
        await world.services.accounts.set_password(OPERATOR, "writer", "another long password")
    elif how == "account":
        await world.services.accounts.set_enabled(OPERATOR, "writer", enabled=False)
    else:
        world.clock.advance(3600)
    invalid(await refresh(world, text), 401, "invalid_grant")
    refused(await client.get("/v2/"), 401, "UNAUTHORIZED")


async def test_a_refresh_token_may_do_what_its_parent_may(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    await world.client().push_image("acme/other", "v1")
    package = (await world.services.packages.get("acme/app"))["id"]
    account = await world.services.accounts.get("writer")
    parent = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.READ, None, limits=[(3, package)]
    )
    text = (await sign_in(world, secret=parent.text))["refresh_token"]
    scope = f"{PULL},push repository:acme/other:pull"
    assert (await refresh(world, text, scope)).json()["scope"] == PULL


async def test_a_login_that_asks_for_it_keeps_one_refresh_token(world: World) -> None:
    """docker login stores it in place of the password, and cannot store another one later."""
    query = "/token?service=packhouse&client_id=docker&offline_token=true"
    text = (await world.signed_in("writer").get(query)).json()["refresh_token"]
    for _ in range(3):
        answer = await refresh(world, text)
        assert "refresh_token" not in answer.json()
        assert (await bearer(world, answer).get("/v2/")).status_code == 200
        world.clock.advance(REFRESH_SECONDS - 1)
    assert "refresh_token" not in (await world.client("writer").get(query)).json()
    assert "refresh_token" not in (await world.client("").get(query)).json()
    assert "refresh_token" not in (await world.signed_in("writer").get("/token")).json()
    rows = await world.services.tokens.list("writer")
    assert [row["name"] for row in rows if row["kind"] == "refresh"] == ["docker"]
