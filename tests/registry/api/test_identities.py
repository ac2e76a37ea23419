"""Identities of providers over /api/v1."""

import pytest

from auth.accounts import OWNER
from auth.identities import Identities
from auth.providers import Provider
from tests.registry.api.asking import limited, problem
from tests.registry.client import Client
from tests.registry.person import Person
from tests.registry.world import World

ISSUER = "https://login.example.com"
READERS = "/api/v1/users/reader/identities"
NEW = {"issuer": ISSUER, "subject": "u 1/ü"}


@pytest.fixture
async def admin(world: World) -> Client:
    """An administrator of a site that has a provider."""
    await world.reconfigure(openid=(Provider("corp", ISSUER, "packhouse"),))
    return world.client("admin")


async def test_an_administrator_links_what_a_provider_calls_a_user(
    world: World, admin: Client
) -> None:
    made = await admin.post(READERS.replace("reader", "Reader"), json=NEW)
    assert made.status_code == 201
    assert {key: made.json()[key] for key in NEW} == NEW
    assert made.json()["last_used_at"] is None
    assert (await admin.post(READERS, json=NEW)).json() == made.json()
    assert (await world.client("reader").get(READERS)).json()["items"] == [made.json()]
    others = READERS.replace("reader", "writer")
    problem(await admin.post(others, json=NEW), 409, "conflict", "linked to 'reader'")
    problem(await admin.delete(f"{others}/{made.json()['id']}"), 404, "not-found", "no identity")
    (line,) = await world.rows("select * from audit where kind = 'user.link'")
    account = await world.services.accounts.get("admin")
    assert (line["account_id"], line["subject"]) == (account.id, "reader")
    assert line["detail"] == f"{ISSUER} u 1/ü"


async def test_the_end_of_a_link_is_the_end_of_the_sessions(world: World, admin: Client) -> None:
    (first, second) = [
        (await admin.post(READERS, json={**NEW, "subject": subject})).json()["id"]
        for subject in ("one", "two")
    ]
    person = await Person(world).signed_in("reader")
    page = (await admin.get(READERS, params={"n": 1})).json()
    assert ([one["subject"] for one in page["items"]], page["next"]) == (["one"], str(first))
    assert (await admin.delete(f"{READERS}/{first}")).status_code == 204
    assert not await person.is_signed_in()
    problem(await admin.delete(f"{READERS}/{first}"), 404, "not-found")
    left = (await admin.get(READERS)).json()["items"]
    assert [one["id"] for one in left] == [second]


async def test_what_no_provider_says_is_refused(world: World, admin: Client) -> None:
    for wrong, words in (
        ({**NEW, "issuer": ISSUER + "/"}, f"it has {ISSUER}"),
        ({**NEW, "subject": ""}, "not what is expected"),
        ({**NEW, "subject": "x" * 256}, "not what is expected"),
        ({**NEW, "subject": "a\x1b[31m"}, "calls anybody"),
        ({**NEW, "more": 1}, "not what is expected"),
    ):
        problem(await admin.post(READERS, json=wrong), 400, "invalid", words)
    nobody = READERS.replace("reader", "acme")
    for answer in (await admin.post(nobody, json=NEW), await admin.get(nobody)):
        problem(answer, 404, "not-found", "no user named 'acme'")
    assert await world.rows("select id from identities") == []


async def test_nobody_links_himself(world: World, admin: Client) -> None:
    """Who links an identity signs in as that user: it takes an administrator of the site."""
    made = (await admin.post(READERS, json=NEW)).json()["id"]
    boundless = (OWNER, (await world.services.accounts.get("acme")).id)
    identities = Identities(world.services.database, world.services.accounts, world.clock)
    for client in (
        world.client("reader"),
        world.client("owner"),
        await limited(world, "admin", boundless),
    ):
        problem(await client.post(READERS, json={**NEW, "subject": "mine"}), 403, "denied")
        problem(await client.delete(f"{READERS}/{made}"), 403, "denied")
    problem(await world.client("owner").get(READERS), 403, "denied", "belongs to reader")
    problem(await world.client("").get(READERS), 401, "not-signed-in")
    assert len(await identities.list("reader")) == 1
