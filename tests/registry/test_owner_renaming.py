"""Renamed users and organizations: what their old names still answer, and who may take them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from auth.accounts import OWNER
from auth.audit import OPERATOR
from auth.errors import NameMoved
from auth.organizations import GroupRole
from auth.owner_names import FIND_KEPT
from auth.principals import Action, Principal, Role, Visibility
from auth.projects import Projects
from auth.teams import Teams
from registry.gc import LEASE
from registry.owner_renaming import FIND_CLASH, OwnerRenaming
from registry.renaming import Renaming
from registry.repositories import touch
from registry.retention import CHUNK
from registry.search import Question, Search
from storage.database import Database, Row, T, Transaction, Value, Work
from storage.errors import Conflict, NameInvalid, NotFound
from storage.names import parse_repository
from tests.registry.access import robot_of
from tests.registry.client import Client, digest_of, refused
from tests.registry.test_linking import annotated
from tests.registry.test_linking import push as push_said
from tests.registry.test_renaming import InBetween, answers
from tests.registry.world import World


@pytest.fixture
def renaming(world: World) -> OwnerRenaming:
    return OwnerRenaming(world.services.database, world.clock)


async def names(world: World) -> list[tuple[str, ...]]:
    """Packages and aliases as (name now, names before...)."""
    rows = await world.rows(
        "select p.id, p.repository, x.repository as old from packages p "
        "left join aliases x on x.package_id = p.id order by p.repository, x.repository"
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["repository"], []).extend([row["old"]] if row["old"] else [])
    return [(now, *before) for now, before in found.items()]


async def test_packages_answer_under_the_old_name_and_the_new(
    world: World, renaming: OwnerRenaming, writer: Client, reader: Client
) -> None:
    image = await writer.push_image("acme/app", "v1", b"the layer")
    await writer.push_image("acme/tools/hammer", "v1", b"other")
    before = await answers(reader, "acme/app", image)
    assert await renaming.rename(OPERATOR, "acme", "Globex") == 2
    for name in ("acme/app", "globex/app"):
        for now, was in zip(await answers(reader, name, image), before, strict=True):
            assert now.status_code == 200, now.url
            if "tags/list" not in str(now.url):
                assert now.content == was.content
    catalog = (await reader.get("/v2/_catalog")).json()
    assert catalog == {"repositories": ["globex/app", "globex/tools/hammer"]}
    assert await names(world) == [
        ("globex/app", "acme/app"),
        ("globex/tools/hammer", "acme/tools/hammer"),
    ]


async def test_a_push_to_an_old_name_is_403_and_to_the_new_one_goes_on(
    world: World, renaming: OwnerRenaming, writer: Client
) -> None:
    image = await writer.push_image("acme/app", "v1")
    begun = await writer.post("/v2/acme/app/blobs/uploads/")
    await renaming.rename(OPERATOR, "acme", "globex")
    before = await world.footprint()
    for answer in (
        await writer.put_manifest("acme/app", "v2", image.data, image.media_type),
        await writer.patch(begun.headers["location"], content=b"x"),
    ):
        refused(answer, 403, "DENIED", "acme/app is globex/app now", "push to globex/app")
    for client in (writer, world.client("admin")):
        refused(await client.post("/v2/acme/fresh/blobs/uploads/"), 403, "DENIED")
    assert await world.footprint() == before
    await writer.push_image("globex/app", "v2")
    await writer.push_image("globex/fresh", "v1")


async def test_roles_teams_robots_and_tokens_go_along(
    world: World, renaming: OwnerRenaming, stranger: Client
) -> None:
    services = world.services
    await services.projects.create(OPERATOR, "acme/Widget", Visibility.PRIVATE)
    job = world.client("").with_authorization(await robot_of(world, "acme/widget", "job"))
    await services.organizations.add(OPERATOR, "acme", "stranger", owner=False)
    await services.teams.create(OPERATOR, "acme/devs")
    await services.teams.add(OPERATOR, "acme/devs", "stranger", GroupRole.MEMBER)
    owner = await services.accounts.get("acme")
    await services.accounts.grant(OPERATOR, OWNER, owner.id, "acme/devs", Role.READ)
    await job.push_image("acme/app", "v1")
    await renaming.rename(OPERATOR, "acme", "globex")
    await job.push_image("globex/app", "v2")
    assert (await stranger.get("/v2/globex/app/manifests/v2")).is_success
    members = await services.teams.members("globex/devs")
    assert [row["name"] for row in members] == ["stranger"]
    robot = await services.accounts.get("globex+widget")
    again, _ = await services.projects.robot(OPERATOR, "globex/widget")
    assert robot.id == again
    with pytest.raises(NotFound):
        await services.teams.get("acme/devs")


async def test_a_user_keeps_tokens_password_and_namespace(
    world: World, renaming: OwnerRenaming
) -> None:
    writer = world.client("writer")
    image = await writer.push_image("writer/app", "v1")
    await renaming.rename(OPERATOR, "writer", "poet")
    assert (await writer.get("/v2/writer/app/manifests/v1")).content == image.data
    await writer.push_image("poet/app", "v2")
    await writer.push_image("acme/app", "v1")
    world.tokens["poet"] = world.tokens["writer"]
    assert (await world.signed_in("poet").get("/token")).status_code == 200
    assert (await world.signed_in("writer").get("/token")).status_code == 401


async def test_nobody_else_gets_the_old_name_until_it_is_released(
    world: World, renaming: OwnerRenaming, writer: Client, reader: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    await renaming.rename(OPERATOR, "acme", "globex")
    accounts = world.services.accounts
    for taking in (
        accounts.create_user(OPERATOR, "acme", None),
        accounts.create_organization(OPERATOR, "acme"),
        renaming.rename(OPERATOR, "reader", "acme"),
    ):
        with pytest.raises(Conflict, match=r"kept for who had it before.*packhouse owner release"):
            await taking
    assert await accounts.find("acme") is None
    assert [row["name"] for row in await renaming.names("globex")] == ["acme"]
    assert await renaming.release(OPERATOR, "acme") == "globex"
    assert [row["name"] for row in await renaming.names("globex")] == []
    assert await names(world) == [("globex/app",)]
    assert (await reader.get("/v2/acme/app/manifests/v1")).status_code == 404
    await accounts.create_organization(OPERATOR, "acme", "stranger")
    await world.client("stranger").push_image("acme/app", "v1", b"somebody else's")
    with pytest.raises(NotFound, match="not a name that an owner had before"):
        await renaming.release(OPERATOR, "acme")


async def test_an_owner_goes_from_name_to_name_and_takes_an_old_one_back(
    world: World, renaming: OwnerRenaming, writer: Client, reader: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    await renaming.rename(OPERATOR, "acme", "globex")
    await writer.push_image("globex/more", "v1")
    await renaming.rename(OPERATOR, "globex", "initech")
    for name in ("acme/app", "globex/app", "initech/app", "globex/more"):
        assert (await reader.get(f"/v2/{name}/manifests/v1")).is_success, name
    assert [row["name"] for row in await renaming.names("initech")] == ["acme", "globex"]
    await renaming.rename(OPERATOR, "initech", "acme")
    assert await names(world) == [
        ("acme/app", "globex/app", "initech/app"),
        ("acme/more", "globex/more", "initech/more"),
    ]
    assert [row["name"] for row in await renaming.names("acme")] == ["globex", "initech"]
    await writer.push_image("acme/app", "v2")


async def test_a_renamed_owner_s_projects_are_found_by_pages_of_the_old_name(
    world: World, writer: Client
) -> None:
    await world.reconfigure(public_url="https://packages.example.com")
    renaming = OwnerRenaming(world.services.database, world.clock)
    await world.services.projects.create(OPERATOR, "acme/Widget", Visibility.PRIVATE)
    await renaming.rename(OPERATOR, "acme", "globex")
    await world.services.accounts.create_organization(OPERATOR, "other")
    for name, page, project in (
        ("globex/one", "acme/widget", "Widget"),
        ("globex/two", "globex/widget", "Widget"),
        ("globex/three", "other/widget", None),
    ):
        url = f"https://packages.example.com/{page}"
        await push_said(writer, name=name, **annotated(url))
        assert (await world.services.packages.get(name))["project"] == project
    await renaming.release(OPERATOR, "acme")
    said = annotated("https://packages.example.com/acme/widget")
    await push_said(writer, name="globex/four", **said)
    assert (await world.services.packages.get("globex/four"))["project"] is None


async def test_search_finds_the_words_of_the_new_name(
    world: World, renaming: OwnerRenaming, writer: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/acme-tools", "v1", b"its own name says it")
    said = {"org.opencontainers.image.title": "made at ACME"}
    await writer.push_image("acme/told", "v1", b"told", annotations=said)
    await renaming.rename(OPERATOR, "acme", "road-runner")
    search = Search(world.services.database, world.services.permissions)
    who = await world.services.authenticator.sign_in("reader", world.tokens["reader"])

    async def found(words: str) -> list[str]:
        rows = (await search.find(who, Question(words), 100)).rows
        return sorted(row["repository"] for row in rows)

    everything = ["road-runner/acme-tools", "road-runner/app", "road-runner/told"]
    assert await found("runner") == await found("road") == everything
    assert await found("acme") == ["road-runner/acme-tools", "road-runner/told"]
    await renaming.rename(OPERATOR, "road-runner", "road")
    assert await found("runner") == []
    assert len(await found("road")) == 3


async def fill(world: World, count: int) -> None:
    """Give acme packages as they are after pushes."""
    owner = (await world.services.accounts.get("acme")).id
    numbers = json.dumps([f"image-{n}" for n in range(count)])

    async def work(tx: Transaction) -> None:
        await tx.execute(
            "insert into packages (owner_id, name, repository, visibility, created_at) "
            "select cast($1 as bigint), value, 'acme/' || value, 2, 1 "
            "from json_each(cast($2 as text))",
            owner,
            numbers,
        )
        for word in ("acme", "image"):
            await tx.execute(
                "insert into search_terms (package_id, term, owner_id, visibility) "
                "select id, cast($2 as text), owner_id, 2 from packages where owner_id = $1",
                owner,
                word,
            )

    await world.services.database.write(work)


async def count_of(world: World, word: str) -> int:
    (row,) = await world.rows(f"select count(*) as n from search_terms where term = '{word}'")
    return int(row["n"])


async def test_thousands_of_packages_go_along(world: World, renaming: OwnerRenaming) -> None:
    many = 2 * CHUNK + 1
    await fill(world, many)
    assert await renaming.rename(OPERATOR, "acme", "globex") == many
    assert len({row[0] for row in await names(world) if row[0].startswith("globex/")}) == many
    assert all(row[1:] == (row[0].replace("globex", "acme"),) for row in await names(world))
    assert [await count_of(world, word) for word in ("acme", "globex")] == [0, many]
    assert await world.rows("select * from owner_aliases where words_after is not null") == []


async def test_words_that_a_crash_left_behind_are_followed_by_the_sweep(world: World) -> None:
    await fill(world, 2 * CHUNK + 1)
    crashing = cast("Database", CrashesAt(world.services.database, 3))
    with pytest.raises(RuntimeError, match="the process ended"):
        await OwnerRenaming(crashing, world.clock).rename(OPERATOR, "acme", "globex")
    assert await count_of(world, "globex") == CHUNK
    term = await world.services.leases.acquire(LEASE, 60)
    assert term is not None
    while not (await world.services.collector.round(term)).finished:
        pass
    assert [await count_of(world, word) for word in ("acme", "globex")] == [0, 2 * CHUNK + 1]


async def test_a_deleted_package_comes_back_under_the_new_name(
    world: World, renaming: OwnerRenaming, writer: Client, reader: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    deleted = await world.services.packages.delete(OPERATOR, "acme/app")
    assert await renaming.rename(OPERATOR, "acme", "globex") == 1
    await world.services.restoration.restore(OPERATOR, "globex/app", deleted.id)
    for name in ("acme/app", "globex/app"):
        assert (await reader.get(f"/v2/{name}/manifests/v1")).is_success


@pytest.mark.parametrize(
    ("owner", "name", "error", "words"),
    [
        ("acme", "reader", Conflict, "is taken"),
        ("acme", "acme", Conflict, "has that name already"),
        ("acme", "ACME", Conflict, "has that name already"),
        ("acme", "v2", NameInvalid, "reserved"),
        ("acme", "a.b", NameInvalid, "not valid"),
        ("acme", "x" * 40, NameInvalid, "not valid"),
        ("acme", "much-longer", Conflict, "would have more than 255 characters"),
        ("nobody", "somebody", NotFound, "no user or organization named 'nobody'"),
        ("before", "somebody", NotFound, "it is after now"),
        ("acme/devs", "somebody", NotFound, "no user or organization"),
    ],
)
async def test_a_rename_that_cannot_be_changes_nothing(
    world: World,
    renaming: OwnerRenaming,
    writer: Client,
    owner: str,
    name: str,
    error: type[Exception],
    words: str,
) -> None:
    await world.services.accounts.create_organization(OPERATOR, "before")
    await renaming.rename(OPERATOR, "before", "after")
    await world.services.teams.create(OPERATOR, "acme/devs")
    long = f"acme/{'y' * (255 - len('acme/'))}"
    await writer.push_image(long, "v1")
    before = await names(world)
    with pytest.raises(error, match=words):
        await renaming.rename(OPERATOR, owner, name)
    assert await names(world) == before
    assert (await world.services.accounts.get("acme")).kind == "organization"


async def test_a_name_that_a_package_elsewhere_had_before_is_not_taken_from_it(
    world: World, renaming: OwnerRenaming, writer: Client
) -> None:
    """A package left; its owner was renamed, made another of that name, and wants to go back."""
    await world.services.accounts.create_organization(OPERATOR, "beta")
    await writer.push_image("acme/app", "v1")
    packages = Renaming(world.services.database, world.clock)
    await packages.transfer(OPERATOR, "acme/app", "beta")
    await renaming.rename(OPERATOR, "acme", "globex")
    await writer.push_image("globex/app", "v1")
    before = await names(world)
    with pytest.raises(Conflict, match=r"acme/app is kept.*'packhouse package release acme/app'"):
        await renaming.rename(OPERATOR, "globex", "acme")
    assert await names(world) == before
    await packages.release(OPERATOR, "acme/app")
    await renaming.rename(OPERATOR, "globex", "acme")


async def test_a_rename_is_told_once_to_the_owner(world: World, renaming: OwnerRenaming) -> None:
    account = await world.services.accounts.get("owner")
    who = Principal(account.id, "owner", "user", 7, address="192.0.2.1", request_id="r")
    world.clock.advance(1)
    since = world.clock()
    await renaming.rename(who, "acme", "globex")
    await renaming.release(who, "acme")
    lines = await world.services.audit.list(since=since)
    assert [tuple(row[key] for key in ("kind", "owner", "subject", "detail")) for row in lines] == [
        ("owner.rename", "globex", "acme", "globex"),
        ("owner.release", "globex", "globex", "acme"),
    ]
    assert {(row["account"], row["token_id"], row["address"]) for row in lines} == {
        ("owner", 7, "192.0.2.1")
    }
    (event,) = await world.rows("select * from events where kind = 'owner.rename'")
    assert (event["account_id"], event["subject"], event["detail"]) == (
        account.id,
        "acme",
        "globex",
    )


# What happens at once


class CrashesAt:
    """A database whose process ends before one of its transactions."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
        self._left = number

    async def write(self, work: Work[T]) -> T:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("the process ended")
        return await self._database.write(work)


