"""`_catalog`: repositories that the caller may pull from, in ASCII order, in pages."""

import pytest

from auth.principals import Scope, Visibility
from tests.registry.client import Challenge, Client, basic, refused
from tests.registry.world import World

PATH = "/v2/_catalog"
NAMES = ["acme/a", "acme/a-b", "acme/a/b", "acme/internal", "acme/open", "stranger/own", "writer/x"]


async def names(client: Client, query: str = "") -> list[str]:
    return [
        name async for page in client.pages(PATH + query) for name in page.json()["repositories"]
    ]


@pytest.fixture
async def stocked(world: World) -> World:
    """A world with repositories of several owners and visibilities."""
    for name in NAMES:
        owner = name.partition("/")[0]
        await world.client("writer" if owner == "acme" else owner).push_image(name, "v1")
    await world.publish("acme/open")
    await world.publish("acme/internal", Visibility.INTERNAL)
    return world


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("", ["acme/open"]),
        ("stranger", ["acme/internal", "acme/open", "stranger/own"]),
        ("reader", [name for name in NAMES if name.startswith("acme/")]),
        ("writer", [name for name in NAMES if name != "stranger/own"]),
        ("admin", NAMES),
    ],
)
async def test_everybody_sees_what_he_may_pull(stocked: World, who: str, seen: list[str]) -> None:
    client = stocked.client(who)
    bearer = await client.bearer("registry:catalog:*")
    for asking in (client, bearer) if who else (bearer,):
        assert await names(asking) == seen
    for name in NAMES:
        response = await client.get(f"/v2/{name}/manifests/v1")
        assert response.is_success == (name in seen), name


@pytest.mark.parametrize("size", [1, 2, 7, 8])
async def test_pages_follow_link(stocked: World, size: int) -> None:
    admin = stocked.client("admin")
    assert await names(admin, f"?n={size}") == NAMES
    first = await admin.get(PATH, params={"n": size})
    assert len(first.json()["repositories"]) == min(size, len(NAMES))
    assert ("link" in first.headers) == (size < len(NAMES))
    assert await names(admin, f"?n={size}&last=acme/a-b") == NAMES[2:]


async def test_zero_is_empty(stocked: World) -> None:
    response = await stocked.client("admin").get(f"{PATH}?n=0")
    assert response.json() == {"repositories": []}
    assert "link" not in response.headers


async def test_a_huge_number_is_clamped_and_none_is_refused(stocked: World) -> None:
    admin = stocked.client("admin")
    for number in ("2147483648", "9" * 40):
        assert await names(admin, f"?n={number}") == NAMES
    for number in ("-1", "abc", "", "1.5"):
        response = await admin.get(PATH, params={"n": number})
        refused(response, 400, "UNSUPPORTED", "'n' is not a whole number")


async def test_a_bearer_for_something_else_does_not_open_it(stocked: World) -> None:
    for client in (stocked.signed_in("writer"), stocked.client("")):
        bearer = await client.bearer("repository:acme/open:pull")
        response = await bearer.get(PATH)
        refused(response, 401, "UNAUTHORIZED", "registry:catalog:*")
        assert Challenge.of(response).scope == "registry:catalog:*"


async def test_a_revoked_token_lists_nothing(stocked: World) -> None:
    await stocked.revoke(stocked.tokens["writer"])
    refused(await stocked.client("writer").get(PATH), 401, "UNAUTHORIZED", "revoked")


async def test_a_token_without_the_read_scope_lists_nothing(stocked: World) -> None:
    text = await stocked.mint("writer", Scope.WRITE)
    client = stocked.client("").with_authorization(basic("writer", text))
    assert (await client.get("/v2/acme/a/manifests/v1")).status_code == 404
    for asking in (client, await client.bearer("registry:catalog:*")):
        refused(await asking.get(PATH), 403, "DENIED", "lacks the scope 'read'")


async def test_a_repository_without_manifests_is_not_listed(stocked: World) -> None:
    writer = stocked.client("writer")
    await writer.push_blob("acme/blobs-only", b"x")
    (pushed,) = [await writer.push_image("acme/gone", "v1")]
    await writer.delete(f"/v2/acme/gone/manifests/{pushed.digest}")
    assert "acme/gone" not in await names(writer)
    assert "acme/blobs-only" not in await names(writer)


async def test_visibility_counts_at_once(stocked: World) -> None:
    await stocked.publish("acme/a")
    await stocked.publish("acme/open", Visibility.PRIVATE)
    assert await names(await stocked.client("").bearer("registry:catalog:*")) == ["acme/a"]


async def test_without_credentials_it_asks_to_sign_in(stocked: World) -> None:
    response = await stocked.client("").get(PATH)
    refused(response, 401, "UNAUTHORIZED", "sign in, or fetch an anonymous token")
    assert Challenge.of(response).scope == "registry:catalog:*"
