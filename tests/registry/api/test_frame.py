"""What holds for every operation of /api/v1."""

import pytest

from auth.principals import Scope
from registry.app import build_api, build_surface
from registry.rest.needs import Need, On, open_because
from registry.rest.surface import RestSurface
from tests.registry.api.asking import problem
from tests.registry.client import Client
from tests.registry.test_routes import parts
from tests.registry.world import World

V1 = "/api/v1"


async def test_a_path_has_one_spelling_and_tells_its_methods(world: World, writer: Client) -> None:
    for path in (f"{V1}/user/", f"{V1}//user", f"{V1}/nothing", "/api/v2/user", "/api/"):
        response = await writer.raw("GET", path)
        assert response.status_code in (400, 404), path
        problem(response, response.status_code, response.json()["code"])
    refused = await writer.raw("DELETE", f"{V1}/user")
    problem(refused, 405, "not-allowed", "GET, HEAD")
    assert refused.headers["allow"] == "GET, HEAD"
    inside = await writer.raw("GET", f"{V1}/organizations/acme%2Fmembers")
    problem(inside, 400, "invalid", "{owner}")


@pytest.mark.parametrize(
    "path",
    [
        "owners/a_b",
        "owners/-",
        "projects/acme/x.git",
        "projects/acme/%C3%A9",
        "packages/acme/App",
        "packages/acme/a%2F%2Fb",
        "packages/acme/app/tags/.x",
        "packages/acme/app/versions/sha256:x",
        "organizations/acme/teams/a%20b",
    ],
)
async def test_parameters_of_paths_are_spelled_as_names_are(world: World, path: str) -> None:
    for client in (world.client(""), world.client("admin")):
        refused = await client.raw("GET", f"{V1}/{path}")
        problem(refused, 400, "invalid")


async def test_a_head_is_a_get_without_its_body(world: World) -> None:
    async with world.served() as served:
        client = Client(None, world.client().authorization, served.url)
        async with client.http:
            get, head = await client.get(f"{V1}/user"), await client.head(f"{V1}/user")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_who_is_calling_and_by_which_token(world: World) -> None:
    caller = (await world.client("admin").get(f"{V1}/user")).json()
    assert (caller["name"], caller["admin"]) == ("admin", True)
    assert caller["token"]["scopes"] == ["read", "write", "delete", "admin"]
    assert caller["token"]["limited"] is False
    problem(await world.client("").get(f"{V1}/user"), 401, "not-signed-in", "sign in")


async def test_a_bearer_of_the_token_realm_opens_v2_only(world: World, writer: Client) -> None:
    bearer = await writer.bearer("repository:acme/app:pull")
    said = problem(await bearer.get(f"{V1}/user"), 401, "not-signed-in", "/v2 only")
    assert said["title"] == "Unauthorized"


async def test_bodies_are_json_small_and_as_described(world: World) -> None:
    admin, path = world.client("admin"), f"{V1}/organizations"
    plain = await admin.post(path, content=b'{"name": "x"}', headers={"Content-Type": "text/plain"})
    problem(plain, 400, "invalid", "application/json")
    kind = {"Content-Type": "application/json"}
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"name": 1}',
        b'{"name": "x", "more": 1}',
        b"\xff",
        b"[" * 9999,
    ):
        problem(await admin.post(path, content=body, headers=kind), 400, "invalid", "expected")
    large = await admin.post(path, content=b" " * 70_000, headers=kind)
    problem(large, 413, "too-large", "65536")


@pytest.mark.parametrize("query", ["n=0", "n=1001", "n=x", "n=", "after=" + "x" * 600])
async def test_query_parameters_have_their_bounds(world: World, query: str) -> None:
    refused = await world.client("owner").get(f"{V1}/organizations/acme/members?{query}")
    problem(refused, 400, "no-such-query", "query parameter")


async def test_every_operation_says_what_it_needs(world: World) -> None:
    surfaces = [
        part
        for part in parts(build_surface(world.services), set())
        if isinstance(part, RestSurface)
    ]
    assert surfaces
    for surface in surfaces:
        names = {(one.method, one.path) for one in surface.operations}
        assert len(names) == len(surface.operations)
    operations = [operation for surface in surfaces for operation in surface.operations]
    assert all(isinstance(one.need, Need) for one in operations)
    for one in operations:
        if one.method != "GET":
            assert one.need.scope & ~Scope.READ, f"{one.method} {one.path} changes by reading"
        if one.need.on is On.NOTHING:
            assert len(one.need.why.split()) > 3
    with pytest.raises(ValueError, match="says why"):
        Need(On.NOTHING)
    assert open_because("it tells nothing of anybody").on is On.NOTHING


async def test_the_document_describes_all_of_it(world: World, anonymous: Client) -> None:
    document = (await anonymous.get(f"{V1}/openapi.json")).json()
    api = build_api(world.services, world.services.authenticator.authenticate)
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(one.method, one.path) for one in api.operations}
    named = [one["operationId"] for each in document["paths"].values() for one in each.values()]
    assert len(named) == len(set(named))