class Before:
    """A database where something else happens between what was read and the first write."""

    def __init__(self, database: Database, happening: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._happening: Callable[[], Awaitable[object]] | None = happening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, work: Work[T]) -> T:
        if self._happening is not None:
            happening, self._happening = self._happening, None
            await happening()
        return await self._database.write(work)


async def test_what_is_named_after_an_owner_that_is_renamed_meanwhile_is_not_made(
    world: World, renaming: OwnerRenaming
) -> None:
    services = world.services
    await services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)

    def between() -> Database:
        return cast(
            "Database",
            Before(services.database, lambda: renaming.rename(OPERATOR, "acme", "globex")),
        )

    teams = Teams(between(), services.accounts, world.clock)
    with pytest.raises(Conflict, match="acme was renamed to globex a moment ago"):
        await teams.create(OPERATOR, "acme/devs")
    await renaming.rename(OPERATOR, "globex", "acme")
    with pytest.raises(Conflict, match="acme was renamed to globex a moment ago"):
        await Projects(between(), services.accounts, world.clock).robot(OPERATOR, "acme/widget")
    await renaming.rename(OPERATOR, "globex", "acme")
    await services.projects.robot(OPERATOR, "acme/widget")
    projects = Projects(between(), services.accounts, world.clock)
    with pytest.raises(Conflict, match="acme was renamed to globex a moment ago"):
        await projects.rename(OPERATOR, "acme/widget", "gadget")
    rows = await world.rows("select name from accounts where kind in ('team', 'robot')")
    assert [row["name"] for row in rows] == ["globex+widget"]


