"""The people and the actions of access_table.txt: one line here for each row and column there."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import httpx

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Scope, Visibility
from storage.clock import SECOND
from storage.database import Transaction
from tests.registry.client import OCI_INDEX, Client, basic, digest_of, image_manifest
from tests.registry.world import OWNER_NAME, World

LIFETIME = 100
"""Seconds until the token that is to have expired has."""

CONFIG, LAYER, LOOSE = b"config", b"a layer", b"loose"
IMAGE = json.dumps(image_manifest(CONFIG, LAYER)).encode()
DIGEST = digest_of(IMAGE)
PROJECTS = {
    "private": Visibility.PRIVATE,
    "internal": Visibility.INTERNAL,
    "public": Visibility.PUBLIC,
}
"""Blocks with packages are named like the project of the organization these are linked to."""
ELSEWHERE = {"robot-elsewhere": "acme/other", "job-elsewhere": "acme/other"}
ELSEWHERE |= {"robot-abroad": "globex/app", "job-abroad": "globex/app"}
"""Robots of other projects, of this organization and of another."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one person is tried on: a package of one block, and where that person may push."""

    block: str
    person: str

    @property
    def repository(self) -> str:
        return f"{'nowhere' if self.block == 'unowned' else OWNER_NAME}/{self.block}-{self.person}"

    @property
    def exists(self) -> bool:
        """Whether somebody has pushed to it."""
        return self.block in PROJECTS

    @property
    def project(self) -> str:
        """The project that the package is linked to, or would be."""
        return f"{OWNER_NAME}/{self.block if self.exists else 'private'}"

    @property
    def own_project(self) -> str:
        """The project of a robot; "" for who is none."""
        robot = self.person in ("robot", "job")
        return self.project if robot else ELSEWHERE.get(self.person, "")

    @property
    def target(self) -> str:
        """A place where the person may push: a robot's is linked to its project."""
        owner = self.own_project.partition("/")[0] or self.person
        return f"{owner}/into-{self.block}-{self.person}"


Action = Callable[[Client, Place], Awaitable[httpx.Response]]


def call(method: str, path: str, content: bytes = b"", **headers: str) -> Action:
    """Make a request, to a path that names parts of the place."""

    async def act(client: Client, place: Place) -> httpx.Response:
        words = f"{place.block} {place.person}"
        target = path.format(name=place.repository, target=place.target, words=words)
        return await client.request(method, target, content=content, headers=headers)

    return act


async def overwrite(client: Client, place: Place) -> httpx.Response:
    """Move a tag to other bytes, which need nothing else to be there."""
    empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    return await client.put_manifest(place.repository, "v1", empty)


ACTIONS: dict[str, Action] = {
    "tag": call("GET", "/v2/{name}/manifests/v1"),
    "digest": call("GET", f"/v2/{{name}}/manifests/{DIGEST}"),
    "head": call("HEAD", "/v2/{name}/manifests/v1"),
    "blob": call("GET", f"/v2/{{name}}/blobs/{digest_of(LAYER)}"),
    "list": call("GET", "/v2/{name}/tags/list"),
    "referrers": call("GET", f"/v2/{{name}}/referrers/{DIGEST}"),
    "catalog": call("GET", "/v2/_catalog"),
    "search": call("GET", "/api/v1/search?n=1000&q={words}"),
    "mount": call("POST", f"/v2/{{target}}/blobs/uploads/?mount={digest_of(LAYER)}&from={{name}}"),
    "begin": call("POST", "/v2/{name}/blobs/uploads/"),
    "push": call("POST", f"/v2/{{name}}/blobs/uploads/?digest={digest_of(b'new')}", b"new"),
    "overwrite": overwrite,
    "untag": call("DELETE", "/v2/{name}/manifests/v2"),
    "delete": call("DELETE", f"/v2/{{name}}/manifests/{DIGEST}"),
    "restore": call("POST", f"/api/v1/packages/{{name}}/versions/{DIGEST}/restore"),
    "unblob": call("DELETE", f"/v2/{{name}}/blobs/{digest_of(LOOSE)}"),
    "administer": call(
        "PATCH",
        "/api/v1/packages/{name}",
        b'{"project": null}',
        **{"Content-Type": "application/json"},
    ),
}
"""In the order they are tried: what destroys comes last."""

OF_API = ("search", "restore", "administer")
"""What is asked of /api/v1, which takes no bearers of /token."""


def cell(action: str, place: Place, response: httpx.Response) -> str:
    """Return `yes` for done, `-` for an answer as if nothing were there, else the status."""
    if not response.is_success:
        return str(response.status_code)
    done = True
    if action == "catalog":
        done = place.repository in response.json()["repositories"]
    elif action == "search":
        done = place.repository in [found["name"] for found in response.json()["items"]]
    elif action == "mount":
        done = response.status_code == 201
    return "yes" if done else "-"


Sign = Callable[[World, Place], Awaitable[str]]
"""Gives the person of a row its rights on a place, and returns an Authorization header."""


async def user(world: World, place: Place, scopes: Scope = Scope.ALL, **options: int) -> str:
    """Somebody of the world, or made on first use; `options` are those of `World.mint`."""
    if await world.services.accounts.find(place.person) is None:
        await world.services.accounts.create_user(OPERATOR, place.person, None)
    return basic(place.person, await world.mint(place.person, scopes, **options))


