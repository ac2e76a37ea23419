"""Faults of identity that other registries shipped, tried here; ids are those of advisories."""

import base64
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import jwt
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from auth import passwords
from auth.accounts import OWNER
from auth.audit import OPERATOR
from auth.authenticate import API_KEY
from auth.principals import Scope, Visibility
from auth.signing_keys import SigningKeys
from registry.app import build_surface, wire
from tests.registry.access import robot_of
from tests.registry.client import Client, basic, digest_of, refused
from tests.registry.test_access_table import Counted
from tests.registry.test_token import claims, granted
from tests.registry.test_token_limits import limited
from tests.registry.world import PASSWORD, World

LAYER = b"layer of acme/app"
SCOPES = [f"repository:{name}:pull,push,delete" for name in ("acme/app", "writer/own")]


# One token, sent in every form


async def at_the_form(world: World, **fields: str | list[str]) -> dict[str, str]:
    answer = await world.client("").post("/token", data={"service": "packhouse", **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


async def by_the_form(world: World, text: str) -> str:
    found = await at_the_form(
        world, grant_type="password", username="admin", password=text, scope=[*SCOPES, CATALOG]
    )
    return f"Bearer {found['access_token']}"


async def by_a_refresh_token(world: World, text: str) -> str:
    first = await at_the_form(
        world, grant_type="password", username="admin", password=text, access_type="offline"
    )
    found = await at_the_form(
        world,
        grant_type="refresh_token",
        refresh_token=first["refresh_token"],
        scope=[*SCOPES, CATALOG],
    )
    return f"Bearer {found['access_token']}"


async def by_the_realm(world: World, text: str) -> str:
    client = Client(world, basic("admin", text))
    return (await client.bearer(*SCOPES, CATALOG)).authorization


def sent(form: str) -> Callable[[World, str], Awaitable[str]]:
    """Put the token itself into a header."""

    async def header(world: World, text: str) -> str:
        return form.format(text) if form else basic("admin", text)

    return header


CATALOG = "registry:catalog:*"
FORMS = {
    "Basic under an administrator's name": sent(""),
    "Bearer": sent("Bearer {}"),
    "lower-case bearer": sent("bearer {}"),
    "as GitHub's clients do": sent("token {}"),
    "bare": sent("{}"),
    "a bearer of the realm": by_the_realm,
    "a bearer of the form": by_the_form,
    "a bearer of a refresh token": by_a_refresh_token,
}
"""Ways from the text of a token to an Authorization header."""


async def answers(client: Client) -> list[int]:
    """Try what reads, mounts, writes and deletes in acme/app."""
    mount = f"/v2/writer/own/blobs/uploads/?mount={digest_of(LAYER)}&from=acme/app"
    catalog = await client.get("/v2/_catalog")
    listed = "acme/app" in catalog.json().get("repositories", [])
    return [
        (await client.get("/v2/acme/app/manifests/v1")).status_code,
        (await client.get(f"/v2/acme/app/blobs/{digest_of(LAYER)}")).status_code,
        (await client.get("/v2/acme/app/tags/list")).status_code,
        listed,
        (await client.post(mount)).status_code,
        (await client.post("/v2/acme/app/blobs/uploads/")).status_code,
        (await client.delete("/v2/acme/app/manifests/none")).status_code,
    ]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ("read", [200, 200, 200, True, 403, 403, 403]),
        ("write", [404, 404, 404, False, 202, 202, 403]),
        ("elsewhere", [404, 404, 404, False, 202, 403, 403]),
    ],
)
async def test_a_tokens_bounds_hold_in_every_form_it_is_sent(
    world: World, bounds: str, expected: list[int]
) -> None:
    """CVE-2026-28699, CVE-2026-42016, CVE-2026-117685: bounds held in some forms alone."""
    await world.client("owner").push_image("acme/app", "v1", LAYER)
    if bounds == "elsewhere":
        own = await world.services.accounts.get("writer")
        text = passed(await limited(world, (OWNER, own.id)))
    else:
        text = await world.mint("writer", Scope.READ if bounds == "read" else Scope.WRITE)
    found = {
        form: await answers(Client(world, await header(world, text)))
        for form, header in FORMS.items()
    }
    by_key = world.client("")
    by_key.http.headers[API_KEY] = text
    assert {**found, API_KEY: await answers(by_key)} == dict.fromkeys((*FORMS, API_KEY), expected)


