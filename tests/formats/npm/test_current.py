"""Documents are of one moment, whatever is published meanwhile, and small ones are known before."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from formats.npm.current import CurrentPackages
from formats.npm.fragments import ABBREVIATED
from formats.npm.names import parse_name
from registry.packaging.version_rows import FEW, FEW_TAGS, SHORT, VersionRows
from registry.tagging import Tagging
from registry.watched import WatchedDatabase
from storage.clock import SECOND
from storage.database import Database, Question, Row, Value
from tests.formats.npm.shop import Shop
from tests.registry.world import World

NAME = "@acme/pad"
PAD = parse_name(NAME)


class Busy(WatchedDatabase):
    """A database on which somebody publishes after whatever was read."""

    def __init__(self, inner: Database, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self._meanwhile = meanwhile

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        found = await super().fetch(sql, *args)
        await self._meanwhile()
        return found

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        found = await super().fetch_one(sql, *args)
        await self._meanwhile()
        return found

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        found = await super().fetch_all(*questions)
        await self._meanwhile()
        return found

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        found = await super().fetch_few(*questions)
        await self._meanwhile()
        return found


class Meanwhile:
    """A package that grows while it is read."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.at: dict[int, str] = {}
        """The newest version at each revision."""
        self.modified: dict[str, str] = {}
        """When each version came."""

    async def publish(self) -> None:
        self.shop.world.clock.advance(60)
        version = f"1.0.{len(self.at)}"
        await self.shop.publish(version=version)
        row = await self.row()
        self.at[row["revision"]] = version
        at = datetime.fromtimestamp(self.shop.world.clock() / SECOND, UTC)
        self.modified[version] = f"{at:%Y-%m-%dT%H:%M:%S}.000Z"

    async def row(self) -> Row:
        sql = f"select id, revision from packages where repository = '{PAD.repository}'"
        (row,) = await self.shop.world.rows(sql)
        return row

    def current(self) -> CurrentPackages:
        return CurrentPackages(VersionRows(Busy(self.shop.world.services.database, self.publish)))


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world)


@pytest.fixture
async def meanwhile(shop: Shop) -> Meanwhile:
    made = Meanwhile(shop)
    await made.publish()
    return made


async def test_a_full_document_is_of_the_revision_that_it_says(meanwhile: Meanwhile) -> None:
    row = await meanwhile.row()
    document = json.loads(await meanwhile.current().full(row["id"], NAME))
    assert list(document["versions"])[-1] == meanwhile.at[int(document["_rev"].partition("-")[0])]
    assert document["time"]["modified"] == document["time"][list(document["versions"])[-1]]
    assert len(meanwhile.at) > 1


async def test_what_an_edit_is_compared_with_is_of_its_revision(meanwhile: Meanwhile) -> None:
    before = await meanwhile.current().read((await meanwhile.row())["id"], NAME)
    assert before.fragments[-1].version == meanwhile.at[before.revision]
    assert len(meanwhile.at) > 1


@pytest.mark.parametrize("measured", [False, True])
async def test_an_abbreviated_document_is_of_one_moment(
    meanwhile: Meanwhile, *, measured: bool
) -> None:
    made = meanwhile.current().abbreviated((await meanwhile.row())["id"], NAME)
    if measured:
        assert await made.is_small()
    document = json.loads(await made.render())
    assert document["modified"] == meanwhile.modified[list(document["versions"])[-1]]
    assert len(meanwhile.at) > 1


async def few(shop: Shop) -> bool:
    versions = shop.world.services.packaging.versions
    return await versions.are_few((await Meanwhile(shop).row())["id"], ABBREVIATED)


async def test_many_versions_are_not_few(shop: Shop) -> None:
    for number in range(FEW):
        await shop.publish(version=f"1.0.{number}")
    assert await few(shop)
    await shop.publish(version="2.0.0")
    assert not await few(shop)


async def test_long_versions_are_not_few(shop: Shop) -> None:
    await shop.publish(dependencies={"a": "1"})
    assert await few(shop)
    await shop.publish(version="1.0.1", dependencies={"a": "1." + "0" * SHORT})
    assert not await few(shop)


async def test_many_tags_are_not_few(shop: Shop) -> None:
    services, who = shop.world.services, await shop.who("writer")
    digest = (await shop.publish()).digest
    tagging = Tagging(services.database, services.manifests)
    for number in range(FEW_TAGS - 2):  # the version's own, and latest
        await tagging.move(who, PAD.repository, f"t{number}", digest)
    assert await few(shop)
    await tagging.move(who, PAD.repository, "more", digest)
    assert not await few(shop)