async def granted(
    world: World,
    place: Place,
    kind: int,
    role: Role,
    scopes: Scope = Scope.ALL,
    **options: int,
) -> str:
    """A user with a role on the owner, the project or the package."""
    header = await user(world, place, scopes, **options)
    if kind == PACKAGE and not place.exists:
        return header
    resource_id = await resource(world, place, kind)
    await world.services.accounts.grant(OPERATOR, kind, resource_id, place.person, role)
    return header


async def member(world: World, place: Place, kind: int, role: Role) -> str:
    """A user in a team of the organization, and the team has the role."""
    header = await user(world, place)
    if kind == PACKAGE and not place.exists:
        return header
    account = await world.services.accounts.get(place.person)
    organization = await resource(world, place, OWNER)
    resource_id, at = await resource(world, place, kind), world.clock()

    async def work(tx: Transaction) -> None:
        name = f"{OWNER_NAME}/{place.person}"
        await tx.execute(INSERT_TEAM, name, organization, at)
        await tx.execute(INSERT_MEMBER, account.id, name)
        await tx.execute(INSERT_GRANT, name, kind, resource_id, int(role), at)

    await world.services.database.write(work)
    return header


INSERT_TEAM = """
insert into accounts (kind, name, owner_id, created_at) values ('team', $1, $2, $3)
on conflict (name) do nothing
"""
INSERT_MEMBER = """
insert into members (user_id, group_id) select $1, id from accounts where name = $2
on conflict (user_id, group_id) do nothing
"""
INSERT_GRANT = """
insert into grants (grantee_id, resource_kind, resource_id, role, created_at)
select id, cast($2 as smallint), cast($3 as bigint), cast($4 as smallint), cast($5 as bigint)
from accounts where name = $1
on conflict (resource_kind, resource_id, grantee_id) do nothing
"""


async def resource(world: World, place: Place, kind: int) -> int:
    """Return the id of the owner, the project or the package."""
    if kind == OWNER:
        return (await world.services.accounts.get(OWNER_NAME)).id
    if kind == PROJECT:
        return await world.services.projects.get(place.project)
    found: int = (await world.services.packages.get(place.repository))["id"]
    return found


async def robot(world: World, place: Place, kind: str) -> str:
    """A project's robot: with the token of one of its jobs, or with one that no project binds."""
    return await robot_of(world, place.own_project, kind)


async def robot_of(world: World, project: str, kind: str) -> str:
    robot_id, project_id = await world.services.projects.robot(OPERATOR, project)
    bound = project_id if kind == "job" else None
    ends_at = world.clock() + 86400 * SECOND if kind == "job" else None
    made = await world.services.tokens.create(
        OPERATOR, robot_id, kind, "", Scope.ALL, ends_at, bound
    )
    return basic("ci", made.text)


async def job(world: World, project: str) -> Client:
    """A client with the token of a job, which makes packages that are linked to its project."""
    return world.client("").with_authorization(await robot_of(world, project, "job"))


async def limited(world: World, place: Place, project: str = "") -> str:
    """A user who may write to the owner, with a token that is limited to one project."""
    await granted(world, place, OWNER, Role.WRITE)
    account = await world.services.accounts.get(place.person)
    bound = (PROJECT, await world.services.projects.get(project or place.project))
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits=[bound]
    )
    return basic(place.person, made.text)


async def nobody(world: World, place: Place) -> str:
    """No credential."""
    del world, place
    return ""


writing = partial(granted, kind=OWNER, role=Role.WRITE)

PEOPLE: dict[str, Sign] = {
    "anonymous": nobody,
    "anonymous-bearer": nobody,
    "stranger": user,
    "reader": user,
    "writer": user,
    "owner": user,
    "admin": user,
    "project-reader": partial(granted, kind=PROJECT, role=Role.READ),
    "project-writer": partial(granted, kind=PROJECT, role=Role.WRITE),
    "package-reader": partial(granted, kind=PACKAGE, role=Role.READ),
    "package-admin": partial(granted, kind=PACKAGE, role=Role.ADMIN),
    "team-on-owner": partial(member, kind=OWNER, role=Role.WRITE),
    "team-on-project": partial(member, kind=PROJECT, role=Role.READ),
    "team-on-package": partial(member, kind=PACKAGE, role=Role.WRITE),
    "team-without": partial(member, kind=PACKAGE, role=Role.NONE),
    "robot": partial(robot, kind="robot"),
    "robot-elsewhere": partial(robot, kind="robot"),
    "robot-abroad": partial(robot, kind="robot"),
    "job": partial(robot, kind="job"),
    "job-elsewhere": partial(robot, kind="job"),
    "job-abroad": partial(robot, kind="job"),
    "read-token": partial(writing, scopes=Scope.READ),
    "write-token": partial(writing, scopes=Scope.WRITE),
    "delete-token": partial(writing, scopes=Scope.READ | Scope.DELETE),
    "empty-token": partial(writing, scopes=Scope.NONE),
    "limited-token": limited,
    "limited-elsewhere": partial(limited, project="acme/other"),
    "expired-token": partial(writing, expires_in=LIFETIME),
    "revoked-token": writing,
    "disabled-user": writing,
}
"""`owner` is an organization owner, `admin` the site's: people of the world with its roles."""


async def finish(world: World) -> None:
    """End what the names of the rows say has ended."""
    world.clock.advance(LIFETIME)
    await world.services.accounts.set_enabled(OPERATOR, "disabled-user", enabled=False)
    for row in await world.services.tokens.list("revoked-token"):
        await world.services.tokens.revoke(OPERATOR, row["id"])
