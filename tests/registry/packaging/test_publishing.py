"""A version is published once: all of it, or nothing."""

import asyncio
import hashlib
import json
from collections.abc import Sequence

import pytest

from auth.audit import OPERATOR
from auth.errors import NotSignedIn
from auth.principals import Role, Visibility
from registry.app import wire
from registry.errors import ReservedName, VersionExists
from registry.packaging import entry
from registry.packaging.formats import Formats
from storage.database import Database, Row, T, Value, Work
from storage.digest import Digest
from storage.errors import Conflict, Denied, Invalid, NotFound, TooLarge, Unavailable
from storage.names import Tag, parse_repository
from tests.registry.client import Client
from tests.registry.packaging.generic import BIN, Generic, facts
from tests.registry.packaging.shelf import FORMATS, PAD, Shelf, document, once

FIRST = {"package": "acme:pad", "version": "1.0.0"}


async def test_a_version_is_an_artifact(shelf: Shelf, writer: Client) -> None:
    made = await shelf.publish("1.0.0", "beta", description="pads\ntext", source="https://x.test/a")
    pulled = await writer.get(f"/v2/{PAD}/manifests/1.0.0")
    manifest = json.loads(pulled.content)
    assert pulled.headers["docker-content-digest"] == made.digest
    assert manifest["artifactType"] == "application/vnd.packhouse.generic.package.v1"
    (layer,) = manifest["layers"]
    assert layer["annotations"] == {"org.opencontainers.image.title": "pad-1.0.0.bin"}
    assert layer["mediaType"] == BIN
    assert manifest["annotations"] == {
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.description": "pads text",
        "org.opencontainers.image.source": "https://x.test/a",
        "org.opencontainers.image.title": "acme:pad",
        "org.opencontainers.image.version": "1.0.0",
        "vnd.packhouse.package.format": "generic",
        "vnd.packhouse.package.name": "pad",
        "vnd.packhouse.package.version": "1.0.0",
    }
    config = await writer.get(f"/v2/{PAD}/blobs/{manifest['config']['digest']}")
    said = {"description": "pads\ntext", "source": "https://x.test/a"}
    assert json.loads(config.content) == {**FIRST, **said}
    file = await writer.get(f"/v2/{PAD}/blobs/{layer['digest']}")
    assert file.content == b"1.0.0\n"
    assert set(await shelf.tags()) == {"1.0.0", "beta", "latest"}
    assert set((await shelf.tags()).values()) == {made.digest}


async def test_its_rows_hold_what_documents_need(shelf: Shelf) -> None:
    made = await shelf.publish("1.0.0", "beta")
    found = await shelf.packaging.versions.find(await shelf.id(), "1.0.0")
    assert found is not None
    assert (found.tag, found.digest, found.publisher) == ("1.0.0", made.digest, "writer")
    assert (found.facts, found.state) == ({"length": 5}, {})
    assert found.published_at == shelf.world.clock()
    (file,) = found.files
    assert (file.name, file.size, file.key) == ("pad-1.0.0.bin", 6, "")
    for algorithm in ("md5", "sha1", "sha512"):
        assert getattr(file, algorithm) == hashlib.new(algorithm, b"1.0.0\n").hexdigest()
    assert file.digest == Digest.of(b"1.0.0\n")
    (part,) = await shelf.versions("full")
    assert document(part) == {
        "package": "acme:pad",
        "metadata": FIRST,
        "computed": {"length": 5},
        "files": ["pad-1.0.0.bin"],
        "publisher": "writer",
    }
    assert await shelf.aliases() == {"beta": "1.0.0", "latest": "1.0.0"}
    assert await shelf.packaging.versions.find(await shelf.id(), "1.0.1") is None
    assert await shelf.events() == [
        ("version.publish", "1.0.0", f"{made.digest} beta latest"),
    ]


async def test_the_package_has_its_format_and_its_true_name(shelf: Shelf) -> None:
    await shelf.publish("1.0.0", name="Pad")
    (row,) = await shelf.world.rows("select format, name, repository from packages")
    assert (row["format"], row["name"]) == ("generic", "Pad")
    assert row["repository"].startswith("acme/generic/pad-x")


async def test_what_blobs_were_pushed_to_first_gets_its_name(shelf: Shelf, writer: Client) -> None:
    await writer.push_blob(PAD, b"early")
    (row,) = await shelf.world.rows("select format, name from packages")
    assert tuple(row) == ("generic", "generic/pad")
    await shelf.publish("1.0.0")
    (row,) = await shelf.world.rows("select format, name from packages")
    assert tuple(row) == ("generic", "pad")