async def test_a_first_push_that_was_authorized_before_the_rename_makes_nothing(
    world: World, renaming: OwnerRenaming
) -> None:
    services = world.services
    repository = parse_repository("acme/fresh")
    who = await services.authenticator.sign_in("writer", world.tokens["writer"])
    access = await services.permissions.require(who, Action.PUSH, repository)
    await renaming.rename(OPERATOR, "acme", "globex")
    with pytest.raises(NameMoved, match="acme/fresh is globex/fresh now"):
        await services.database.write(lambda tx: touch(tx, who, access, world.clock()))
    assert await names(world) == []


async def test_a_package_is_not_given_to_a_name_that_its_new_owner_gives_up(
    world: World, renaming: OwnerRenaming, writer: Client
) -> None:
    services = world.services
    await services.accounts.create_organization(OPERATOR, "beta")
    await writer.push_image("acme/app", "v1")
    between = InBetween(services.database, lambda: renaming.rename(OPERATOR, "beta", "gamma"))
    packages = Renaming(cast("Database", between), world.clock)
    with pytest.raises((Conflict, NotFound), match="beta"):
        await packages.transfer(OPERATOR, "acme/app", "beta")
    assert await names(world) == [("acme/app",)]
    packages = Renaming(services.database, world.clock)
    assert await packages.transfer(OPERATOR, "acme/app", "gamma") == "gamma/app"