def passed(client: Client) -> str:
    """Return the password of a client's Basic credentials."""
    return base64.b64decode(client.authorization.removeprefix("Basic ")).decode().partition(":")[2]


async def test_a_name_beside_the_credentials_is_nobodys(world: World) -> None:
    """Clients send `account`; whose token it is decides, and an anonymous one is nobody's."""
    query = f"/token?service=packhouse&account=admin&scope={SCOPES[0]}"
    for client, sub in ((world.client("writer"), "writer"), (world.client(""), "")):
        found = claims((await client.get(query)).json()["token"])
        assert found["sub"] == sub
        assert "*" not in found["access"][0]["actions"]
    text = world.tokens["reader"]
    found = await at_the_form(world, grant_type="password", username="admin", password=text)
    assert claims(found["access_token"])["sub"] == "reader"


async def test_a_scope_with_wildcards_opens_nothing(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    admin = world.client("admin")
    names = (
        "*",
        "acme/*",
        "acme/%",
        "acme/ap_",
        "acme%2fapp",
        "acme/app/",
        "/acme/app",
        "acme//app",
    )
    scopes = [f"repository:{name}:*" for name in names]
    assert set(map(tuple, (await granted(admin, *scopes)).values())) == {()}
    others = ["Repository:acme/app:pull", "registry:*:*", "registry:catalog/app:*", "*:*:*"]
    assert await granted(admin, *others, "repository:acme/app:PULL") == {"repository:acme/app": []}
    bearer = await admin.bearer(*scopes, *others)
    for path in ("/v2/acme/app/manifests/v1", "/v2/_catalog"):
        refused(await bearer.get(path), 401, "UNAUTHORIZED")


async def test_a_get_makes_nothing(world: World) -> None:
    """CVE-2026-24059: a GET that made a token needed the scope `read` alone."""
    await world.client().push_image("acme/app", "v1", LAYER)
    location = await world.client().start("acme/app")
    client = world.client("").with_authorization(
        basic("writer", await world.mint("writer", Scope.READ))
    )
    before = await contents(world)
    for path in (
        *("/v2/", "/v2/_catalog", "/v2/acme/app/tags/list", "/v2/acme/app/manifests/v1"),
        *(f"/v2/acme/app/blobs/{digest_of(LAYER)}", f"/v2/acme/app/referrers/{digest_of(LAYER)}"),
        *("/token?offline_token=true&client_id=docker", "/v2/acme/none/tags/list", location),
    ):
        await client.get(path)
        await client.head(path)
    assert await contents(world) == before


async def contents(world: World) -> dict[str, list[str]]:
    """Return every row of every table, but for the leases of what works in the background."""
    engine = world.services.database.engine
    tables = {
        "sqlite": "select name from sqlite_master where type = 'table'",
        "postgresql": "select tablename as name from pg_tables where schemaname = 'public'",
    }
    names = {row["name"] for row in await world.rows(tables[engine])} - {"leases"}
    return {
        name: sorted(str(tuple(row[key] for key in row.keys())) for row in rows)  # noqa: SIM118
        for name in names
        for rows in [await world.rows(f"select * from {name}")]
    }


async def test_the_database_holds_nothing_that_opens_a_door(world: World) -> None:
    """CVE-2026-18255: who may read everything read the tokens of robots."""
    await world.client().push_image("acme/app", "v1")
    signed_in = await at_the_form(
        world,
        grant_type="password",
        username="writer",
        password=PASSWORD,
        access_type="offline",
    )
    text = json.dumps(await contents(world))
    assert digest_of(b"layer of acme/app") in text, "the rows were not read"
    names = ("access_token", "refresh_token")
    for secret in (PASSWORD, *world.tokens.values(), *(signed_in[name] for name in names)):
        assert secret[4:] not in text


async def test_a_robot_is_no_other_whose_name_its_wildcards_match(world: World) -> None:
    """CVE-2026-110697: `_` in a name brought the tokens of other tenants' robots."""
    names = ("a_b", "axb", "a.b")
    clients = {}
    for name in names:
        await world.services.projects.create(OPERATOR, f"acme/{name}", Visibility.PRIVATE)
        header = await robot_of(world, f"acme/{name}", "job")
        clients[name] = Client(world, header)
        await clients[name].push_image(f"acme/of-{name}", "v1")
    for name, other in itertools.permutations(names, 2):
        path = f"/v2/acme/of-{other}/manifests/v1"
        refused(await clients[name].get(path), 404, "NAME_UNKNOWN")
        assert (await clients[other].get(path)).status_code == 200
    for name in names:
        (row,) = await world.services.tokens.list(f"acme+{name}")
        assert row["account"] == f"acme+{name}"


# Keys


async def test_the_key_of_uploads_signs_no_bearer(world: World) -> None:
    """Even who has it: a key counts for its purpose, and HMAC for no bearer at all."""
    keys = SigningKeys(world.services.database)
    key = await keys.current("upload")
    assert isinstance(key.secret, bytes)
    forged = claims(await world.signed_in("admin").token(*SCOPES))
    bearer = await keys.current("bearer")
    for kid in (key.kid, bearer.kid):
        text = jwt.encode(forged, key.secret, "HS256", headers={"kid": kid})
        refused(await Client(world, f"Bearer {text}").get("/v2/"), 401, "UNAUTHORIZED")
    text = jwt.encode(forged, bearer.secret, "ES256", headers={"kid": key.kid})
    refused(await Client(world, f"Bearer {text}").get("/v2/"), 401, "UNAUTHORIZED")


# What is not told


class CountedHashes:
    """argon2id that counts what it verifies."""

    def __init__(self, *args: object, **options: object) -> None:
        self.derive_phc_encoded = Argon2id(*args, **options).derive_phc_encoded

    verified = 0

    @classmethod
    def verify_phc_encoded(cls, secret: bytes, encoded: str) -> None:
        cls.verified += 1
        Argon2id.verify_phc_encoded(secret, encoded)


async def test_an_unknown_user_costs_what_a_wrong_password_costs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2020-29662: the time of an answer told who exists. Here one hash, and the same rows."""
    await world.services.database.execute(DISABLE, "reader")
    monkeypatch.setattr(passwords, "Argon2id", CountedHashes)
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    await counted.keys.load()
    surface = build_surface(counted)
    await Client(surface, basic("nobody", "the first makes the decoy")).get("/token")
    form = {"grant_type": "password", "password": "a wrong password"}
    seen = set()
    for name in ("writer", "admin", "reader", "nobody", "acme", "no-such-user", "acme+app"):
        for ask in (
            Client(surface, basic(name, "a wrong password")).get("/token"),
            Client(surface).post("/token", data={**form, "username": name}),
        ):
            ran.clear()
            CountedHashes.verified = 0
            answer = await ask
            assert answer.status_code == 401
            said = answer.text.replace(answer.headers["x-request-id"], "ID")
            challenge = answer.headers["www-authenticate"]
            told = (answer.request.method, said, challenge)
            seen.add((*told, CountedHashes.verified, tuple(ran)))
    assert {hashes for *_, hashes, _ in seen} == {1}
    assert Counter(method for method, *_ in seen) == {"GET": 1, "POST": 1}


DISABLE = "update accounts set disabled_at = 1 where name = $1"


async def pages(client: Client, sizes: Iterable[str]) -> list[str]:
    """Return everything the catalog says, page by page, in pages of several sizes."""
    return [
        f"{size} {page.text} {page.headers.get('link')} {page.headers.get('etag')}"
        for size in sizes
        async for page in client.pages(f"/v2/_catalog{size}")
    ]


@pytest.mark.parametrize("who", ["", "stranger", "reader", "elsewhere"])
async def test_the_catalog_is_the_same_whatever_is_hidden(world: World, who: str) -> None:
    """CVE-2026-27771: names, ends of pages and links tell nothing of what others hide."""
    for name in ("acme/b", "acme/d"):
        await world.client().push_image(name, "v1")
        await world.publish(name)
    client = world.client("" if who == "elsewhere" else who)
    if who == "elsewhere":
        client = await limited(world, (OWNER, (await world.services.accounts.get("writer")).id))
    client = await client.bearer(CATALOG)
    sizes = ["", "?n=1", "?n=2", "?n=3", "?n=1&last=acme/c", "?last=writer/a"]
    before = await pages(client, sizes)
    hidden = [f"stranger/{name}" for name in "ae"] if who == "reader" else []
    hidden = [f"writer/{name}" for name in "ae"] if who in ("", "stranger") else hidden
    for name in (*hidden, "admin/a", "admin/z"):
        owner = name.partition("/")[0]
        await world.client(owner).push_image(name, "v1")
        if who == "":
            await world.publish(name, Visibility.INTERNAL)
    assert await pages(client, sizes) == before
