"""The audit: who did what, with which token, from where; who was refused; and never a secret."""

import argparse
import json

import pytest

from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from registry.audit import MOST, OVERFLOW, Line, Tally, network
from registry.audit_commands import audit_list, parse_time
from registry.gc import LEASE
from registry.running import local_api
from storage.clock import SECOND
from storage.database import Row
from storage.errors import Invalid, NotFound
from tests.registry.access import job
from tests.registry.client import Client, basic, digest_of
from tests.registry.world import PASSWORD, SetClock, World
from tests.storage.test_sql import STATEMENTS, plain

SUBNET = "127.0.0.0/24"
BEGUN = SetClock().at + SECOND
MADE = 9
"""Lines that a world begins with: its organization, three roles and five tokens."""


@pytest.fixture
def world(world: World) -> World:
    """A world a second after it was made, so that what happened since can be told from that."""
    world.clock.advance(1)
    return world


async def lines(world: World, owner: str | None = None) -> list[Row]:
    await world.services.audit.flush()
    owner_id = None if owner is None else (await world.services.accounts.get(owner)).id
    return list(await world.services.audit.list(owner_id, since=BEGUN))


async def told(world: World, owner: str | None = None) -> list[tuple[str, ...]]:
    return [
        (row["account"] or "", row["kind"], row["subject"], row["result"], str(row["times"]))
        for row in await lines(world, owner)
    ]


async def test_a_push_and_a_deletion_say_who_from_where_with_which_token(world: World) -> None:
    image = await world.client().push_image("acme/app", "v1")
    deleted = await world.client("owner").delete("/v2/acme/app/manifests/v1")
    push, delete = [row for row in await lines(world, "acme") if row["result"] == "done"]
    token = (await world.services.tokens.list("writer"))[0]["id"]
    assert (push["account"], push["token_id"], push["subject"]) == ("writer", token, "acme/app")
    assert (push["kind"], push["detail"]) == ("manifest.push", f"{image.digest} v1")
    assert (push["address"], push["at"]) == ("127.0.0.1", world.clock())
    assert push["request_id"] == image.response.headers["x-request-id"]
    assert (delete["account"], delete["kind"], delete["detail"]) == ("owner", "tag.delete", "v1")
    assert delete["request_id"] == deleted.headers["x-request-id"]


async def test_the_command_line_has_neither_account_nor_address(world: World) -> None:
    services = world.services
    await world.client().push_image("acme/app", "v1")
    world.clock.advance(1)
    await services.packages.set_visibility(OPERATOR, "acme/app", Visibility.PUBLIC)
    await services.organizations.add(OPERATOR, "acme", "reader", owner=False)
    await world.set_role("reader", Role.NONE)
    rows = [row for row in await lines(world, "acme") if row["at"] == world.clock()]
    assert [(row["kind"], row["subject"], row["detail"]) for row in rows] == [
        ("package.visibility", "acme/app", "public"),
        ("organization.add", "acme", "reader as member"),
        ("grant.remove", "acme", "read of reader"),
    ]
    assert {(row["account"], row["token_id"], row["address"]) for row in rows} == {(None, None, "")}


async def test_tokens_are_told_by_their_numbers(world: World) -> None:
    text = await world.mint("reader")
    await world.revoke(text)
    with pytest.raises(NotFound):
        await world.revoke(text)
    number = (await world.services.tokens.list("reader"))[-1]["id"]
    assert [(row["kind"], row["detail"]) for row in await lines(world, "reader")] == [
        ("token.create", f"token {number} (user)"),
        ("token.revoke", f"token {number} (user)"),
    ]
    await world.services.projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    await job(world, "acme/one")
    told = [(row["kind"], row["subject"]) for row in await lines(world, "acme")]
    assert told == [
        ("project.create", "acme/one"),
        ("robot.create", "acme+one"),
        ("token.create", "acme+one"),
    ]


async def test_a_refused_write_of_an_account_is_told_to_the_owner(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    for _ in range(3):
        await world.client("reader").post("/v2/acme/app/blobs/uploads/")
    await world.client("stranger").delete("/v2/acme/app/manifests/v1")
    assert (await told(world, "acme"))[1:] == [
        ("reader", "push", "acme/app", "denied", "3"),
        ("stranger", "delete", "acme/app", "denied", "1"),
    ]
    refused = (await lines(world, "acme"))[1]
    assert refused["token_id"] == (await world.services.tokens.list("reader"))[0]["id"]
    assert refused["address"] == "127.0.0.1"
    assert await told(world, "stranger") == []


async def test_an_ended_token_is_told(world: World) -> None:
    await world.revoke(world.tokens["writer"])
    await world.client().get("/v2/acme/app/tags/list")
    assert ("writer", "pull", "acme/app", "not signed in", "1") in await told(world, "acme")


async def test_nobody_is_counted_by_owner_and_network_whatever_the_name(world: World) -> None:
    for n in range(20):
        await world.client("").get(f"/v2/acme/secret-{n}/manifests/v1")
        await world.client("").get(f"/v2/globex-{n}/x/manifests/v1")
    assert await told(world, "acme") == [("", "pull", "", "not signed in", "20")]
    (row,) = await lines(world, "acme")
    assert row["address"] == SUBNET
    assert "secret" not in str([tuple(row) for row in await lines(world)])


async def test_the_first_step_of_a_sign_in_is_no_refusal(world: World) -> None:
    for path in ("/v2/", "/v2/_catalog", "/-/doctor", "/x"):
        await world.client("").get(path)
    assert await lines(world) == []


async def test_sign_ins_are_told_with_those_that_failed(world: World) -> None:
    await world.signed_in("reader").get("/token")
    for _ in range(2):
        await Client(world, basic("reader", "a wrong password")).get("/token")
    await Client(world, basic("no-such-user", "x")).get("/token")
    await Client(world, basic("my secret", "x")).get("/token")
    await Client(world, basic("a\0b", "x")).get("/token")
    assert await told(world) == [
        ("reader", "sign-in", "", "done", "1"),
        ("reader", "sign-in", "", "failed", "2"),
        ("", "sign-in", "", "failed", "1"),
        ("", "sign-in", "", "failed", "2"),
    ]
    assert [row[3] for row in await told(world, "reader")] == ["done", "failed"]


async def test_allowed_reads_write_nothing(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    before = len(await lines(world))
    for path in ("manifests/v1", "tags/list", f"referrers/{digest_of(b'')}"):
        assert (await world.client().get(f"/v2/acme/app/{path}")).is_success
    assert len(await lines(world)) == before


def test_the_tally_stays_small_under_a_flood() -> None:
    tally = Tally()
    for n in range(3 * MOST):
        tally.add(Line("pull", "not signed in", "", 0, f"owner-{n}", "", f"10.0.{n}.0/24"), "id")
    taken = tally.take()
    assert len(taken) <= MOST + OVERFLOW + 1
    assert sum(seen.times for seen in taken.values()) == 3 * MOST
    assert tally.take() == {}


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "an unknown address"),
        ("testclient", "an unknown address"),
    ],
)
def test_an_address_counts_as_its_network(client: str, counted: str) -> None:
    assert network(client) == counted


