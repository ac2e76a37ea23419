"""`/token`: who signs in gets a bearer for what they may do of what they asked, GET form."""

import base64
import json
from typing import Any

import httpx
import pytest

from auth.audit import OPERATOR
from auth.principals import Scope
from registry.startup import FIRST_LOGIN
from storage.clock import SECOND, now
from tests.registry.client import BASE, Challenge, Client, basic, refused
from tests.registry.world import PASSWORD, World


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


async def granted(client: Client, *scopes: str) -> dict[str, list[str]]:
    """Ask for scopes; return what was given, by resource."""
    access = claims(await client.token(*scopes))["access"]
    return {f"{entry['type']}:{entry['name']}": entry["actions"] for entry in access}


async def test_a_password_opens_the_door(world: World) -> None:
    response = await world.signed_in("writer").get("/token?service=packhouse&account=writer")
    answer = response.json()
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] == 300
    assert answer["issued_at"] == "2023-11-14T22:13:20Z"
    assert response.headers["cache-control"] == "no-store"
    found = claims(answer["token"])
    assert (found["iss"], found["aud"], found["sub"]) == ("packhouse", "packhouse", "writer")
    assert found["exp"] - found["iat"] == 300
    assert found["access"] == []


async def test_a_bearer_follows_the_challenge(world: World, writer: Client) -> None:
    """What every client does: ask, read the challenge, sign in there, ask again."""
    pushed = await writer.push_image("acme/app", "v1")
    asked = await world.client("").get("/v2/acme/app/manifests/v1")
    challenge = Challenge.of(asked)
    assert challenge.scope == "repository:acme/app:pull"
    assert challenge.realm.startswith(BASE)
    client = await world.signed_in("reader").bearer(challenge.scope)
    assert (await client.get("/v2/acme/app/manifests/v1")).content == pushed.data


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/acme/app/manifests/v1", "repository:acme/app:pull"),
        ("HEAD", "/v2/acme/app/manifests/v1", "repository:acme/app:pull"),
        ("PUT", "/v2/acme/app/manifests/v1", "repository:acme/app:pull,push"),
        ("DELETE", "/v2/acme/app/manifests/v1", "repository:acme/app:pull,delete"),
        ("POST", "/v2/acme/app/blobs/uploads/", "repository:acme/app:pull,push"),
        ("GET", "/v2/acme/a/b/tags/list", "repository:acme/a/b:pull"),
        (
            "POST",
            f"/v2/acme/app/blobs/uploads/?mount=sha256:{'0' * 64}&from=acme/base",
            "repository:acme/app:pull,push repository:acme/base:pull",
        ),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ],
)
async def test_the_challenge_names_the_scope(
    world: World, method: str, path: str, scope: str
) -> None:
    client = await world.signed_in("writer").bearer()
    response = await client.request(method, path)
    assert response.status_code == 401
    assert Challenge.of(response).scope == scope
    assert response.headers["cache-control"] == "no-store"


