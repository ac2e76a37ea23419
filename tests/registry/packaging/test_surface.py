"""The frame around an adapter's routes: who is let in, what is read, and what every answer says."""

import itertools
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from starlette.types import ASGIApp, Message

from auth.audit import OPERATOR
from auth.principals import Scope as TokenScope
from auth.principals import Visibility
from registry.app import Services, build_surface, wire
from registry.debts import Counts
from registry.packaging.surface import Route
from registry.rest.needs import READ_OWNER, SIGNED_IN
from tests.registry.client import Client, basic
from tests.registry.packaging.routes import GenericRoutes
from tests.registry.test_access_table import Counted
from tests.registry.world import PASSWORD, World

CHALLENGE = 'Basic realm="packhouse"'
INSERT = """
insert into packages (owner_id, format, name, repository, visibility, own_visibility, created_at,
  published_at)
select id, 'generic', $1, $2, $3, $3, 1, 1 from accounts where name = $4
"""


def application(services: Services, counts: Counts | None = None) -> ASGIApp:
    return build_surface(services, counts, adapters=lambda *_: [GenericRoutes()])


@pytest.fixture
def app(world: World) -> ASGIApp:
    return application(world.services)


def person(app: ASGIApp, world: World, name: str = "") -> Client:
    return Client(app, basic("anything", world.tokens[name]) if name else "")


async def make(world: World, name: str, visibility: Visibility, owner: str = "acme") -> None:
    """Put a package on the shelf, without anything in it."""
    repository = f"{owner}/generic/{name}"
    await world.services.database.execute(INSERT, name, repository, int(visibility), owner)


@pytest.fixture
async def closed(world: World) -> None:
    await make(world, "hidden", Visibility.PRIVATE)


@pytest.fixture
async def opened(world: World, closed: None) -> None:
    await make(world, "public", Visibility.PUBLIC)


def asks(response: httpx.Response) -> None:
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == CHALLENGE
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"said"}


async def test_a_closed_feed_asks_for_credentials_whatever_the_name(
    world: World, app: ASGIApp, closed: None
) -> None:
    anonymous = person(app, world)
    for owner, name in itertools.product(("acme", "nowhere"), ("hidden", "unknown")):
        for method in ("GET", "HEAD"):
            response = await anonymous.request(method, f"/generic/{owner}/{name}")
            assert response.status_code == 401
        asks(await anonymous.get(f"/generic/{owner}/{name}"))


async def test_an_open_feed_knows_nothing_of_what_is_not_public(
    world: World, app: ASGIApp, opened: None
) -> None:
    anonymous = person(app, world)
    assert (await anonymous.get("/generic/acme/public")).status_code == 200
    for name in ("hidden", "unknown"):
        response = await anonymous.get(f"/generic/acme/{name}")
        assert response.status_code == 404
        assert "www-authenticate" not in response.headers
    asks(await anonymous.get("/generic/nowhere/unknown"))


async def test_a_public_image_opens_no_feed(world: World, app: ASGIApp, closed: None) -> None:
    await world.client().push_image("acme/app", "v1")
    await world.publish("acme/app")
    asks(await person(app, world).get("/generic/acme/hidden"))


async def test_what_was_public_and_is_deleted_opens_no_feed(world: World, app: ASGIApp) -> None:
    await make(world, "gone", Visibility.PUBLIC)
    await world.services.database.execute(DELETE)
    asks(await person(app, world).get("/generic/acme/gone"))


DELETE = "update packages set deleted_at = 1 where repository = 'acme/generic/gone'"


async def test_the_feed_of_an_old_owners_name_is_that_of_the_new(
    world: World, app: ASGIApp, opened: None
) -> None:
    renamed = await world.client("admin").put("/api/v1/owners/acme/name", json={"name": "apex"})
    assert renamed.status_code == 200, renamed.text
    anonymous = person(app, world)
    assert (await anonymous.get("/generic/acme/public")).status_code == 200
    assert (await anonymous.get("/generic/acme/unknown")).status_code == 404


