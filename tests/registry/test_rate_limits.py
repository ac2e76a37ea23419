"""What counts against which limit, for whom, and what is answered beyond it."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.app import build_surface
from registry.debts import Counts, Debts
from registry.sign_in_limits import FAILURE_SECONDS, KNOWN_SECONDS
from tests.registry.client import Client, basic, refused
from tests.registry.world import PASSWORD, World

IMAGE = "/v2/acme/app/manifests/v1"
UPLOADS = "/v2/acme/app/blobs/uploads/"


class Time:
    """A clock in seconds that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Limited:
    """The world's registry under limits of a test's own, with a clock of the test's own."""

    def __init__(self, world: World, **limits: int) -> None:
        self.time = Time()
        self._world = world
        counts = Counts(Debts.alone(self.time), Debts.alone(self.time))
        config = replace(world.config, **limits)  # type: ignore[arg-type]
        self._app = build_surface(replace(world.services, config=config), counts)

    def client(self, name: str = "", address: str = "192.0.2.7") -> Client:
        """A person with a token, somewhere; "" is nobody."""
        secret = basic(name, self._world.tokens[name]) if name else ""
        return Client(self._at(address), secret)

    def guess(self, password: str, name: str = "writer", address: str = "192.0.2.7") -> Client:
        return Client(self._at(address), basic(name, password))

    def _at(self, address: str) -> ASGIApp:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app({**scope, "client": (address, 1)}, receive, send)

        return application


async def statuses(client: Client, count: int, path: str = IMAGE, **options: Any) -> list[int]:
    method = options.pop("method", "GET")
    return [(await client.request(method, path, **options)).status_code for _ in range(count)]


