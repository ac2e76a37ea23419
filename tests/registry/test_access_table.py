"""Every cell of access_table.txt over HTTP, and what must be alike for hidden and unknown names."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from auth.audit import OPERATOR
from auth.principals import Visibility
from registry.app import build_surface, wire
from registry.watched import WatchedDatabase
from storage.database import Database, Question, Row, T, Transaction, Value, Work
from tests.registry import access
from tests.registry.access import ACTIONS, ELSEWHERE, PEOPLE, PROJECTS, Place
from tests.registry.client import OCI_MANIFEST, Client
from tests.registry.world import OWNER_NAME, World

TABLE = Path(__file__).with_name("access_table.txt")
BLOCKS = ("private", "internal", "public", "unknown", "unowned")
UNSEEN = ("private", "unknown", "unowned")

Rows = dict[str, list[str]]
"""The cells of each person, in the order of ACTIONS."""


def read_table(text: str) -> dict[str, Rows]:
    """Read the blocks of a table; each begins with `[name]` and the names of its columns."""
    blocks: dict[str, Rows] = {}
    rows: Rows = {}
    for line in text.splitlines():
        first, *rest = line.partition("#")[0].split() or [""]
        if first.startswith("["):
            assert rest == list(ACTIONS), f"{first} has other columns than ACTIONS"
            rows = blocks[first.strip("[]")] = {}
        elif first:
            assert first not in rows, f"{first} has two rows in a block"
            assert len(rest) == len(ACTIONS), line
            rows[first] = rest
    return blocks


def render_table(blocks: dict[str, Rows]) -> str:
    """Render a table as it stands in the file, to be compared and, where it is right, kept."""
    lines = []
    for block, rows in blocks.items():
        for first, cells in {f"[{block}]": list(ACTIONS), **rows}.items():
            padded = (text.ljust(len(name)) for text, name in zip(cells, ACTIONS, strict=True))
            lines.append(" ".join((first.ljust(17), *padded)).rstrip())
        lines.append("")
    return "\n".join(lines)


EXPECTED = read_table(TABLE.read_text("utf-8"))


def test_the_table_has_every_person_in_every_block() -> None:
    assert list(EXPECTED) == list(BLOCKS)
    for rows in EXPECTED.values():
        assert list(rows) == list(PEOPLE)


async def stock(world: World) -> None:
    """Make the projects, and for every person a package in each and a place to mount into."""
    await world.services.accounts.create_organization(OPERATOR, "globex")
    projects = {f"{OWNER_NAME}/{name}": visibility for name, visibility in PROJECTS.items()}
    projects |= dict.fromkeys(ELSEWHERE.values(), Visibility.PRIVATE)
    for path, visibility in projects.items():
        await world.services.projects.create(OPERATOR, path, visibility)
    jobs = {path: await access.job(world, path) for path in projects}
    for place in (Place(block, person) for block in BLOCKS for person in PEOPLE):
        if place.exists:
            for data in (access.CONFIG, access.LAYER, access.LOOSE):
                await jobs[place.project].push_blob(place.repository, data)
            await jobs[place.project].push_manifest(
                place.repository, "", access.IMAGE, OCI_MANIFEST, ["v1", "v2"]
            )
        if place.own_project:
            await jobs[place.own_project].push_blob(place.target, access.CONFIG)


async def sign_in(world: World, person: str, *, bearer: bool) -> dict[str, Client]:
    """Return what a person comes with, by block; a bearer names all that it is used for."""
    clients = {}
    for block in BLOCKS:
        place = Place(block, person)
        client = world.client("").with_authorization(await PEOPLE[person](world, place))
        if bearer or person == "anonymous-bearer":
            names = (place.repository, place.target)
            scopes = [f"repository:{name}:pull,push,delete" for name in names]
            client = await client.bearer("registry:catalog:*", *scopes)
        clients[block] = client
    return clients


@pytest.mark.parametrize("credential", ["token", "bearer"])
async def test_every_cell(world: World, credential: str) -> None:
    """A bearer of /token opens what it was fetched with does, but for the API and who is nobody."""
    bearer = credential == "bearer"
    people = [person for person in PEOPLE if not (bearer and person == "anonymous")]
    await stock(world)
    clients = {person: await sign_in(world, person, bearer=bearer) for person in people}
    await access.finish(world)
    answers: dict[str, Rows] = {block: {} for block in BLOCKS}
    for block, person in ((block, person) for block in BLOCKS for person in people):
        place = Place(block, person)
        answers[block][person] = [
            access.cell(action, place, await act(clients[person][block], place))
            for action, act in ACTIONS.items()
        ]
    expected = {block: {p: list(EXPECTED[block][p]) for p in people} for block in BLOCKS}
    if bearer:
        columns = [list(ACTIONS).index(action) for action in access.OF_API]
        for cells in itertools.chain(*(rows.values() for rows in expected.values())):
            for column in columns:
                cells[column] = "401"
    assert render_table(answers) == render_table(expected)


class Counted(WatchedDatabase):
    """A database that writes down which statements run, those of its transactions too."""

    def __init__(self, inner: Database, ran: list[str]) -> None:
        super().__init__(inner)
        self._ran = ran

    async def execute(self, sql: str, *args: Value) -> int:
        self._ran.append(sql)
        return await super().execute(sql, *args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        self._ran.append(sql)
        return await super().fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        self._ran.append(sql)
        return await super().fetch_one(sql, *args)

    async def fetch_all(self, *questions: Question) -> Sequence[Sequence[Row]]:
        self._ran.extend(question[0] for question in questions)
        return await super().fetch_all(*questions)

    async def fetch_few(self, *questions: Question) -> Sequence[Sequence[Row]]:
        self._ran.extend(question[0] for question in questions)
        return await super().fetch_few(*questions)

    async def write(self, work: Work[T]) -> T:
        self._ran.append("begin")
        return await super().write(lambda tx: work(Noted(tx, self._ran)))


class Noted(Transaction):
    """A transaction that writes down which statements run."""

    def __init__(self, inner: Transaction, ran: list[str]) -> None:
        self._inner = inner
        self._ran = ran

    async def execute(self, sql: str, *args: Value) -> int:
        self._ran.append(sql)
        return await self._inner.execute(sql, *args)

    async def fetch(self, sql: str, *args: Value) -> Sequence[Row]:
        self._ran.append(sql)
        return await self._inner.fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Value) -> Row | None:
        self._ran.append(sql)
        return await self._inner.fetch_one(sql, *args)


HIDDEN_FROM = {
    *("anonymous", "anonymous-bearer", "stranger", "team-without"),
    *("robot-elsewhere", "robot-abroad", "job-abroad", "empty-token", "limited-elsewhere"),
    *("expired-token", "revoked-token", "disabled-user"),
}
"""Whom the private package is hidden from, and who may not make one of its name either."""


def test_the_table_tells_hidden_and_unknown_from_nobody() -> None:
    """All the others may read, or make, or (job-elsewhere) find out that the name is taken."""
    private, unknown, unowned = (EXPECTED[block] for block in UNSEEN)
    alike = {person for person in PEOPLE if private[person] == unknown[person] == unowned[person]}
    assert alike == HIDDEN_FROM


NOT_COMPARED = ("x-request-id", "content-length", "location", "docker-upload-uuid")


def without_names(response: httpx.Response, place: Place) -> str:
    """Return an answer without the names that were asked for, request ids and upload ids."""
    headers = [pair for pair in response.headers.items() if pair[0] not in NOT_COMPARED]
    shown = f"{response.status_code} {headers} {response.text}"
    for name in (place.repository, place.target, response.headers["x-request-id"]):
        shown = shown.replace(name, "NAME")
    owner = place.repository.partition("/")[0]
    return re.sub(rf"\b{owner}\b(?!\+)", "OWNER", shown)


async def test_hidden_and_unknown_take_the_same_path(world: World) -> None:
    """Status, headers, body, and the statements that ran: nothing says which of the two it is."""
    await stock(world)
    people = {person: await sign_in(world, person, bearer=False) for person in HIDDEN_FROM}
    await access.finish(world)
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    await counted.keys.load()
    surface = build_surface(counted)
    named = [action for action in ACTIONS if action != "catalog"]
    for person, action in itertools.product(sorted(HIDDEN_FROM), named):
        seen = set()
        for block in UNSEEN:
            place = Place(block, person)
            client = Client(surface, people[person][block].authorization)
            ran.clear()
            response = await ACTIONS[action](client, place)
            nobody = person == "anonymous" or (
                person == "anonymous-bearer" and action in access.OF_API
            )
            assert ran or nobody, "the statements were not counted"
            seen.add((without_names(response, place), tuple(ran)))
        assert len(seen) == 1, (person, action, seen)
