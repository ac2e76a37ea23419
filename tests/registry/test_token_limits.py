"""Limits of tokens: where they count, what they may make, and how they end."""

import asyncio

import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Principal, Role, Scope, Visibility
from auth.tokens import NewToken
from storage.clock import SECOND
from storage.errors import Denied, Unauthenticated
from tests.registry.client import Client, basic, refused
from tests.registry.world import OWNER_NAME, World

DAY = 86400 * SECOND


@pytest.fixture
async def resources(world: World) -> dict[str, tuple[int, int]]:
    """Images of two owners; acme/app belongs to a project. What a limit may name."""
    for name in ("acme/app", "acme/other", "writer/own"):
        await world.client().push_image(name, "v1")
    project = await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/app", project)
    return {
        "acme": (OWNER, (await world.services.accounts.get(OWNER_NAME)).id),
        "acme/widget": (PROJECT, project),
        "acme/other": (PACKAGE, (await world.services.packages.get("acme/other"))["id"]),
    }


async def limited(world: World, *limits: tuple[int, int], name: str = "writer") -> Client:
    account = await world.services.accounts.get(name)
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits=limits
    )
    return world.client("").with_authorization(basic(name, made.text))


async def principal(world: World, client: Client) -> Principal:
    return await world.services.authenticator.authenticate({"authorization": client.authorization})


async def readable(client: Client) -> set[str]:
    """What a client pulls, which must be what the catalog shows it."""
    names = ("acme/app", "acme/other", "writer/own")
    pulled = {
        name for name in names if (await client.get(f"/v2/{name}/manifests/v1")).status_code == 200
    }
    pages = [page.json() async for page in client.pages("/v2/_catalog?n=1")]
    assert {name for page in pages for name in page["repositories"]} == pulled
    return pulled


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["acme"], {"acme/app", "acme/other"}),
        (["acme/widget"], {"acme/app"}),
        (["acme/other"], {"acme/other"}),
        (["acme/widget", "acme/other"], {"acme/app", "acme/other"}),
    ],
)
@pytest.mark.parametrize("who", ["writer", "admin"])
async def test_a_token_counts_within_its_limits_alone(
    world: World,
    resources: dict[str, tuple[int, int]],
    names: list[str],
    found: set[str],
    who: str,
) -> None:
    client = await limited(world, *(resources[name] for name in names), name=who)
    assert await readable(client) == found
    for name in ("acme/app", "acme/other", "writer/own"):
        upload = await client.post(f"/v2/{name}/blobs/uploads/")
        deletion = await client.delete(f"/v2/{name}/manifests/none")
        if name in found:
            assert (upload.status_code, deletion.status_code) == (202, 404)
        else:
            refused(upload, 403, "DENIED")
            refused(deletion, 403, "DENIED")
    made = await client.post("/v2/acme/new/blobs/uploads/")
    assert made.status_code == (202 if names == ["acme"] else 403)