@asynccontextmanager
async def first_push(world: World, name: str) -> AsyncIterator[asyncio.Event]:
    """A first push in a transaction that stays open until it is told to end."""
    services, end, begun = world.services, asyncio.Event(), asyncio.Event()
    who = await services.authenticator.sign_in("writer", world.tokens["writer"])
    access = await services.permissions.require(who, Action.PUSH, parse_repository(name))

    async def work(tx: Transaction) -> None:
        await touch(tx, who, access, world.clock())
        begun.set()
        await end.wait()

    push = asyncio.create_task(services.database.write(work))
    await begun.wait()
    yield end
    await push


async def waiting(world: World) -> None:
    """Until somebody waits for a lock."""
    while not await world.rows("select pid from pg_locks where not granted"):
        pass


async def test_a_first_push_under_way_is_waited_for_and_goes_along(
    world: World, renaming: OwnerRenaming
) -> None:
    if world.services.database.engine == "sqlite":
        pytest.skip("one writer: nothing is under way while another writes")
    async with first_push(world, "acme/fresh") as end:
        renamed = asyncio.create_task(renaming.rename(OPERATOR, "acme", "globex"))
        await waiting(world)
        end.set()
        assert await renamed == 1
    assert await names(world) == [("globex/fresh", "acme/fresh")]


