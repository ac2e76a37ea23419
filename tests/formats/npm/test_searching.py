"""npm search: what is asked, and what is found of what one may see."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.principals import Scope, Visibility
from formats.npm.questions import Wanted, parse_question
from registry.packaging.summaries import MAX_FRAGMENT
from storage.errors import Invalid
from tests.formats.npm.shop import Shop, told
from tests.registry.client import Client
from tests.registry.world import World

SEARCH = "/npm/-/v1/search"


@pytest.fixture
async def shop(world: World) -> Shop:
    """A shop with a public package, a private one, one of another scope, and an image."""
    made = Shop(world)
    await made.publish(
        "@acme/pad",
        visibility=Visibility.PUBLIC,
        description="Pads text to the left",
        keywords=["strings", "Left"],
        license="MIT",
        homepage="https://pad.example.org",
        repository="github:acme/pad",
    )
    await made.publish("@acme/secret-pad", description="Pads in secret", keywords="one, two")
    await made.publish("@writer/pad", visibility=Visibility.PUBLIC, description="Another")
    await world.client("writer").push_image("acme/pad", "1.0.0")
    await world.publish("acme/pad")
    return made


async def search(client: Client, text: str, **options: Any) -> list[str]:
    """The names that are found."""
    response = await client.get(SEARCH, params={"text": text, **options})
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["total"] >= len(found["objects"])
    return [each["package"]["name"] for each in found["objects"]]


async def test_a_package_is_found_with_all_that_clients_print(shop: Shop) -> None:
    (row,) = await shop.world.rows(
        "select v.published_at from package_versions v join packages p on p.id = v.package_id "
        "where p.repository = 'acme/npm/pad'"
    )
    assert row["published_at"] == shop.world.clock.at
    response = await shop.person().get(SEARCH, params={"text": "left text"})
    [found] = response.json()["objects"]
    people = [{"username": "acme", "email": ""}, {"username": "writer", "email": ""}]
    assert found["package"] == {
        "name": "@acme/pad",
        "scope": "acme",
        "version": "1.0.0",
        "description": "Pads text to the left",
        "keywords": ["strings", "Left"],
        "date": "2023-11-14T22:13:20Z",
        "links": {
            "homepage": "https://pad.example.org",
            "repository": "https://github.com/acme/pad",
        },
        "publisher": people[1],
        "maintainers": people,
        "license": "MIT",
    }
    assert set(found) == {"package", "score", "searchScore", "updated", "flags"}


async def test_everybody_finds_what_he_may_see(shop: Shop) -> None:
    for name, seen in (
        ("", {"@acme/pad", "@writer/pad"}),
        ("stranger", {"@acme/pad", "@writer/pad"}),
        ("reader", {"@acme/pad", "@acme/secret-pad", "@writer/pad"}),
    ):
        assert set(await search(shop.person(name), "pad")) == seen
        assert set(await search(shop.person(name), "")) == seen


FOUND = {
    "scope:acme": ["@acme/pad", "@acme/secret-pad"],
    "scope:@acme pad": ["@acme/pad", "@acme/secret-pad"],
    "scope:nobody": [],
    "keywords:strings": ["@acme/pad"],
    "keywords:left,strings": ["@acme/pad"],
    "keywords:two,nothing": ["@acme/secret-pad"],
    "keywords:pads": [],
    "strings": ["@acme/pad"],
    "maintainer:writer": ["@acme/pad", "@acme/secret-pad", "@writer/pad"],
    "author:acme pad": ["@acme/pad", "@acme/secret-pad"],
    "maintainer:reader": [],
    "secr": ["@acme/secret-pad"],
    "not:deprecated secret": ["@acme/secret-pad"],
    "not:unstable secret": ["@acme/secret-pad"],
    "nothing-like-it": [],
}
"""What a reader of acme finds by each text: nothing is written between."""


async def test_qualifiers_choose(shop: Shop) -> None:
    reader = shop.person("reader")
    assert {text: sorted(await search(reader, text)) for text in FOUND} == FOUND


async def test_unstable_versions_are_left_out_where_that_is_wanted(shop: Shop) -> None:
    await shop.publish("@acme/young", "0.1.0")
    reader = shop.person("reader")
    assert await search(reader, "young") == ["@acme/young"]
    assert await search(reader, "young not:unstable") == []


async def test_a_package_is_found_by_the_keywords_of_its_latest_version(shop: Shop) -> None:
    await shop.publish("@acme/pad", "1.0.1", description="Pads text to the left")
    reader = shop.person("reader")
    assert await search(reader, "strings") == await search(reader, "keywords:strings") == []
    await shop.publish("@acme/pad", "1.0.2", description="Pads text", keywords=["strings"])
    assert await search(reader, "strings") == ["@acme/pad"]


async def test_a_search_has_pages(shop: Shop) -> None:
    for number in range(7):
        await shop.publish(f"@acme/many-{number}")
    reader, found = shop.person("reader"), []
    for start in range(0, 9, 3):
        found += await search(reader, "many", size=3, **{"from": start})
    assert found == [f"@acme/many-{number}" for number in range(7)]
    assert await search(reader, "many", size=0) == []
    assert len(await search(reader, "many", size=10**9)) == 7
    told(await reader.get(SEARCH, params={"text": "many", "from": 1001}), 400, "more words")


@pytest.mark.parametrize("text", ["many not:unstable", "scope:owner not:unstable"])
async def test_a_search_goes_on_where_much_is_left_out(shop: Shop, text: str) -> None:
    for number in range(6):
        version = "1.0.0" if number == 5 else "0.1.0"
        await shop.publish(f"@owner/many-{number}", version, by="owner")
    assert await search(shop.person("owner"), text, size=1) == ["@owner/many-5"]


async def test_deleted_packages_and_versions_are_not_found(shop: Shop) -> None:
    await shop.world.client("owner").delete("/v2/acme/npm/pad/manifests/1.0.0")
    assert await search(shop.person("reader"), "scope:acme") == ["@acme/secret-pad"]
    assert await search(shop.person("reader"), "left") == []


REFUSED = (
    "text=" + "x" * 501,
    "text=%00",
    "text=" + "+".join("abcdefghi"),
    "text=is:insecure",
    "text=scope:a/b",
    "text=scope:%2e%2e",
    "text=pad&size=x",
    "text=pad&from=-1",
    "text=...",
)


async def test_what_cannot_be_searched_for_is_refused(shop: Shop) -> None:
    for query in REFUSED:
        told(await shop.person("reader").get(f"{SEARCH}?{query}"), 400)


async def test_a_token_that_may_not_read_finds_nothing(shop: Shop) -> None:
    token = await shop.world.mint("reader", Scope.WRITE)
    told(await shop.holder(token).get(SEARCH, params={"text": "pad"}), 403)


@given(st.text(max_size=600))
def test_any_text_is_a_question_or_refused(text: str) -> None:
    try:
        wanted = parse_question(text)
    except Invalid:
        return
    assert isinstance(wanted, Wanted)
    assert len(wanted.words) <= len(text)


async def test_what_a_version_says_at_length_is_not_read_for_a_search(shop: Shop) -> None:
    await shop.publish("@acme/wordy", description="Wordy pads", more="x" * MAX_FRAGMENT)
    response = await shop.person("reader").get(SEARCH, params={"text": "wordy"})
    [found] = response.json()["objects"]
    assert (found["package"]["name"], found["package"]["version"]) == ("@acme/wordy", "1.0.0")
    assert found["package"]["description"] == ""