async def test_what_was_pushed_first_is_held_by_the_version_alone(
    shelf: Shelf, writer: Client
) -> None:
    await writer.push_blob(PAD, b"1.0.0\n")
    (waiting,) = await shelf.world.rows("select uploaded_at, orphaned_at from repository_blobs")
    assert None not in tuple(waiting)
    await shelf.publish("1.0.0")
    rows = await shelf.world.rows("select uploaded_at, orphaned_at from repository_blobs")
    assert [tuple(row) for row in rows] == [(None, None)] * 2
    blobs = await shelf.world.rows("select orphaned_at from blobs")
    assert [row["orphaned_at"] for row in blobs] == [None] * 2


async def test_another_package_does_not_get_a_repository_that_is_taken(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    repository, said = parse_repository(PAD), {"package": "acme:Pad", "version": "2.0.0"}
    files = [await shelf.file("2.0.0")]
    with pytest.raises(Conflict, match="the repository of 'pad', not of 'Pad'"):
        await shelf.packaging.publishing.publish(shelf.who, repository, "Pad", facts(said), files)


async def test_versions_are_listed_in_the_order_of_their_publication(shelf: Shelf) -> None:
    for version in ("1.0.0", "3.0.0-rc.1", "2.0.0", "1.0.1"):
        await shelf.publish(version)
        shelf.world.clock.advance(1)
    assert await shelf.versions() == ["1.0.0", "3.0.0-rc.1", "2.0.0", "1.0.1"]
    assert await shelf.packaging.versions.newest(await shelf.id()) == "2.0.0"
    assert await shelf.aliases() == {"latest": "1.0.0"}


async def test_a_prerelease_is_the_newest_where_there_is_nothing_else(shelf: Shelf) -> None:
    assert await shelf.packaging.versions.newest(1) is None
    await shelf.publish("1.0.0-rc.1")
    await shelf.publish("1.0.0-rc.2")
    assert await shelf.packaging.versions.newest(await shelf.id()) == "1.0.0-rc.2"


async def test_a_version_is_published_once(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    before = await shelf.world.footprint()
    for more in (b"", b"other bytes"):
        with pytest.raises(VersionExists, match=r"acme:pad 1.0.0 is published, and .* never chang"):
            await shelf.publish("1.0.0", "beta", more=more)
    assert await shelf.world.footprint() == before


async def test_two_versions_do_not_share_a_tag(shelf: Shelf) -> None:
    await shelf.publish("1.0.0+a")
    assert set(await shelf.tags()) == {"1.0.0_a", "latest"}
    with pytest.raises(VersionExists, match=r"has the tag 1\.0\.0_a, as this one would"):
        await shelf.publish("1.0.0_a")


class Loose(Generic):
    """A format that takes any tag for an alias."""

    def is_alias(self, tag: Tag) -> bool:
        """Say yes."""
        return True


async def test_a_tag_is_a_version_s_own_or_an_alias(shelf: Shelf) -> None:
    services, clock = shelf.world.services, shelf.world.clock
    over = (services.database, services.store, clock, Formats([Loose()]))
    loose = wire(shelf.world.config, *over).packaging.publishing

    async def publish(version: str, alias: str) -> None:
        said = facts({"package": "acme:pad", "version": version})
        named = (parse_repository(PAD), "pad", said, [await shelf.file(version)])
        await loose.publish(shelf.who, *named, [Tag(alias)])

    await publish("1.0.0", "1.0.1")
    with pytest.raises(Conflict, match=r"1\.0\.1 names another version of acme:pad"):
        await shelf.publish("1.0.1")
    with pytest.raises(Conflict, match=r"1\.0\.0 is version 1\.0\.0 of acme:pad, for ever"):
        await publish("1.0.2", "1.0.0")
    assert await shelf.versions() == ["1.0.0"]


async def test_ten_publications_of_one_version_at_once_make_one(shelf: Shelf) -> None:
    each = (shelf.publish("1.0.0", more=bytes([n])) for n in range(10))
    done = await asyncio.gather(*each, return_exceptions=True)
    refused = [answer for answer in done if isinstance(answer, VersionExists)]
    assert len(refused) == 9
    assert await shelf.versions() == ["1.0.0"]
    assert len(await shelf.world.keys()) == 2


async def test_ten_versions_at_once_all_appear(shelf: Shelf) -> None:
    names = [f"1.0.{n}" for n in range(10)]
    await asyncio.gather(*(shelf.publish(name) for name in names))
    assert sorted(await shelf.versions()) == names
    assert set(await shelf.tags()) == {*names, "latest"}


async def test_ten_packages_at_once_all_appear(shelf: Shelf) -> None:
    names = [f"pad{n}" for n in range(10)]
    await asyncio.gather(*(shelf.publish("1.0.0", name=name) for name in names))
    rows = await shelf.world.rows("select name from packages order by name")
    assert [row["name"] for row in rows] == names


async def test_two_workers_publish_one_version_once(shelf: Shelf) -> None:
    async with shelf.world.another_worker() as other:
        there = Shelf(other, shelf.who)
        each = [
            place.publish("1.0.0", more=bytes([n])) for n in range(5) for place in (shelf, there)
        ]
        done = await asyncio.gather(*each, return_exceptions=True)
    assert sum(isinstance(answer, VersionExists) for answer in done) == 9


class Dying:
    """A database that goes away at the end of a transaction, before or after its commit."""

    engine = "sqlite"

    def __init__(self, database: Database, *, committed: bool) -> None:
        self._database = database
        self._committed = committed

    async def execute(self, sql: str, *args: Value) -> int:
        return await self._database.execute(sql, *args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        return await self._database.fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        return await self._database.fetch_one(sql, *args)

    async def fetch_column(self, sql: str, *args: Value) -> Sequence[object]:
        return await self._database.fetch_column(sql, *args)

    async def write(self, work: Work[T]) -> T:
        if self._committed:
            await self._database.write(work)
        raise Unavailable("the database has gone")

    async def migrate(self, migrations: Sequence[tuple[int, str]]) -> None:
        await self._database.migrate(migrations)

    async def close(self) -> None:
        await self._database.close()


async def publish_and_die(shelf: Shelf, *, committed: bool) -> None:
    """Publish 1.0.0 over a database that goes before or after the commit."""
    services = shelf.world.services
    gone = Dying(services.database, committed=committed)
    packaging = wire(shelf.world.config, gone, services.store, shelf.world.clock, FORMATS).packaging
    with pytest.raises(Unavailable):
        await packaging.publishing.publish(
            shelf.who, parse_repository(PAD), "pad", facts(FIRST), [await shelf.file("1.0.0")]
        )


async def test_what_dies_between_bytes_and_rows_is_not_there(shelf: Shelf, writer: Client) -> None:
    shelf.world.damaged = True  # bytes wait for the sweep, like those of any crash
    await publish_and_die(shelf, committed=False)
    assert (await writer.get(f"/v2/{PAD}/tags/list")).json()["tags"] == []
    assert await shelf.world.rows("select id from packages") == []
    assert await shelf.events() == []
    await shelf.publish("1.0.0")
    assert await shelf.versions() == ["1.0.0"]


MARK = "update blobs set damaged_at = 1 where digest = $1"


@pytest.mark.parametrize("spoiled", ["", "missing", "marked"])
async def test_bytes_that_are_here_are_kept_once_and_healed_where_they_are_spoiled(
    shelf: Shelf, writer: Client, spoiled: str
) -> None:
    await shelf.publish("1.0.0")
    world, digest = shelf.world, Digest.of(b"1.0.0\n")
    (before,) = await world.rows(f"select key from blobs where digest = '{digest}'")
    if spoiled == "missing":
        (await world.file_of_blob(digest)).unlink()
    if spoiled == "marked":
        await world.services.database.execute(MARK, digest)
    await shelf.publish("1.0.0", name="other")
    for name in ("pad", "other"):
        pulled = await writer.get(f"/v2/acme/generic/{name}/blobs/{digest}")
        assert pulled.content == b"1.0.0\n"
    (after,) = await world.rows(f"select key from blobs where digest = '{digest}'")
    assert (after["key"] == before["key"]) == (not spoiled)
    (trash,) = await world.rows("select key from trash")
    assert (trash["key"] == before["key"]) == bool(spoiled)


async def test_what_was_committed_stays_whole_when_the_answer_is_lost(
    shelf: Shelf, writer: Client
) -> None:
    await publish_and_die(shelf, committed=True)
    assert [kind for kind, _, _ in await shelf.events()] == ["version.publish"]
    (row,) = await shelf.world.rows("select digest from version_files")
    assert (await writer.get(f"/v2/{PAD}/blobs/{row['digest']}")).content == b"1.0.0\n"
    with pytest.raises(VersionExists):
        await shelf.publish("1.0.0")


async def test_a_refusal_leaves_nothing(shelf: Shelf) -> None:
    before = await shelf.world.footprint()
    with pytest.raises(Invalid, match="'b2' is no alias"):
        await shelf.publish("1.0.0", "b2")
    repository, files = parse_repository(PAD), [await shelf.file("1.0.0") for _ in range(2)]
    with pytest.raises(Invalid, match="two files of one name"):
        await shelf.packaging.publishing.publish(shelf.who, repository, "pad", facts(FIRST), files)
    npm, files = parse_repository("acme/npm/pad"), [await shelf.file("1.0.0")]
    with pytest.raises(ReservedName):
        await shelf.packaging.publishing.publish(shelf.who, npm, "pad", facts(FIRST), files)
    app, files = parse_repository("acme/app"), [await shelf.file("1.0.0")]
    with pytest.raises(ReservedName):
        await shelf.packaging.publishing.publish(shelf.who, app, "pad", facts(FIRST), files)
    assert await shelf.world.footprint() == before


async def test_rights_are_asked_once_the_bytes_are_here(shelf: Shelf) -> None:
    before = await shelf.world.footprint()
    await shelf.world.set_role("writer", Role.READ)
    with pytest.raises(Denied):
        await shelf.publish("1.0.0")
    await shelf.world.revoke(shelf.world.tokens["writer"])
    with pytest.raises(NotSignedIn):
        await shelf.publish("1.0.0")
    assert await shelf.world.footprint() == before


async def test_an_alias_moves_with_a_publication_and_the_default_one_stays(shelf: Shelf) -> None:
    first = await shelf.publish("1.0.0", "beta")
    second = await shelf.publish("1.1.0-rc.1", "beta")
    expected = {"1.0.0": first, "1.1.0-rc.1": second, "beta": second, "latest": first}
    assert await shelf.tags() == {tag: made.digest for tag, made in expected.items()}
    third = await shelf.publish("1.1.0", "latest")
    assert (await shelf.tags())["latest"] == third.digest


async def test_the_revision_moves_with_each_version(shelf: Shelf) -> None:
    await shelf.publish("1.0.0")
    before = await shelf.revision()
    await shelf.publish("1.0.1")
    assert await shelf.revision() > before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\x00", "a\nb", "a" * 256])
async def test_a_file_is_one_name(shelf: Shelf, name: str) -> None:
    with pytest.raises(Invalid):
        await shelf.packaging.files.add(name, BIN, once(b"x"))
    assert await shelf.world.keys() == set()


async def test_files_are_read_again_before_they_belong_to_a_version(shelf: Shelf) -> None:
    files = shelf.packaging.files
    (file,) = await files.keep([await shelf.file("1.0.0", more=b"rest")])
    assert await files.bytes_of(file, 10) == b"1.0.0\nrest"
    with pytest.raises(TooLarge, match="at most 9 bytes"):
        await files.bytes_of(file.key, 9)
    async with files.opened(file) as source:
        assert source.readline() == b"1.0.0\n"
    await files.discard([file])
    with pytest.raises(NotFound):
        async with files.opened(file):
            pass


async def test_the_words_of_a_package_are_those_of_its_newest_version(shelf: Shelf) -> None:
    await shelf.publish("1.0.0", description="old words")
    await shelf.publish("1.0.1", description="new words")
    rows = await shelf.world.rows("select term from search_terms order by term")
    assert {row["term"] for row in rows} >= {"acme", "generic", "pad", "new", "words"}
    assert "old" not in {row["term"] for row in rows}


async def test_a_source_links_at_the_first_publication(shelf: Shelf) -> None:
    url, projects = "https://git.test/acme/widget", shelf.world.services.projects
    await projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    await projects.add_source(OPERATOR, "acme/widget", url)
    made = await shelf.publish("1.0.0", source=url)
    assert made.link is not None
    assert (made.link.project, made.link.pending) == ("acme/widget", Visibility.PUBLIC)
    assert (await shelf.publish("1.0.1", source=url)).link is None


async def test_versions_say_no_more_together_than_a_document_may_hold(
    shelf: Shelf, writer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.publish("1.0.0", description="x" * 1000)
    (full,) = await shelf.versions("full")
    monkeypatch.setattr(entry, "MAX_JOINED", 2 * len(full))
    await shelf.publish("1.0.1", description="x" * 1000)
    before = await shelf.world.keys()
    with pytest.raises(TooLarge, match="bytes of metadata"):
        await shelf.publish("1.0.2")
    assert await shelf.world.keys() == before
    assert len(await shelf.versions("full")) == 2
    await shelf.publish("1.0.2", name="other")
    await shelf.delete("1.0.1")
    with pytest.raises(TooLarge):  # for what is hidden may come back
        await shelf.publish("1.0.2", description="x" * 1000)
    await shelf.gc(days=40)
    await shelf.publish("1.0.2", description="x" * 1000)