async def test_below_auth_nobody_is_let_in_without_credentials(
    world: World, app: ASGIApp, opened: None
) -> None:
    anonymous, reader = person(app, world), person(app, world, "reader")
    for path in ("acme/public", "acme/hidden", "nowhere/unknown", "-/search", "-/whoami"):
        asks(await anonymous.get(f"/auth/generic/{path}"))
    found = await reader.get("/auth/generic/acme/public")
    assert found.json()["base"] == "http://registry.test/auth/generic"
    assert (await anonymous.get("/auth/generic/-/ping")).status_code == 200


async def test_somebody_signed_in_gets_404_and_403(
    world: World, app: ASGIApp, opened: None
) -> None:
    stranger = person(app, world, "stranger")
    for name in ("hidden", "unknown"):
        assert (await stranger.get(f"/generic/acme/{name}")).status_code == 404
        for method in ("PUT", "DELETE"):
            refused = await stranger.request(method, f"/generic/acme/{name}")
            assert refused.status_code == 403
    assert (await stranger.get("/generic/nowhere/unknown")).status_code == 404
    assert (await stranger.put("/generic/nowhere/unknown")).status_code == 403
    assert (await stranger.get("/generic/acme/public")).status_code == 200


async def test_nobody_who_is_anonymous_writes_to_an_open_feed(
    world: World, app: ASGIApp, opened: None
) -> None:
    for name in ("public", "hidden", "unknown"):
        asks(await person(app, world).put(f"/generic/acme/{name}", content=b"x"))


async def test_who_may_push_finds_that_there_is_no_package(
    world: World, app: ASGIApp, closed: None
) -> None:
    writer = person(app, world, "writer")
    assert (await writer.get("/generic/acme/unknown")).status_code == 404
    assert (await writer.delete("/generic/acme/unknown")).status_code == 404
    assert (await writer.put("/generic/acme/unknown", content=b"new")).status_code == 201


async def test_wrong_credentials_are_401_on_an_open_feed_too(
    world: World, app: ASGIApp, opened: None
) -> None:
    wrong = Client(app, basic("writer", "phu_" + "x" * 36))
    asks(await wrong.get("/generic/acme/public"))
    asks(await Client(app, basic("writer", PASSWORD)).get("/generic/acme/public"))
    bearer = await world.client("writer").bearer("repository:acme/generic/public:pull")
    asks(await Client(app, bearer.authorization).get("/generic/acme/public"))


@pytest.mark.parametrize("shape", ["Basic", "Bearer", "bare", "key"])
async def test_one_token_in_every_shape(world: World, app: ASGIApp, shape: str) -> None:
    token = world.tokens["writer"]
    headers = {
        "Basic": {"Authorization": basic("anything", token)},
        "Bearer": {"Authorization": f"Bearer {token}"},
        "bare": {"Authorization": token},
        "key": {"X-NuGet-ApiKey": token},
    }[shape]
    response = await Client(app).get("/generic/-/whoami", headers=headers)
    assert response.json()["who"] == "writer"


async def test_a_token_does_no_more_than_its_scopes(world: World, app: ASGIApp) -> None:
    await make(world, "hidden", Visibility.PRIVATE)
    reading = Client(app, basic("x", await world.mint("writer", TokenScope.READ)))
    assert (await reading.get("/generic/acme/hidden")).status_code == 200
    assert (await reading.put("/generic/acme/hidden")).status_code == 403


def unread() -> tuple[Callable[[], Awaitable[Message]], list[int]]:
    asked: list[int] = []

    async def receive() -> Message:
        asked.append(1)
        return {"type": "http.request", "body": b"x", "more_body": False}

    return receive, asked


async def exchanged(
    app: ASGIApp,
    method: str,
    path: str,
    receive: Callable[[], Awaitable[Message]],
    authorization: str = "",
) -> list[Message]:
    """Call the application itself, and return what it sends."""
    answers: list[Message] = []

    async def send(message: Message) -> None:
        answers.append(message)

    headers = [(b"host", b"registry.test"), (b"transfer-encoding", b"chunked")]
    if authorization:
        headers.append((b"authorization", authorization.encode()))
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    return answers