async def test_a_bearer_of_a_limited_token_is_limited(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    client = await limited(world, resources["acme/other"])
    asked = [f"repository:{name}:pull,push" for name in ("acme/app", "acme/other")]
    bearer = await client.bearer(*asked, "registry:catalog:*")
    assert (await bearer.get("/v2/acme/other/manifests/v1")).status_code == 200
    refused(await bearer.get("/v2/acme/app/manifests/v1"), 404, "NAME_UNKNOWN")
    assert (await bearer.get("/v2/_catalog")).json() == {"repositories": ["acme/other"]}


async def test_what_everybody_reads_a_limited_token_reads_too(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    client = await limited(world, resources["acme/other"])
    await world.publish("writer/own", Visibility.INTERNAL)
    assert await readable(client) == {"acme/other"}
    await world.publish("writer/own")
    assert await readable(client) == {"acme/other", "writer/own"}
    refused(await client.post("/v2/writer/own/blobs/uploads/"), 403, "DENIED")


async def test_a_limited_token_mounts_nothing_from_beyond(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    digest = await world.client().push_blob("writer/own", b"bytes of mine")
    client = await limited(world, resources["acme"])
    mount = f"/v2/acme/app/blobs/uploads/?mount={digest}"
    for query in (f"{mount}&from=writer/own", mount):
        assert (await client.post(query)).status_code == 202
    assert (await world.client().post(f"{mount}&from=writer/own")).status_code == 201


async def test_a_limit_whose_resource_is_gone_covers_nothing(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    client = await limited(world, resources["acme/widget"])
    assert await readable(client) == {"acme/app"}
    await world.services.packages.unlink(OPERATOR, "acme/app")
    assert await readable(client) == set()


async def test_a_token_makes_none_that_may_more(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    tokens, end = world.services.tokens, world.clock() + DAY
    account = await world.services.accounts.get("writer")
    scopes = Scope.READ | Scope.ADMIN
    parent = await tokens.create(
        OPERATOR,
        account.id,
        "user",
        "",
        scopes,
        end,
        limits=[resources["acme"], resources["acme/other"]],
    )
    who = await principal(world, Client(world, f"Bearer {parent.text}"))

    def new(**wanted: object) -> NewToken:
        values = {"scopes": Scope.READ} | wanted
        return NewToken(account.id, "user", **values)  # type: ignore[arg-type]

    for wanted in (new(scopes=Scope.WRITE), new(scopes=Scope.ALL), new(expires_at=end + 1)):
        with pytest.raises(Denied, match="makes none"):
            await tokens.derive(who, wanted)
    stranger = (await world.services.accounts.get("stranger")).id
    with pytest.raises(Denied):
        await tokens.derive(who, NewToken(stranger, "user"))
    own = await tokens.derive(who, new(limits=[(OWNER, account.id)]))
    assert await readable(Client(world, f"Bearer {own.text}")) == set()
    same = await tokens.derive(who, new())
    assert await readable(Client(world, f"Bearer {same.text}")) == {"acme/app", "acme/other"}
    fewer = await tokens.derive(who, new(limits=[resources["acme/widget"]]))
    child = Client(world, f"Bearer {fewer.text}")
    assert await readable(child) == {"acme/app"}
    with pytest.raises(Denied, match="lacks the scope 'admin'"):
        await tokens.derive(await principal(world, child), new())
    world.clock.advance(86400)
    refused(await child.get("/v2/"), 401, "UNAUTHORIZED", "expired")


async def test_a_bearer_makes_no_token(world: World) -> None:
    account = await world.services.accounts.get("writer")
    bearer = await world.signed_in("writer").bearer("repository:acme/app:pull")
    for client in (bearer, world.client("")):
        with pytest.raises(Denied):
            await world.services.tokens.derive(
                await principal(world, client), NewToken(account.id, "user", scopes=Scope.READ)
            )


async def test_what_a_token_made_ends_with_it(world: World) -> None:
    account = await world.services.accounts.get("writer")
    texts = [world.tokens["writer"]]
    for _ in range(3):
        who = await principal(world, Client(world, f"Bearer {texts[-1]}"))
        new = NewToken(account.id, "user", scopes=Scope.ALL)
        texts.append((await world.services.tokens.derive(who, new)).text)
    clients = [Client(world, f"Bearer {text}") for text in texts]
    await world.revoke(texts[1])
    assert [(await one.get("/v2/")).status_code for one in clients] == [200, 401, 401, 401]


async def test_nothing_that_is_made_while_its_maker_ends_stays(world: World) -> None:
    account, text = await world.services.accounts.get("writer"), world.tokens["writer"]
    who = await principal(world, Client(world, f"Bearer {text}"))
    new = NewToken(account.id, "user", scopes=Scope.ALL)
    done = await asyncio.gather(
        *(world.services.tokens.derive(who, new) for _ in range(5)),
        world.revoke(text),
        *(world.services.tokens.derive(who, new) for _ in range(5)),
        return_exceptions=True,
    )
    made = [one for one in done if not isinstance(one, BaseException) and one is not None]
    assert all(isinstance(one, Unauthenticated) for one in done if isinstance(one, BaseException))
    for token in made:
        answer = await Client(world, f"Bearer {token.text}").get("/v2/")
        refused(answer, 401, "UNAUTHORIZED", "revoked")


async def test_a_teams_role_counts_within_a_tokens_limits(
    world: World, resources: dict[str, tuple[int, int]]
) -> None:
    await world.services.accounts.grant(OPERATOR, *resources["acme/other"], "stranger", Role.READ)
    await world.services.accounts.grant(OPERATOR, *resources["acme/widget"], "stranger", Role.READ)
    client = await limited(world, resources["acme/other"], name="stranger")
    assert await readable(client) == {"acme/other"}


async def test_the_last_use_is_written_once_a_minute(world: World) -> None:
    async def used() -> dict[int, int]:
        rows = await world.rows("select id, last_used_at from tokens where last_used_at > 0")
        return {row["id"]: row["last_used_at"] for row in rows}

    client, last_uses = world.client(), world.services.last_uses
    token_id = (await principal(world, client)).token_id
    bearer = await client.bearer("repository:acme/app:pull")
    await last_uses.flush()
    first = world.clock()
    assert await used() == {token_id: first}
    world.clock.advance(59)
    for one in (client, bearer):
        await one.get("/v2/")
    await last_uses.flush()
    assert await used() == {token_id: first}
    world.clock.advance(1)
    await last_uses.flush()
    assert await used() == {token_id: first}  # nobody came since
    await bearer.get("/v2/")
    await last_uses.flush()
    assert await used() == {token_id: first + 60 * SECOND}


async def test_a_large_crowd_is_flushed_in_chunks(world: World) -> None:
    ids = [(await principal(world, world.client(name))).token_id for name in world.tokens]
    for token_id in [*range(-1200, 0), *ids]:
        world.services.last_uses.note(token_id)
    await world.services.last_uses.flush()
    rows = await world.rows("select id from tokens where last_used_at > 0")
    assert sorted(row["id"] for row in rows) == sorted(ids)


async def test_a_passwords_token_does_not_outlive_a_change_that_came_between(world: World) -> None:
    """Signed in, then disabled or given another password, and only then the token is made."""
    account = await world.services.accounts.get("writer")
    who = Principal(account.id, "writer", "user", password_version=account.password_version)
    new = NewToken(account.id, "user")
    assert (await world.services.tokens.make(who, new)).id
    await world.services.accounts.set_enabled(OPERATOR, "writer", enabled=False)
    with pytest.raises(Unauthenticated, match="disabled"):
        await world.services.tokens.make(who, new)
    await world.services.accounts.set_enabled(OPERATOR, "writer", enabled=True)
    assert (await world.services.tokens.make(who, new)).id
    await world.services.accounts.set_password(OPERATOR, "writer", "another long password")
    with pytest.raises(Unauthenticated, match="password was changed"):
        await world.services.tokens.make(who, new)