async def test_fewer_rights_than_asked_are_no_error(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    asked = "repository:acme/app:pull,push,delete"
    resource = "repository:acme/app"
    assert await granted(writer, asked) == {resource: ["delete", "pull", "push"]}
    assert await granted(world.client("reader"), asked) == {resource: ["pull"]}
    assert await granted(world.client("stranger"), asked) == {resource: []}
    assert await granted(world.client(""), asked) == {resource: []}
    await world.publish("acme/app")
    assert await granted(world.client("stranger"), asked) == {resource: ["pull"]}
    assert await granted(world.client(""), asked) == {resource: ["pull"]}
    everything = await granted(world.client("owner"), "repository:acme/app:*")
    assert everything == {resource: ["*", "delete", "pull", "push"]}


async def test_a_tokens_scopes_bound_its_bearers(world: World) -> None:
    text = await world.mint("writer", Scope.READ | Scope.WRITE)
    client = world.client("").with_authorization(basic("writer", text))
    asked = "repository:acme/app:pull,push,delete"
    assert await granted(client, asked) == {"repository:acme/app": ["pull", "push"]}


async def test_scopes_come_in_every_spelling(writer: Client) -> None:
    spelled = await granted(
        writer,
        "repository:acme/a:pull repository:acme/b:push",
        "repository(image):acme/c:pull",
        "repository:acme/a:push,,frobnicate",
        "registry:catalog:*",
        "registry:catalog:read",
        "nonsense",
        ":::",
        "",
        "plugin:acme/a:install",
    )
    assert spelled == {
        "repository:acme/a": ["pull", "push"],
        "repository:acme/b": ["push"],
        "repository:acme/c": ["pull"],
        "registry:catalog": ["*"],
    }


async def test_names_that_cannot_be_get_nothing(writer: Client) -> None:
    for name in ("alpine", "acme/App", "registry.test:5000/acme/app", "nobody/app", "../x", "a\0b"):
        resource = f"repository:{name}"
        assert await granted(writer, f"{resource}:pull,push") == {resource: []}


async def test_wrong_credentials_are_refused_alike(world: World) -> None:
    good = world.tokens["writer"]
    pairs = [
        ("writer", "wrong password"),
        ("nobody", PASSWORD),
        ("acme", PASSWORD),
        ("writer\0", PASSWORD),
        ("", ""),
        ("writer", good[:-1] + ("x" if good[-1] != "x" else "y")),
        ("writer", "phu_" + "0" * 36),
    ]
    messages = set()
    for name, secret in pairs:
        response = await Client(world, basic(name, secret)).get("/token")
        messages.add(refused(response, 401, "UNAUTHORIZED")["message"])
        assert response.headers["www-authenticate"] == 'Basic realm="packhouse"'
    assert messages == {"wrong user name, password or token"}


async def test_headers_that_cannot_be_read_are_refused(world: World) -> None:
    for header in (
        *("Basic", "Basic !!!", "Basic " + base64.b64encode(b"no-colon").decode()),
        *("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Digest username=x", "Bearer"),
        *("Bearer x", "Bearer a.b.c", "Negotiate abc", "x" * 70_000, "Bearer " + "x" * 30_000),
    ):
        for path in ("/token", "/v2/"):
            response = await Client(world, header).get(path)
            refused(response, 401, "UNAUTHORIZED")


async def test_a_user_name_is_folded(world: World) -> None:
    assert (await Client(world, basic("Writer", PASSWORD)).get("/token")).status_code == 200


async def test_a_token_works_under_any_user_name_and_scheme(world: World) -> None:
    text = world.tokens["writer"]
    for header in (basic("whoever", text), f"Bearer {text}", f"bearer {text}", text):
        client = Client(world, header)
        assert claims(await client.token())["sub"] == "writer"
        assert (await client.get("/v2/")).status_code == 200


async def test_a_token_is_an_api_key(world: World, anonymous: Client) -> None:
    key = {"X-NuGet-ApiKey": f" {world.tokens['writer']} "}
    assert claims((await anonymous.get("/token", headers=key)).json()["token"])["sub"] == "writer"
    assert (await anonymous.get("/v2/", headers=key)).status_code == 200
    reader = world.client("reader")
    assert claims((await reader.get("/token", headers=key)).json()["token"])["sub"] == "reader"
    for wrong in ("", "wrong", PASSWORD, world.tokens["writer"][:-1] + "_"):
        response = await anonymous.get("/v2/", headers={"X-NuGet-ApiKey": wrong})
        refused(response, 401, "UNAUTHORIZED", "wrong user name, password or token")


async def test_a_password_opens_nothing_but_the_door(world: World) -> None:
    response = await world.signed_in("writer").get("/v2/")
    refused(response, 401, "UNAUTHORIZED", "/token only")
    assert Challenge.of(response).realm == f"{BASE}/token"


async def test_a_bearer_does_not_make_another(world: World) -> None:
    client = await world.signed_in("writer").bearer("repository:acme/app:pull")
    refused(await client.get("/token"), 401, "UNAUTHORIZED", "not with a bearer")


async def test_who_is_no_longer_welcome_gets_none(world: World) -> None:
    revoked, expiring = await world.mint("writer"), await world.mint("writer", expires_in=60)
    await world.revoke(revoked)
    world.clock.advance(60)
    for text, word in ((revoked, "revoked"), (expiring, "expired")):
        response = await Client(world, basic("writer", text)).get("/token")
        refused(response, 401, "UNAUTHORIZED", word)
    await world.services.accounts.set_enabled(OPERATOR, "writer", enabled=False)
    for client in (world.signed_in("writer"), world.client("writer")):
        refused(await client.get("/token"), 401, "UNAUTHORIZED", "disabled")


async def test_too_many_scopes_are_refused(writer: Client) -> None:
    scopes = [f"repository:acme/{number}:pull" for number in range(101)]
    assert len(await granted(writer, *scopes[:100])) == 100
    response = await writer.get("/token", params={"scope": scopes})
    refused(response, 400, "UNSUPPORTED", "at most 100")


async def test_the_realm_is_this_requests_host_or_the_configured_one(world: World) -> None:
    headers = {"Host": "packages.example:8443"}
    response = await world.client("").get("/v2/", headers=headers)
    assert Challenge.of(response).realm == "http://packages.example:8443/token"
    await world.reconfigure(public_url="https://packages.example.com")
    response = await world.client("").get("/v2/", headers=headers)
    assert Challenge.of(response).realm == "https://packages.example.com/token"


async def test_the_first_password_is_forgotten_when_it_was_used(world: World) -> None:
    file = world.config.directory / FIRST_LOGIN
    file.write_text(PASSWORD)
    await world.signed_in("writer").token()
    await world.client("admin").token()
    assert file.exists()
    await world.signed_in("admin").token()
    assert not file.exists()


async def test_a_bearer_is_good_for_its_time(world: World) -> None:
    client = await world.signed_in("writer").bearer("repository:acme/app:pull")
    world.clock.advance(299)
    assert (await client.get("/v2/acme/app/tags/list")).status_code == 200
    world.clock.advance(1)
    response = await client.get("/v2/acme/app/tags/list")
    refused(response, 401, "UNAUTHORIZED", "expired")
    assert Challenge.of(response).scope == "repository:acme/app:pull"


async def test_a_replica_whose_clock_is_ahead_signs_bearers_too(world: World) -> None:
    """Replicas disagree by seconds, and no client should notice."""
    world.clock.at = now() + 5 * SECOND
    bearer = await world.signed_in("writer").bearer()
    assert (await bearer.get("/v2/")).status_code == 200


async def test_every_worker_takes_a_bearer(world: World) -> None:
    authorization = (await world.signed_in("writer").bearer()).authorization
    async with world.another_worker() as other:
        response: httpx.Response = await Client(other, authorization).get("/v2/")
        assert response.status_code == 200