async def test_who_may_not_is_answered_before_his_body_is_read(
    world: World, app: ASGIApp, opened: None
) -> None:
    for name, status in (("", 401), ("stranger", 403), ("writer", 201)):
        receive, asked = unread()
        authorization = basic("x", world.tokens[name]) if name else ""
        answers = await exchanged(app, "PUT", "/generic/acme/public", receive, authorization)
        assert (answers[0]["status"], bool(asked)) == (status, status == 201)


async def test_who_sends_slowly_is_judged_again_when_all_is_here(
    world: World, app: ASGIApp
) -> None:
    token = await world.mint("writer")

    async def body() -> AsyncIterator[bytes]:
        yield b"so"
        await world.revoke(token)
        yield b"slow"

    slow = Client(app, basic("x", token))
    asks(await slow.post("/generic/acme/new/small", content=body()))
    fast = person(app, world, "writer")
    assert (await fast.post("/generic/acme/new/small", content=b"six")).json() == {"size": 3}
    large = await fast.post("/generic/acme/new/small", content=b"x" * 1001)
    assert large.status_code == 413


async def test_a_path_has_one_reading(world: World, app: ASGIApp, opened: None) -> None:
    writer = person(app, world, "writer")
    for spelled in ("acme/public", "%61cme/public", "acme/p%75blic"):
        assert (await writer.raw("GET", f"/generic/{spelled}")).json()["package"]
    plain = ("acme//public", "acme/./public", "acme/%2e%2e/public", "acme%2fpublic")
    for spelled in (*plain, "acme/public;x", "acme/public%00", "acme/pub%0alic", "acme/%ff"):
        assert (await writer.raw("GET", f"/generic/{spelled}")).status_code == 400
    for below in ("a%0ab", "a%7f", "x/" * 3000 + "x"):
        assert (await writer.raw("GET", f"/generic/acme/public/-/{below}")).status_code == 400
    for spelled in ("", "acme", "acme/", "acme/public/", "acme/public/-/"):
        assert (await writer.raw("GET", f"/generic/{spelled}")).status_code == 404
    rest = await writer.get("/generic/acme/public/-/a/b/c.bin")
    assert rest.json()["values"]["path"] == "a/b/c.bin"
    twice = await writer.http.get(
        "/generic/acme/public",
        headers=[("authorization", writer.authorization), ("authorization", "x")],
    )
    assert twice.status_code == 400


async def test_another_method_is_told_what_there_is(
    world: World, app: ASGIApp, opened: None
) -> None:
    for name in ("", "writer"):
        response = await person(app, world, name).post("/generic/acme/public")
        assert response.status_code == 405
        assert response.headers["allow"] == "DELETE, GET, HEAD, PUT"


async def test_head_is_get_without_the_body(world: World, app: ASGIApp, opened: None) -> None:
    anonymous = person(app, world)
    read = await anonymous.get("/generic/acme/public")
    looked = await anonymous.head("/generic/acme/public")
    assert (looked.status_code, looked.content) == (200, b"")
    assert looked.headers["content-length"] == str(len(read.content))
    sent = await exchanged(app, "HEAD", "/generic/acme/public", unread()[0])
    assert b"".join(message.get("body", b"") for message in sent) == b""
    missing = await anonymous.head("/generic/acme/unknown")
    assert (missing.status_code, missing.content) == (404, b"")


async def test_every_answer_is_kept_from_running_and_from_strangers(
    world: World, app: ASGIApp, opened: None
) -> None:
    anonymous = person(app, world)
    for path in ("acme/public", "acme/unknown", "nowhere/x", "-/ping", "-/fail", "-/nothing/x/y"):
        response = await anonymous.get(f"/generic/{path}")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert response.headers["vary"] == "Authorization"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-request-id"]