@pytest.fixture
async def image(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await world.publish("acme/app")


@pytest.mark.usefixtures("image")
async def test_a_pull_beyond_the_limit_is_told_when_to_come_again(world: World) -> None:
    limited = Limited(world, pulls_per_minute=2)
    reader = limited.client("reader")
    assert await statuses(reader, 2) == [200, 200]
    response = await reader.get(IMAGE)
    words = ("the limit for reader is 2 pulls a minute", "try again in 30 s")
    refused(response, 429, "TOOMANYREQUESTS", *words)
    assert response.headers["retry-after"] == "30"
    assert response.headers["x-request-id"] == response.json()["request_id"]
    limited.time.seconds += 29.5
    response = await reader.get(IMAGE)
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    limited.time.seconds += 1
    assert await statuses(reader, 2) == [200, 429]
    limited.time.seconds += 3600
    assert await statuses(reader, 3) == [200, 200, 429]


@pytest.mark.usefixtures("image")
async def test_accounts_and_addresses_do_not_share(world: World) -> None:
    limited = Limited(world, pulls_per_minute=1)
    for client in (
        limited.client("reader"),
        limited.client("writer"),
        limited.client("", "192.0.2.7"),
        limited.client("", "192.0.2.8"),
        limited.client("", "2001:db8::1"),
        limited.client("", "2001:db8:0:1::1"),
    ):
        assert await statuses(client, 2) == [200, 429]


@pytest.mark.usefixtures("image")
async def test_an_account_counts_wherever_it_is_and_a_network_as_one(world: World) -> None:
    limited = Limited(world, pulls_per_minute=1)
    assert await statuses(limited.client("reader", "192.0.2.7"), 1) == [200]
    assert await statuses(limited.client("reader", "192.0.2.8"), 1) == [429]
    assert await statuses(limited.client("", "2001:db8::1"), 1) == [200]
    assert await statuses(limited.client("", "2001:db8::ffff:1"), 1) == [429]


@pytest.mark.usefixtures("image")
async def test_a_bearer_counts_for_its_account_and_an_anonymous_one_for_the_address(
    world: World,
) -> None:
    limited = Limited(world, pulls_per_minute=1)
    bearer = await limited.client("reader").bearer("repository:acme/app:pull")
    assert await statuses(bearer, 2) == [200, 429]
    assert await statuses(limited.client("reader"), 1) == [429]
    anonymous = await limited.client("").bearer("repository:acme/app:pull")
    assert await statuses(anonymous, 2) == [200, 429]
    assert await statuses(limited.client(""), 1) == [429]


@pytest.mark.usefixtures("image")
async def test_only_manifests_that_leave_count_as_pulls(world: World) -> None:
    limited = Limited(world, pulls_per_minute=1)
    reader = limited.client("reader")
    digest = (await reader.head(IMAGE)).headers["docker-content-digest"]
    assert await statuses(reader, 3, method="HEAD") == [200] * 3
    assert await statuses(reader, 3, headers={"If-None-Match": f'"{digest}"'}) == [304] * 3
    assert await statuses(reader, 3, "/v2/acme/app/manifests/none") == [404] * 3
    assert await statuses(reader, 3, "/v2/acme/app/tags/list") == [200] * 3
    assert await statuses(reader, 3, f"/v2/acme/app/referrers/{digest}") == [200] * 3
    manifest = (await reader.get(IMAGE)).json()
    assert await statuses(reader, 1) == [429]
    layer = manifest["layers"][0]["digest"]
    assert await statuses(reader, 3, f"/v2/acme/app/blobs/{layer}") == [200] * 3


@pytest.mark.usefixtures("image")
async def test_head_is_answered_beyond_the_limit(world: World) -> None:
    """containerd ends a push on any answer to HEAD but 200, 401 and 404."""
    limited = Limited(world, pulls_per_minute=1, writes_per_minute=1)
    reader = limited.client("reader")
    assert await statuses(reader, 2) == [200, 429]
    assert await statuses(reader, 2, method="HEAD") == [200, 200]
    assert await statuses(reader, 1, "/v2/acme/app/manifests/none", method="HEAD") == [404]


@pytest.mark.usefixtures("image")
async def test_an_exhausted_address_can_still_sign_in(world: World, writer: Client) -> None:
    """The challenge comes first: a client that asks without credentials waits for it."""
    await writer.push_image("acme/hidden", "v1")
    limited = Limited(world, pulls_per_minute=1)
    nobody = limited.client("")
    assert await statuses(nobody, 2) == [200, 429]
    assert await statuses(nobody, 2, "/v2/acme/hidden/manifests/v1") == [401, 401]
    bearer = await limited.client("reader").bearer("repository:acme/hidden:pull")
    assert await statuses(bearer, 1, "/v2/acme/hidden/manifests/v1") == [200]


@pytest.mark.usefixtures("image")
async def test_who_is_refused_by_others_limits_learns_nothing_of_names(world: World) -> None:
    limited = Limited(world, pulls_per_minute=1)
    reader = limited.client("reader")
    await reader.get(IMAGE)
    said = [await reader.get(path) for path in (IMAGE, "/v2/acme/none/manifests/v1")]
    assert said[0].json()["errors"] == said[1].json()["errors"]


@pytest.mark.usefixtures("image")
async def test_the_headers_say_what_is_left_without_spending_it(world: World) -> None:
    limited = Limited(world, pulls_per_minute=3)
    reader = limited.client("reader")
    seen = [await reader.request(method, IMAGE) for method in ("HEAD", "GET", "HEAD", "GET")]
    assert [answer.headers["ratelimit-remaining"] for answer in seen] == [
        "3;w=60",
        "2;w=60",
        "2;w=60",
        "1;w=60",
    ]
    assert {answer.headers["ratelimit-limit"] for answer in seen} == {"3;w=60"}


@pytest.mark.usefixtures("image")
async def test_pulls_have_no_limit_by_default(world: World) -> None:
    response = await Limited(world).client("reader").get(IMAGE)
    assert "ratelimit-limit" not in response.headers


async def test_the_start_of_an_upload_counts_and_nothing_after_it(world: World) -> None:
    limited = Limited(world, writes_per_minute=2)
    writer = limited.client("writer")
    first, second = await writer.start("acme/app"), await writer.start("acme/app")
    response = await writer.post(UPLOADS)
    refused(response, 429, "TOOMANYREQUESTS", "the limit for writer is 2 writes a minute")
    assert response.headers["retry-after"] == "30"
    assert await statuses(writer, 1, UPLOADS, method="POST", params={"digest": "x"}) == [429]
    assert (await writer.patch(first, content=b"half")).status_code == 202
    assert (await writer.get(first)).status_code == 204
    digest = {"digest": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}
    assert (await writer.put(second, params=digest, content=b"foo")).status_code == 201
    assert (await writer.delete(first)).status_code == 204


@pytest.mark.usefixtures("image")
async def test_a_manifest_ends_a_push_whose_layers_spent_the_limit(world: World) -> None:
    limited = Limited(world, writes_per_minute=2)
    writer, data = limited.client("writer"), (await world.client("writer").get(IMAGE)).content
    assert await statuses(writer, 3, UPLOADS, method="POST") == [202, 202, 429]
    media_type = "application/vnd.oci.image.manifest.v1+json"
    put = [await writer.put_manifest("acme/app", f"v{n}", data, media_type) for n in range(3)]
    assert [answer.status_code for answer in put] == [201, 201, 429]
    refused(put[-1], 429, "TOOMANYREQUESTS", "2 writes a minute")
    assert await statuses(writer, 1, method="DELETE") == [429]
    assert await statuses(limited.client("owner"), 1, method="DELETE") == [202]


async def test_nobody_is_challenged_and_not_counted_when_writing(world: World) -> None:
    limited = Limited(world, writes_per_minute=1)
    assert await statuses(limited.client(""), 3, UPLOADS, method="POST") == [401] * 3


async def test_a_body_is_not_read_beyond_the_limit(world: World) -> None:
    limited = Limited(world, writes_per_minute=1)
    writer, before = limited.client("writer"), await world.footprint()
    assert await statuses(writer, 1, UPLOADS, method="POST") == [202]
    options = {"params": {"digest": "sha256:" + "0" * 64}, "content": b"x" * 1000}
    assert await statuses(writer, 1, UPLOADS, method="POST", **options) == [429]
    assert await world.footprint() == before


async def test_tokens_are_limited_by_account_and_address(world: World) -> None:
    limited = Limited(world, tokens_per_minute=2)
    assert await statuses(limited.client("reader"), 2, "/token") == [200, 200]
    response = await limited.client("reader", "192.0.2.8").get("/token")
    refused(response, 429, "TOOMANYREQUESTS", "the limit for reader is 2 sign-ins a minute")
    assert (response.headers["retry-after"], response.headers["cache-control"]) == (
        "30",
        "no-store",
    )
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert await statuses(limited.client("writer"), 1, "/token") == [200]
    assert await statuses(limited.client(""), 3, "/token") == [200, 200, 429]
    assert await statuses(limited.client("", "192.0.2.8"), 1, "/token") == [200]


async def test_failed_sign_ins_count_for_the_address(world: World) -> None:
    limited = Limited(world, tokens_per_minute=2)
    wrong = limited.guess("phu_" + "x" * 36)
    assert await statuses(wrong, 3, "/token") == [401, 401, 429]
    assert await statuses(limited.client(""), 1, "/token") == [429]
    assert await statuses(limited.client("writer"), 1, "/token") == [200]


async def test_wrong_passwords_end_guessing_of_that_account_from_there(world: World) -> None:
    limited = Limited(world, wrong_passwords=20)
    assert await statuses(limited.guess("wrong"), 3, "/token") == [401, 401, 429]
    assert await statuses(limited.guess("wrong", "WRITER"), 1, "/token") == [429]
    response = await limited.guess(PASSWORD).get("/token")
    words = ("'writer' from 192.0.2.7", "2 wrong passwords in 300 seconds")
    refused(response, 429, "TOOMANYREQUESTS", *words)
    assert response.headers["retry-after"] == str(FAILURE_SECONDS // 2)
    assert await statuses(limited.guess(PASSWORD, "reader"), 1, "/token") == [200]
    assert await statuses(limited.guess(PASSWORD, address="192.0.2.8"), 1, "/token") == [200]
    assert await statuses(limited.client("writer"), 1, "/token") == [200]
    limited.time.seconds += FAILURE_SECONDS // 2
    assert await statuses(limited.guess(PASSWORD), 1, "/token") == [200]


async def test_wrong_passwords_for_many_accounts_end_guessing_from_there(world: World) -> None:
    limited = Limited(world, wrong_passwords=3)
    for name in ("a", "b", "c"):
        assert await statuses(limited.guess("wrong", name), 1, "/token") == [401]
    assert await statuses(limited.guess("wrong", "d"), 1, "/token") == [429]
    assert await statuses(limited.guess("wrong", "d", "192.0.2.8"), 1, "/token") == [401]


async def test_the_right_password_from_a_known_address_is_never_refused(world: World) -> None:
    limited = Limited(world, wrong_passwords=10)
    assert await statuses(limited.guess(PASSWORD), 1, "/token") == [200]
    assert await statuses(limited.guess("wrong"), 15, "/token") == [401] * 15
    assert await statuses(limited.guess(PASSWORD), 1, "/token") == [200]
    assert await statuses(limited.guess(PASSWORD, "reader"), 1, "/token") == [429]
    limited.time.seconds += KNOWN_SECONDS
    assert await statuses(limited.guess("wrong"), 2, "/token") == [401, 429]


async def test_guessing_has_no_limit_where_it_was_turned_off(world: World) -> None:
    limited = Limited(world, wrong_passwords=0)
    assert await statuses(limited.guess("wrong"), 12, "/token") == [401] * 12


async def test_no_limit_reaches_the_probes(world: World) -> None:
    limited = Limited(world, pulls_per_minute=1, writes_per_minute=1, tokens_per_minute=1)
    for path in ("/healthz", "/readyz", "/"):
        assert await statuses(limited.client(""), 3, path) == [200] * 3
    assert await statuses(limited.client("reader"), 3, "/v2/") == [200] * 3