async def test_pushes_that_meet_a_rename_end_in_words(
    world: World, renaming: OwnerRenaming, writer: Client, reader: Client
) -> None:
    """First pushes and others under both names: each gets in, or is told no; nothing is lost."""
    for number in range(4):
        await writer.push_image(f"acme/old-{number}", "v1")

    async def push(number: int) -> tuple[str, int]:
        data = b"%d" % number
        place = "old" if number % 2 else "new"
        name = f"{('acme', 'globex')[number // 2 % 2]}/{place}-{number % 4}"
        answer = await writer.post(
            f"/v2/{name}/blobs/uploads/", params={"digest": digest_of(data)}, content=data
        )
        return name, answer.status_code

    for there, back in (("acme", "globex"), ("globex", "acme")):
        moved, *pushed = await asyncio.gather(
            renaming.rename(OPERATOR, there, back), *map(push, range(24))
        )
        assert isinstance(moved, int)
        assert {status for _, status in pushed} <= {201, 403}
    rows = await world.rows(
        "select p.repository, o.name from packages p join accounts o on o.id = p.owner_id"
    )
    assert all(row["repository"].startswith(f"{row['name']}/") for row in rows)
    for number in range(4):
        assert (await reader.get(f"/v2/acme/old-{number}/manifests/v1")).is_success