async def test_a_failure_of_ours_tells_an_id_and_no_more(
    world: World, app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await person(app, world).get("/generic/-/fail")
    assert response.status_code == 500
    assert response.headers["x-request-id"] in response.json()["said"]
    assert "secret" not in response.text


async def test_clients_that_drop_the_prefix_find_the_root(world: World, app: ASGIApp) -> None:
    anonymous = person(app, world)
    ping = await anonymous.get("/-/generic/ping")
    assert ping.json() == {
        "base": "http://registry.test/generic",
        "site": "http://registry.test",
    }
    assert (await anonymous.get("/-/ui/sign-in")).status_code == 200
    assert (await anonymous.get("/-/generic/other")).status_code == 404


async def test_a_password_opens_a_door_and_nothing_else(world: World, app: ASGIApp) -> None:
    client = Client(app, basic("writer", PASSWORD))
    assert (await client.put("/generic/-/login/user:writer")).json()["who"] == "writer"
    wrong = Client(app, basic("reader", "wrong"))
    statuses = [(await wrong.put("/generic/-/login/user:writer")).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


async def test_owners_are_judged(world: World, app: ASGIApp) -> None:
    assert (await person(app, world, "writer").get("/generic/-/org/acme")).json()["owner"] == "acme"
    assert (await person(app, world, "stranger").get("/generic/-/org/acme")).status_code == 404
    asks(await person(app, world).get("/generic/-/org/acme"))


async def test_pulls_and_writes_count(world: World, opened: None) -> None:
    config = replace(world.config, pulls_per_minute=2, writes_per_minute=2)
    app = application(replace(world.services, config=config))
    reader, writer = person(app, world, "reader"), person(app, world, "writer")
    pulls = [(await reader.get("/generic/acme/public/pull")).status_code for _ in range(3)]
    assert pulls == [200, 200, 429]
    assert (await reader.get("/generic/acme/public")).status_code == 200
    writes = [(await writer.delete("/generic/acme/public")).status_code for _ in range(3)]
    assert writes == [200, 200, 429]


async def test_no_log_shows_a_token_of_a_path(
    world: World, app: ASGIApp, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = world.tokens["writer"]
    with caplog.at_level(logging.INFO, "packhouse.request"):
        for method in ("DELETE", "GET"):
            await person(app, world).request(method, f"/generic/-/token/{secret}")
        await person(app, world).get("/generic/acme/public")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["path"] for line in lines] == [
        "/generic/-/token/{token}",
        "/generic/-/token/{token}",
        "/generic/acme/public",
    ]


async def test_hidden_and_unknown_take_the_same_path(world: World, opened: None) -> None:
    """Status, headers, body, and the statements that ran, on an open feed and on a closed one."""
    await world.services.accounts.create_organization(OPERATOR, "globex")
    await make(world, "hidden", Visibility.PRIVATE, "globex")
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    app = application(counted)
    groups = [
        ["/generic/acme/hidden", "/generic/acme/unknown"],
        ["/generic/globex/hidden", "/generic/globex/unknown", "/generic/nowhere/unknown"],
        ["/auth/generic/acme/hidden", "/auth/generic/acme/unknown", "/auth/generic/nowhere/x"],
    ]
    for name, method, paths in itertools.product(
        ("", "stranger"), ("GET", "HEAD", "PUT", "DELETE"), groups
    ):
        seen = set()
        for path in paths:
            ran.clear()
            response = await person(app, world, name).request(method, path)
            _, owner, package = path.removeprefix("/auth").split("/")[1:]
            text = response.text.replace(package, "NAME").replace(owner, "OWNER")
            headers = [
                pair
                for pair in response.headers.items()
                if pair[0] not in ("x-request-id", "content-length")
            ]
            seen.add((response.status_code, str(headers), text, tuple(ran)))
        assert len(seen) == 1, (name, method, seen)


def test_a_route_names_what_its_need_is_about() -> None:
    tell = GenericRoutes().tell
    for path in ("/-/org/{name}", "/-/org"):
        with pytest.raises(ValueError, match="does not name"):
            Route("GET", path, tell, READ_OWNER)
    with pytest.raises(ValueError, match="names no package"):
        Route("GET", "/x", tell, SIGNED_IN, decides=True)
    with pytest.raises(TypeError):
        Route("GET", "/x", tell)  # type: ignore[call-arg]


@pytest.mark.parametrize("header", ["Bearer phu_gone", "Basic !", basic("writer", PASSWORD)])
async def test_credentials_that_are_no_longer_good_keep_nobody_from_what_needs_none(
    app: ASGIApp, header: str
) -> None:
    assert (await Client(app, header).get("/generic/-/ping")).status_code == 200
    assert (await Client(app, header).get("/generic/-/search")).status_code == 401