def test_no_statement_changes_the_audit_and_one_deletes_by_age() -> None:
    touching = {
        s.name for s in STATEMENTS if plain(s.sql).startswith(("update audit", "delete from audit"))
    }
    assert touching == {"registry.audit.DELETE_AUDIT"}


async def test_what_is_too_old_goes_and_the_rest_stays(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    world.clock.advance(world.config.audit_seconds - 11)
    await world.client().push_image("acme/app", "v2")
    term = await world.services.leases.acquire(LEASE, 60)
    assert term is not None
    await world.services.collector.round(term)
    assert len(await lines(world)) == 2
    world.clock.advance(20)
    await term.renew()
    assert (await world.services.collector.round(term)).removed["audit lines"] == MADE + 1
    (kept,) = await lines(world)
    assert kept["detail"].endswith(" v2")


async def test_no_secret_is_in_the_audit(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    bearer = await world.client().token("repository:acme/app:pull")
    for who in (world.signed_in("writer"), Client(world, basic(PASSWORD, PASSWORD))):
        await who.get("/token")
        await who.post("/v2/acme/app/blobs/uploads/")
    for text in (bearer, *world.tokens.values()):
        await Client(world, f"Bearer {text}x").get("/v2/acme/app/tags/list")
        await world.client("").get(f"/v2/{text.lower()}/app/tags/list")
        await world.client("").get(f"/v2/acme/app/tags/list?token={text}")
    kept = str([tuple(row) for row in await lines(world)]).lower()
    for secret in (PASSWORD, bearer, *world.tokens.values()):
        assert secret.lower() not in kept


async def test_the_task_writes_and_the_end_of_the_process_too(world: World) -> None:
    await world.client("reader").post("/v2/acme/app/blobs/uploads/")
    async with world.services.audit.running():
        pass
    assert await world.rows("select id from audit where result = 'denied'") != []


async def test_the_command_prints_a_line_of_json_each(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.client().push_image("acme/app", "v1")
    world.clock.advance(86400)
    await world.client().push_image("acme/app", "v2")
    await world.client("stranger").push_image("stranger/app", "v1")
    options = {"owner": "acme", "since": "2023-11-15", "json": True}
    async with local_api(world.services) as api:
        await audit_list(api, argparse.Namespace(**options))
    (line,) = capsys.readouterr().out.splitlines()
    shown = json.loads(line)
    assert (shown["account"], shown["did"], shown["to"]) == ("writer", "manifest.push", "acme/app")
    assert (shown["result"], shown["times"], shown["owner"]) == ("done", 1, "acme")
    async with local_api(world.services) as api:
        await audit_list(api, argparse.Namespace(owner=None, since=None, json=False))
    assert len(capsys.readouterr().out.splitlines()) == MADE + 3


def test_a_time_is_a_day_or_a_moment() -> None:
    assert parse_time("2026-11-21") == parse_time("2026-11-21T00:00:00Z")
    assert parse_time("2026-11-21T01:00:00+01:00") == parse_time("2026-11-21")
    assert parse_time("1970-01-02") == 86400 * SECOND
    for text in ("yesterday", "", "2026-13-01"):
        with pytest.raises(Invalid, match="is not a time"):
            parse_time(text)


@pytest.mark.parametrize("name", ["", "somebody"])
def test_nobody_crowds_out_what_is_told_of_others(name: str) -> None:
    tally, result = Tally(), "failed" if name else "not signed in"
    for n in range(3 * MOST):
        account = name and f"{name}{n}"
        tally.add(Line("api", result, account, 0, f"owner{n}", "", "192.0.2.0/24"), "id")
    theft = Line("delete", "denied", "stranger", 7, "acme", "acme/app", "192.0.2.7")
    tally.add(theft, "id")
    for n in range(3 * MOST):
        tally.add(Line("api", "denied", "stranger", 7, f"owner{n}", "", "192.0.2.7"), "id")
    taken = tally.take()
    assert taken[theft].times == 1
    assert len(taken) <= MOST + OVERFLOW + 1
    assert sum(seen.times for line, seen in taken.items() if line.account == "stranger") == (
        3 * MOST + 1
    )