async def test_two_who_want_one_name_do_not_both_get_it(
    world: World, renaming: OwnerRenaming
) -> None:
    accounts = world.services.accounts
    done = await asyncio.gather(
        renaming.rename(OPERATOR, "acme", "globex"),
        renaming.rename(OPERATOR, "writer", "globex"),
        accounts.create_user(OPERATOR, "globex", None),
        accounts.create_organization(OPERATOR, "acme"),
        accounts.create_organization(OPERATOR, "writer"),
        return_exceptions=True,
    )
    failed = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, Conflict) for each in failed), failed
    assert sum(not isinstance(each, BaseException) for each in done[:3]) == 1
    rows = await world.rows("select y.name from owner_aliases y join accounts a on a.name = y.name")
    assert rows == []


async def test_a_name_is_not_made_while_its_owner_gives_it_up(
    world: World, renaming: OwnerRenaming
) -> None:
    """The insert waits for the rename; what it looked for before that is looked for again."""
    if world.services.database.engine == "sqlite":
        pytest.skip("one writer: nothing is under way while another writes")
    database, made = world.services.database, asyncio.Event()
    creating: list[asyncio.Task[int]] = []

    class Slow(Before):
        async def write(self, work: Work[T]) -> T:
            return await database.write(lambda tx: work(_watched(tx)))

    def _watched(tx: Transaction) -> Transaction:
        fetch_one = tx.fetch_one

        async def watching(sql: str, *args: Value) -> Row | None:
            if sql == FIND_CLASH and not creating:
                create = world.services.accounts.create_organization(OPERATOR, "acme")
                creating.append(asyncio.create_task(create))
                await waiting(world)
                made.set()
            return await fetch_one(sql, *args)

        tx.fetch_one = watching  # type: ignore[method-assign]
        return tx

    async def nothing() -> None:
        return None

    slow = OwnerRenaming(cast("Database", Slow(database, nothing)), world.clock)
    await slow.rename(OPERATOR, "acme", "globex")
    assert made.is_set()
    with pytest.raises(Conflict, match="kept for who had it before"):
        await creating[0]
    assert await world.services.database.fetch_one(FIND_KEPT, "acme") is not None
    assert await world.services.accounts.find("acme") is None


async def test_grants_of_a_resource_are_listed_in_pages(world: World) -> None:
    services = world.services
    owner = await services.accounts.get("acme")
    await services.teams.create(OPERATOR, "acme/devs")
    await services.accounts.grant(OPERATOR, OWNER, owner.id, "acme/devs", Role.READ)
    listed: list[tuple[str, str, int]] = []
    after = ""
    while page := await services.accounts.grants(OWNER, owner.id, after, 2):
        assert len(page) <= 2
        after = page[-1]["name"]
        listed += [(row["name"], row["kind"], row["role"]) for row in page]
    assert listed == [
        ("acme/devs", "team", Role.READ),
        ("owner", "user", Role.ADMIN),
        ("reader", "user", Role.READ),
        ("writer", "user", Role.WRITE),
    ]


async def test_a_new_package_has_its_owner_s_default_visibility(
    world: World, writer: Client, anonymous: Client
) -> None:
    await world.services.accounts.set_default_visibility(OPERATOR, "acme", Visibility.PUBLIC)
    await writer.push_image("acme/app", "v1")
    client = await anonymous.bearer("repository:acme/app:pull")
    assert (await client.get("/v2/acme/app/manifests/v1")).is_success
    with pytest.raises(NotFound):
        await world.services.accounts.set_default_visibility(
            OPERATOR, "acme/devs", Visibility.PUBLIC
        )
