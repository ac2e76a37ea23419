"""The audit over /api/v1."""

import json
from typing import Any

from auth.accounts import PROJECT
from auth.audit import OPERATOR, note
from auth.principals import Visibility
from storage.database import Transaction
from tests.registry.api.asking import limited, problem
from tests.registry.client import Client
from tests.registry.world import World

AUDIT = "/api/v1/audit"
ACME = "/api/v1/owners/acme/audit"
LINES = {"Accept": "application/x-ndjson"}


async def did(client: Client, path: str, **params: object) -> list[str]:
    response = await client.get(path, params={key: str(value) for key, value in params.items()})
    assert response.status_code == 200, response.text
    return [line["did"] for line in response.json()["items"]]


async def test_an_owner_reads_what_concerns_it(world: World) -> None:
    owner = world.client("owner")
    made = await owner.post("/api/v1/owners/acme/projects", json={"name": "widget"})
    lines = (await owner.get(ACME)).json()["items"]
    assert lines[-1] | {"id": 0, "token": 0} == {
        "id": 0,
        "at": "2023-11-14T22:13:20Z",
        "account": "owner",
        "token": 0,
        "address": "127.0.0.1",
        "did": "project.create",
        "owner": "acme",
        "to": "acme/widget",
        "result": "done",
        "detail": "private",
        "times": 1,
        "request": made.headers["x-request-id"],
    }
    assert {line["owner"] for line in lines} == {"acme"}
    assert (lines[0]["account"], lines[0]["address"]) == ("", "")
    for name in ("writer", "stranger"):
        problem(await world.client(name).get(ACME), 403, "denied", "administer acme")
    problem(await owner.get(AUDIT), 403, "denied", "no administrator of this site")
    project = await world.services.projects.get("acme/widget")
    within = await limited(world, "owner", (PROJECT, project))
    problem(await within.get(ACME), 403, "denied")


async def test_the_audit_comes_page_by_page_and_since_a_time(world: World) -> None:
    admin = world.client("admin")
    whole = await did(admin, AUDIT, n=1000)
    paged, after = [], "0"
    while after is not None:
        page = (await admin.get(AUDIT, params={"n": 3, "after": after})).json()
        paged += [line["did"] for line in page["items"]]
        after = page["next"]
    assert paged == whole
    assert len(whole) > 6
    world.clock.advance(60)
    await world.services.projects.create(OPERATOR, "acme/late", Visibility.PRIVATE)
    assert await did(admin, AUDIT, since="2023-11-14T22:14:20Z") == ["project.create"]
    assert await did(admin, ACME, since="2023-11-14T23:14:20+01:00") == ["project.create"]
    for query in ("since=2023-11-14", "since=0.5", "since=x"):
        problem(await admin.get(f"{AUDIT}?{query}"), 400, "invalid", "not a time")
    for query in ("after=-1", "after=9999999999999999999"):
        problem(await admin.get(f"{AUDIT}?{query}"), 400, "no-such-query")


async def test_all_of_it_comes_as_json_lines(world: World) -> None:
    admin = world.client("admin")
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)

    async def work(tx: Transaction) -> None:
        for n in range(1003):
            await note(tx, OPERATOR, "project.source.add", None, f"acme/{n}", n)

    await world.services.database.write(work)
    response = await admin.get(AUDIT, headers=LINES)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.headers["cache-control"] == "no-store"
    lines: list[dict[str, Any]] = [json.loads(line) for line in response.text.splitlines()]
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
    assert len(lines) > 1010
    page = (await admin.get(AUDIT, params={"n": 1})).json()["items"]
    assert lines[0] == page[0]
    rest = await admin.get(AUDIT, params={"after": lines[-3]["id"]}, headers=LINES)
    assert [json.loads(line) for line in rest.text.splitlines()] == lines[-2:]
    problem(await world.client("owner").get(AUDIT, headers=LINES), 403, "denied")


async def test_refusals_of_the_api_are_told_without_what_was_asked_for(world: World) -> None:
    stranger, text = world.client("stranger"), await world.mint("writer")
    for _ in range(2):
        problem(await stranger.delete("/api/v1/projects/acme/x/sources/a.b%2Fc"), 403, "denied")
    problem(await stranger.get(f"/api/v1/users/{text[4:]}"), 403, "denied")
    problem(await world.client("").get("/api/v1/owners/acme"), 401, "not-signed-in")
    await world.services.audit.flush()
    page = await world.client("admin").get(AUDIT, params={"n": 1000})
    refusals = [line for line in page.json()["items"] if line["did"] == "api"]
    keys = ("account", "address", "owner", "to", "result", "times")
    assert [tuple(line[key] for key in keys) for line in refusals] == [
        (
            "stranger",
            "127.0.0.1",
            "acme",
            "DELETE /api/v1/projects/{owner}/{project}/sources/{source}",
            "denied",
            2,
        ),
        ("stranger", "127.0.0.1", "stranger", "GET /api/v1/users/{user}", "denied", 1),
        ("", "127.0.0.0/24", "acme", "", "not signed in", 1),
    ]
    assert text[4:] not in page.text
