"""Tags of a repository: ASCII order, pages with Link, and how tags come and go."""

import json
import random
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.registry.client import Client, refused
from tests.registry.world import World

PATH = "/v2/acme/app/tags/list"
ODD_TAGS = [
    "10",
    "9",
    "A",
    "Z",
    "_",
    "_a",
    "a",
    "a-b",
    "a.b",
    "a_b",
    "latest",
    "v1.0",
    "v1.0-rc",
    "z",
]


INSERT_TAGS = """
insert into tags (repository_id, name, manifest_id, created_at, updated_at)
select cast($1 as bigint), value, cast($2 as bigint), 0, 0 from json_each(cast($3 as text))
"""


async def make_tags(world: World, client: Client, tags: Iterable[str]) -> None:
    """Give one manifest many tags, by rows: pushes are tested elsewhere."""
    await client.push_image("acme/app", "seed")
    (seed,) = await world.rows("select repository_id, manifest_id from tags")
    database, repository = world.services.database, seed["repository_id"]
    await database.execute("delete from tags where repository_id = $1", repository)
    await database.execute(INSERT_TAGS, repository, seed["manifest_id"], json.dumps(list(tags)))


async def test_tags_are_in_ascii_order(writer: Client) -> None:
    image = await writer.push_image("acme/app", "seed")
    shuffled = random.Random(1).sample(ODD_TAGS, len(ODD_TAGS))
    for tag in shuffled:
        await writer.push_manifest("acme/app", tag, image.data, image.media_type)
    await writer.delete("/v2/acme/app/manifests/seed")
    response = await writer.get(PATH)
    assert response.json() == {"name": "acme/app", "tags": sorted(ODD_TAGS)}
    assert response.headers["content-type"] == "application/json"
    assert "link" not in response.headers


@pytest.mark.parametrize("size", [1, 3, 14, 15])
async def test_pages_follow_link(world: World, writer: Client, size: int) -> None:
    await make_tags(world, writer, ODD_TAGS)
    pages = [page async for page in writer.pages(f"{PATH}?n={size}")]
    found = [page.json()["tags"] for page in pages]
    assert [tag for tags in found for tag in tags] == sorted(ODD_TAGS)
    assert all(len(tags) == size for tags in found[:-1])
    assert found[-1] != []
    assert all(page.json()["name"] == "acme/app" for page in pages)


async def test_link_is_of_this_host_and_well_formed(world: World, writer: Client) -> None:
    await make_tags(world, writer, ODD_TAGS)
    response = await writer.get(f"{PATH}?n=2&last=A")
    assert response.json()["tags"] == ["Z", "_"]
    link = response.headers["link"]
    assert link.startswith("</v2/acme/app/tags/list?")
    assert link.endswith('>; rel="next"')
    assert parse_qs(urlsplit(link[1 : link.index(">")]).query) == {"n": ["2"], "last": ["_"]}


async def test_last_need_not_exist(world: World, writer: Client) -> None:
    await make_tags(world, writer, ODD_TAGS)
    for last, first in (("", "10"), ("5", "9"), ("a0", "a_b"), ("zz", None), ("é", None)):
        response = await writer.get(PATH, params={"last": last})
        assert response.json()["tags"][:1] == ([] if first is None else [first]), last


async def test_an_exact_page_has_no_next(world: World, writer: Client) -> None:
    await make_tags(world, writer, ["a", "b"])
    assert "link" not in (await writer.get(f"{PATH}?n=2")).headers
    assert "link" in (await writer.get(f"{PATH}?n=1")).headers


async def test_more_than_ten_thousand_tags_come_in_pages(world: World, writer: Client) -> None:
    tags = [f"t{number}" for number in range(10_001)]
    await make_tags(world, writer, tags)
    for query in ("", "?n=2147483648", "?n=99999999999999999999", "?n=20000"):
        first = await writer.get(PATH + query)
        assert len(first.json()["tags"]) == 10_000
    found = [tag async for page in writer.pages(PATH) for tag in page.json()["tags"]]
    assert found == sorted(tags)


async def test_zero_tags_are_an_empty_list_without_link(world: World, writer: Client) -> None:
    await make_tags(world, writer, ODD_TAGS)
    response = await writer.get(f"{PATH}?n=0")
    assert response.json() == {"name": "acme/app", "tags": []}
    assert "link" not in response.headers


async def test_a_number_that_is_none_is_refused(writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    for number in ("-1", "abc", "1.5", "", "+1", " 1", "0x10", "1e3", "\u0661"):
        response = await writer.get(PATH, params={"n": number})
        refused(response, 400, "UNSUPPORTED", "'n' is not a whole number")


async def test_a_repository_that_may_be_made_answers_as_empty(writer: Client) -> None:
    response = await writer.get("/v2/acme/not-yet/tags/list")
    assert (response.status_code, response.json()["tags"]) == (200, [])


async def test_a_tag_of_another_repository_is_not_listed(writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/app/sub", "v2")
    await writer.push_image("acme/ap", "v3")
    assert (await writer.get(PATH)).json()["tags"] == ["v1"]


async def test_a_tag_moves_in_the_history(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1", b"one")
    await writer.push_image("acme/app", "v1", b"two")
    await writer.delete("/v2/acme/app/manifests/v1")
    rows = await world.rows("select name, content_id from tag_history order by id")
    assert [row["name"] for row in rows] == ["v1"] * 3
    assert rows[0]["content_id"] != rows[1]["content_id"]
    assert rows[2]["content_id"] is None
