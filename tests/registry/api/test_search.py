"""Search over /api/v1: by which words a package is found, by whom, and until when."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from registry.package_texts import MOST_WORDS, WORD_LENGTH, text_of, words_of
from registry.search import LAST, parse_key, parse_words
from registry.search_terms import read_older
from registry.startup import prepare_database
from storage.errors import Invalid
from tests.registry.api.asking import problem
from tests.registry.api.test_packages import limited
from tests.registry.client import Client
from tests.registry.world import World

SEARCH = "/api/v1/search"
IMAGE = "org.opencontainers.image."
OUT_OF_STEP = """
select s.term from search_terms s join packages p on p.id = s.package_id
where s.visibility <> p.visibility or s.owner_id <> p.owner_id
"""
"""Terms that say something else of their package than it does."""


async def found(client: Client, words: str, n: int = 2, **query: Any) -> list[str]:
    """The names on all pages of a search."""
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        response = await client.get(SEARCH, params={"q": words, "n": n, "after": after, **query})
        assert response.status_code == 200, response.text
        page = response.json()
        assert len(page["items"]) <= n
        names += [item["name"] for item in page["items"]]
        after = page["next"]
    return names


async def test_a_package_is_found_by_the_words_of_its_name(world: World, writer: Client) -> None:
    await writer.push_image("acme/widget-server", "v1")
    await writer.push_image("acme/tools/widget_cli", "v1")
    both = ["acme/widget-server", "acme/tools/widget_cli"]
    for words, names in {
        "widget": both,
        "WIDG": both,
        "acme widget": both,
        "widget-server": both[:1],
        "server widget": both[:1],
        "acme/tools/wid": both[1:],
        "widge server": [],  # only the last word may be a beginning
        "idget": [],
        "widget widget": both,
        "a": both,
    }.items():
        assert await found(writer, words) == names, words


async def test_a_package_is_found_by_what_its_annotations_say(world: World, writer: Client) -> None:
    said = {
        f"{IMAGE}title": "Groß\nRechner\u001b[31m",
        f"{IMAGE}description": "Counts sheep, quickly.",
        f"{IMAGE}source": "https://example.com/farm/sheep",
        f"{IMAGE}licenses": "MPL-2.0",
        "other": "wolves",
    }
    await writer.push_image("acme/app", "v1", annotations=said)
    response = await writer.get(SEARCH, params={"q": "sheep"})
    assert response.json()["items"] == [
        {
            "name": "acme/app",
            "format": "container",
            "visibility": "private",
            "project": None,
            "title": "Groß Rechner [31m",
            "description": "Counts sheep, quickly.",
            "source": "https://example.com/farm/sheep",
            "licenses": "MPL-2.0",
        }
    ]
    for words in ("GROSS rech", "farm", "mpl 2", "app sheep quick"):
        assert await found(writer, words) == ["acme/app"], words
    for words in ("wolves", "https", "sheep wolves"):
        assert await found(writer, words) == [], words


async def test_the_newest_tagged_manifest_says_what_a_package_is_about(
    world: World, writer: Client
) -> None:
    about = [{f"{IMAGE}title": f"title {word}"} for word in ("first", "second", "third")]
    first = await writer.push_image("acme/app", "v1", b"1", annotations=about[0])
    await writer.push_image("acme/app", "v2", b"2", annotations=about[1])
    assert (await found(writer, "first"), await found(writer, "second")) == ([], ["acme/app"])
    third = await writer.push_image("acme/app", "", b"3", annotations=about[2])
    await writer.push_artifact(
        "acme/app",
        "sha256-" + first.digest[7:] + ".sig",
        "application/x-signature",
        annotations=about[2],
    )
    assert (await found(writer, "third"), await found(writer, "second")) == ([], ["acme/app"])
    moved = await writer.put("/api/v1/packages/acme/app/tags/v3", json={"digest": third.digest})
    assert moved.status_code == 200
    assert (await found(writer, "third"), await found(writer, "second")) == (["acme/app"], [])
    await writer.push_image("acme/app", "v4", b"4")
    assert (await found(writer, "third"), await found(writer, "app")) == ([], ["acme/app"])


async def test_a_search_finds_what_the_caller_may_see_and_nothing_else(world: World) -> None:
    writer, services = world.client("writer"), world.services
    for name in ("one", "two", "three", "four"):
        await writer.push_image(f"acme/thing-{name}", "v1")
    await world.client("stranger").push_image("stranger/thing", "v1")
    await world.publish("acme/thing-one")
    await world.publish("acme/thing-two", Visibility.INTERNAL)
    one, two, three, four = (f"acme/thing-{name}" for name in ("one", "two", "three", "four"))
    assert await found(world.client(""), "thing") == [one]
    assert await found(world.client("stranger"), "thing") == [one, two, "stranger/thing"]
    for person in ("reader", "writer", "owner"):
        assert await found(world.client(person), "thing") == [one, two, three, four], person
    assert await found(world.client("admin"), "thing") == [one, two, three, four, "stranger/thing"]
    await services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    widget = await services.projects.get("acme/widget")
    await services.packages.link(OPERATOR, three, widget)
    await services.accounts.grant(OPERATOR, PROJECT, widget, "stranger", Role.READ)
    four_id = (await services.packages.get(four))["id"]
    await services.accounts.grant(OPERATOR, PACKAGE, four_id, "stranger", Role.READ)
    seen = await found(world.client("stranger"), "thing")
    assert seen == [one, two, three, four, "stranger/thing"]
    problem(await world.client("").get(SEARCH), 400, "no-such-query", "q")


async def test_a_search_is_filtered(world: World) -> None:
    await world.client("writer").push_image("acme/thing", "v1")
    await world.client("stranger").push_image("stranger/thing", "v1")
    await world.publish("acme/thing")
    admin, stranger = world.client("admin"), world.client("stranger")
    assert await found(admin, "thing", owner="Stranger") == ["stranger/thing"]
    assert await found(stranger, "thing", owner="acme") == ["acme/thing"]
    assert await found(stranger, "thing", owner="stranger") == ["stranger/thing"]
    assert await found(stranger, "thing", visibility="private") == ["stranger/thing"]
    assert await found(world.client(""), "thing", visibility="private") == []
    assert await found(admin, "thing", visibility="public") == ["acme/thing"]
    assert await found(admin, "thing", format="npm") == []
    assert await found(admin, "thing", owner="nobody") == []


async def test_a_token_with_limits_finds_what_they_cover(world: World) -> None:
    writer = world.client("writer")
    for name in ("open", "inner", "mine", "other"):
        await writer.push_image(f"acme/thing-{name}", "v1")
    await world.publish("acme/thing-open")
    await world.publish("acme/thing-inner", Visibility.INTERNAL)
    mine = (await world.services.packages.get("acme/thing-mine"))["id"]
    for person in ("writer", "admin"):
        client = await limited(world, person, PACKAGE, mine)
        assert await found(client, "thing") == ["acme/thing-open", "acme/thing-mine"], person
        assert await found(client, "thing", owner="acme", visibility="internal") == []
    acme = (await world.services.accounts.get("acme")).id
    outside = await limited(world, "stranger", OWNER, acme)
    assert await found(outside, "thing") == ["acme/thing-open", "acme/thing-inner"]


async def test_search_follows_every_change_of_a_package(world: World, writer: Client) -> None:
    await writer.push_image("acme/thing", "v1", annotations={f"{IMAGE}title": "Marvel"})
    owner, stranger = world.client("owner"), world.client("stranger")
    thing = "/api/v1/packages/acme/thing"
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    assert await found(stranger, "marvel") == []
    for body, seen in (
        ({"visibility": "public"}, True),
        ({"visibility": "private"}, False),
        ({"project": "acme/widget"}, True),
        ({"project": None}, False),
        ({"project": "acme/widget"}, True),
    ):
        assert (await owner.patch(thing, json=body)).status_code == 200
        assert (await found(stranger, "marvel") != []) is seen, body
        assert await world.rows(OUT_OF_STEP) == [], body
    await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.PRIVATE)
    assert await found(stranger, "marvel") == []
    assert await world.rows(OUT_OF_STEP) == []
    await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.INTERNAL)
    assert await found(stranger, "marvel") == ["acme/thing"]
    await owner.patch(thing, json={"name": "gadget"})
    assert (await found(owner, "thing"), await found(owner, "gadg")) == ([], ["acme/gadget"])
    gadget = "/api/v1/packages/acme/gadget"
    await owner.delete(gadget)
    assert await found(owner, "marvel") == []
    assert await world.rows("select term from search_terms") == []
    await owner.post(f"{gadget}/restore")
    assert await found(owner, "marvel gadget") == ["acme/gadget"]
    await owner.delete(gadget)
    await writer.push_image("acme/gadget", "v1", annotations={f"{IMAGE}title": "Marvel"})
    assert await found(owner, "marvel") == ["acme/gadget"]
    await world.client("admin").patch(gadget, json={"owner": "stranger"})
    assert await found(stranger, "marvel gadget", owner="stranger") == ["stranger/gadget"]
    assert await found(world.client("reader"), "marvel", owner="acme") == []
    assert await world.rows(OUT_OF_STEP) == []


async def test_metadata_opens_a_package_to_search_as_it_does_to_pulls(
    world: World, writer: Client
) -> None:
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await world.services.projects.add_source(OPERATOR, "acme/widget", "https://example.com/w")
    await world.services.accounts.set_default_visibility(OPERATOR, "acme", Visibility.PUBLIC)
    await writer.push_image(
        "acme/thing", "v1", annotations={f"{IMAGE}source": "https://example.com/w"}
    )
    assert await found(world.client(""), "thing") == []
    (row,) = await world.rows("select distinct visibility from search_terms")
    assert row["visibility"] == Visibility.PRIVATE


async def test_words_and_keys_that_are_none_are_refused(world: World) -> None:
    admin = world.client("admin")
    for words in ("", "-", "\U0010ffff", " ".join("abcdefghi"), "x" * 201, "a\0"):
        response = await admin.get(SEARCH, params={"q": words})
        assert response.status_code == 400, words
    good = "0.1.app"
    assert (await admin.get(SEARCH, params={"q": "app", "after": good})).status_code == 200
    for after in ("x", "0.1", "0.1.b", "1.1.app", "0.-1.app", f"0.{10**19}.app", f"{good}\0"):
        response = await admin.get(SEARCH, params={"q": "app", "after": after})
        assert response.status_code == 400, after
    for words in ("%", "_ _", "'; drop table packages", "app*", "\\"):
        assert (await admin.get(SEARCH, params={"q": words})).status_code in (200, 400)
    assert await found(admin, "x" * (WORD_LENGTH + 9)) == []


async def test_no_page_repeats_or_leaves_out_a_package(world: World, writer: Client) -> None:
    """Pages go through several words that begin alike; a package has many of them."""
    names = [f"acme/pear-pea-peak{n}" for n in range(7)]
    for name in names:
        await writer.push_image(name, "v1")
    for words in ("pea", "p", "peak", "pear pea", "acme p"):
        for n in (1, 2, 3, 7):
            assert sorted(await found(writer, words, n=n)) == names, (words, n)


async def test_pages_go_on_where_another_word_is_the_rarest_meanwhile(
    world: World, writer: Client
) -> None:
    for name in ("oak-elm-a", "oak-elm-b", "elm-c"):
        await writer.push_image(f"acme/{name}", "v1")
    first = (await writer.get(SEARCH, params={"q": "elm oak", "n": 1})).json()
    for name in ("oak-d", "oak-e", "oak-f"):
        await writer.push_image(f"acme/{name}", "v1")
    query = {"q": "elm oak", "n": 1, "after": first["next"]}
    rest = (await writer.get(SEARCH, params=query)).json()
    names = [item["name"] for page in (first, rest) for item in page["items"]]
    assert (names, rest["next"]) == (["acme/oak-elm-a", "acme/oak-elm-b"], None)


async def test_what_is_older_than_the_search_is_read_once(world: World, writer: Client) -> None:
    said = {f"{IMAGE}title": "Ancient"}
    pushed = await writer.push_image("acme/old", "v1", annotations=said)
    await writer.push_artifact(
        "acme/old", "sha256-" + pushed.digest[7:] + ".sig", "application/x-signature"
    )
    await writer.push_image("acme/gone", "v1", annotations=said)
    await world.client("owner").delete("/api/v1/packages/acme/gone")
    await writer.push_blob("acme/begun", b"blob")
    await world.services.database.execute("delete from search_terms")
    await world.services.database.execute("delete from package_texts")
    assert await found(writer, "ancient") == []
    async with world.another_worker() as other:
        counts = await asyncio.gather(
            *(read_older(one.services.database, world.clock()) for one in (world, other))
        )
    assert max(counts) >= 1
    assert await found(writer, "ancient") == ["acme/old"]
    assert await read_older(world.services.database, world.clock()) == 0
    restored = await world.client("owner").post("/api/v1/packages/acme/gone/restore")
    assert restored.status_code == 200
    assert sorted(await found(writer, "gone")) == ["acme/gone"]


async def test_a_start_reads_what_is_older_than_the_search(world: World, writer: Client) -> None:
    await writer.push_image("acme/old", "v1")
    await world.services.database.execute("delete from search_terms")
    await world.services.database.execute("delete from package_texts")
    await asyncio.to_thread(prepare_database, world.config)
    assert await found(writer, "old") == ["acme/old"]


async def test_most_pushes_write_no_words(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1", b"1", annotations={f"{IMAGE}title": "Same"})
    (before,) = await world.rows("select updated_at from package_texts")
    world.clock.advance(1)
    await writer.push_image("acme/app", "v2", b"2", annotations={f"{IMAGE}title": "Same"})
    assert (await world.rows("select updated_at from package_texts"))[0][0] == before[0]
    await writer.push_image("acme/app", "v2", b"2")
    assert (await world.rows("select updated_at from package_texts"))[0][0] > before[0]


@pytest.mark.parametrize("value", [1, None, ["x"], {"a": "b"}])
def test_annotations_that_are_not_text_are_nothing(value: object) -> None:
    data = json.dumps({"annotations": {f"{IMAGE}title": value}}).encode()
    assert text_of(data).title == ""


def test_a_text_is_short_and_its_source_a_page() -> None:
    said = {f"{IMAGE}{key}": "javascript:x " + "word" * 1000 for key in ("title", "source")}
    text = text_of(json.dumps({"annotations": said}).encode())
    assert (len(text.title), text.source) == (200, "")
    many = {f"{IMAGE}description": " ".join(map(str, range(500)))}
    assert len(text_of(json.dumps({"annotations": many}).encode()).terms) == MOST_WORDS


@given(st.text())
def test_words_are_words_whatever_comes(text: str) -> None:
    words = words_of([text])
    assert words_of([" ".join(words)]) == words
    assert all(word.isprintable() and 0 < len(word) <= WORD_LENGTH for word in words)
    assert all(word < LAST for word in words)


@given(st.text(), st.from_regex(r"[0-9]\.[0-9]+\.\w+", fullmatch=True) | st.text())
def test_what_a_key_says_stays_within_its_search(text: str, after: str) -> None:
    try:
        words = parse_words(text)
        at = parse_key(after, words)
    except Invalid:
        return
    first, last = words.bounds(at.lead)
    assert first <= at.term <= last
    assert 0 <= at.package_id < 10**18
