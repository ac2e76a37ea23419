"""Every person of the access table at npm's door: what the table says of images holds there too."""

import base64
import itertools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from auth.audit import OPERATOR
from auth.principals import Visibility
from registry.app import build_surface, wire
from tests.formats.npm.shop import packed
from tests.registry import access
from tests.registry.access import ELSEWHERE, PEOPLE, PROJECTS
from tests.registry.client import Client
from tests.registry.test_access_table import (
    BLOCKS,
    EXPECTED,
    HIDDEN_FROM,
    NOT_COMPARED,
    UNSEEN,
    Counted,
)
from tests.registry.world import OWNER_NAME, World

AT_THE_DOOR = [person for person in PEOPLE if person != "anonymous-bearer"]
"""Bearers of /token are for /v2 alone."""


@dataclass(frozen=True, slots=True)
class Place(access.Place):
    """A package of npm for one person in one block."""

    @property
    def owner(self) -> str:
        return "nowhere" if self.block == "unowned" else OWNER_NAME

    @property
    def name(self) -> str:
        return f"{self.block}-{self.person}"

    @property
    def repository(self) -> str:
        return f"{self.owner}/npm/{self.name}"

    @property
    def package(self) -> str:
        return f"@{self.owner}/{self.name}"


async def publish(client: Client, place: Place, version: str) -> httpx.Response:
    """Publish a version, in one request as npm does."""
    package, about = place.package, {"name": place.package, "version": version}
    tarball = packed(about)
    attachment = {
        "content_type": "application/octet-stream",
        "data": base64.b64encode(tarball).decode(),
        "length": len(tarball),
    }
    body = {
        "_id": package,
        "name": package,
        "dist-tags": {"latest": version, "old": version},
        "versions": {version: about},
        "_attachments": {f"{package}-{version}.tgz": attachment},
    }
    return await client.put(f"/npm/{package.replace('/', '%2f')}", json=body)


Action = Callable[[Client, Place], Awaitable[httpx.Response]]


def call(method: str, path: str, content: bytes = b"") -> Action:
    async def act(client: Client, place: Place) -> httpx.Response:
        target = path.format(package=place.package, name=place.name)
        return await client.request(method, target, content=content)

    return act


async def publish_next(client: Client, place: Place) -> httpx.Response:
    return await publish(client, place, "2.0.0")


TAGS = "/npm/-/package/{package}/dist-tags"
TARBALL = "/npm/{package}/-/{name}"
ACTIONS: dict[str, tuple[Action, str]] = {
    "packument": (call("GET", "/npm/{package}"), "tag"),
    "head": (call("HEAD", "/npm/{package}"), "head"),
    "manifest": (call("GET", "/npm/{package}/1.0.0"), "digest"),
    "tarball": (call("GET", TARBALL + "-1.0.0.tgz"), "blob"),
    "tags": (call("GET", TAGS), "tag"),
    "publish": (publish_next, "push"),
    "move tag": (call("PUT", TAGS + "/next", b'"2.0.0"'), "overwrite"),
    "remove tag": (call("DELETE", TAGS + "/old"), "untag"),
    "unpublish": (call("DELETE", TARBALL + "-1.0.0.tgz/-rev/1-x"), "delete"),
}
"""In the order they are tried, each with the column of the table that says what comes of it."""

READING = ("packument", "head", "manifest", "tarball", "tags")


def expected(action: str, place: Place) -> str:
    """What the table says; the anonymous are answered by the feed, and acme's is open."""
    cells = dict(zip(access.ACTIONS, EXPECTED[place.block][place.person], strict=True))
    said = cells[ACTIONS[action][1]]
    if place.person == "anonymous" and action in READING and place.owner == OWNER_NAME:
        return said.replace("401", "404")
    if said == "404" and action in ("remove tag", "unpublish") and cells["push"] == "yes":
        return "yes"  # the package is there since it was published, a moment ago
    return said


async def stock(world: World) -> None:
    """Make the projects, and for every person a package in each."""
    await world.services.accounts.create_organization(OPERATOR, "globex")
    projects = {f"{OWNER_NAME}/{name}": visibility for name, visibility in PROJECTS.items()}
    projects |= dict.fromkeys(ELSEWHERE.values(), Visibility.PRIVATE)
    for path, visibility in projects.items():
        await world.services.projects.create(OPERATOR, path, visibility)
    jobs = {path: await access.job(world, path) for path in projects}
    for place in (Place(block, person) for block in PROJECTS for person in AT_THE_DOOR):
        made = await publish(jobs[place.project], place, "1.0.0")
        assert made.status_code == 201, made.text


async def sign_in(world: World, person: str) -> dict[str, Client]:
    """What a person comes with, by block."""
    headers = {block: await PEOPLE[person](world, Place(block, person)) for block in BLOCKS}
    return {block: Client(world, header) for block, header in headers.items()}


def cell(response: httpx.Response) -> str:
    return "yes" if response.is_success else str(response.status_code)


async def test_every_cell(world: World) -> None:
    await stock(world)
    clients = {person: await sign_in(world, person) for person in AT_THE_DOOR}
    await access.finish(world)
    wrong = []
    for block, person in itertools.product(BLOCKS, AT_THE_DOOR):
        place = Place(block, person)
        for action, (act, _) in ACTIONS.items():
            found, wanted = cell(await act(clients[person][block], place)), expected(action, place)
            if found != wanted:
                wrong.append((block, person, action, found, wanted))
    assert wrong == []


def without_names(response: httpx.Response, place: Place) -> str:
    """An answer without what was asked for, and without its request's id."""
    headers = [pair for pair in response.headers.items() if pair[0] not in NOT_COMPARED]
    shown = f"{response.status_code} {headers} {response.text}"
    shown = shown.replace(response.headers["x-request-id"], "ID").replace(place.name, "NAME")
    return re.sub(rf"\b{place.owner}\b(?!\+)", "OWNER", shown)


async def test_hidden_and_unknown_take_the_same_path(world: World) -> None:
    """Status, headers, body, and the statements that ran.

    The feed answers the anonymous: of acme's, which is open, nothing says which names are there.
    """
    await stock(world)
    hidden = sorted(HIDDEN_FROM - {"anonymous-bearer"})
    clients = {person: await sign_in(world, person) for person in hidden}
    await access.finish(world)
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    await counted.keys.load()
    surface = build_surface(counted)
    for person, (action, (act, _)) in itertools.product(hidden, ACTIONS.items()):
        seen = set()
        for block in UNSEEN[:2] if person == "anonymous" else UNSEEN:
            place = Place(block, person)
            ran.clear()
            response = await act(Client(surface, clients[person][block].authorization), place)
            assert ran or person == "anonymous", "the statements were not counted"
            seen.add((without_names(response, place), tuple(ran)))
        assert len(seen) == 1, (person, action, seen)
