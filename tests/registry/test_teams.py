"""Teams and organizations: what members may do, and what they lose when they leave."""

import asyncio

import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.organizations import GroupRole
from auth.principals import Role, Visibility
from storage.errors import Conflict, NameInvalid, NotFound
from tests.registry.client import refused
from tests.registry.world import OWNER_NAME, World

TEAM = "acme/devs"


@pytest.fixture
async def team(world: World) -> int:
    """A team of acme with the stranger in it, and an image that he may not see without it."""
    await world.client().push_image("acme/app", "v1")
    await world.services.organizations.add(OPERATOR, OWNER_NAME, "stranger", owner=False)
    made = await world.services.teams.create(OPERATOR, TEAM)
    await world.services.teams.add(OPERATOR, TEAM, "stranger", GroupRole.MEMBER)
    return made


async def status(world: World, name: str = "stranger", image: str = "acme/app") -> int:
    return (await world.client(name).get(f"/v2/{image}/manifests/v1")).status_code


async def resource(world: World, kind: int) -> int:
    """The id of acme, of a project of it to which acme/app is linked, or of acme/app."""
    if kind == OWNER:
        return (await world.services.accounts.get(OWNER_NAME)).id
    if kind == PACKAGE:
        found: int = (await world.services.packages.get("acme/app"))["id"]
        return found
    project = await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/app", project)
    return project


@pytest.mark.parametrize("kind", [OWNER, PROJECT, PACKAGE])
@pytest.mark.usefixtures("team")
async def test_a_role_of_a_team_is_its_members_at_once(world: World, kind: int) -> None:
    assert await status(world) == 404
    resource_id = await resource(world, kind)
    await world.services.accounts.grant(OPERATOR, kind, resource_id, TEAM, Role.READ)
    assert await status(world) == 200
    assert "acme/app" in (await world.client("stranger").get("/v2/_catalog")).text
    upload = await world.client("stranger").post("/v2/acme/app/blobs/uploads/")
    refused(upload, 403, "DENIED")
    await world.services.accounts.grant(OPERATOR, kind, resource_id, TEAM, Role.WRITE)
    await world.client("stranger").push_image("acme/app", "v2")
    await world.services.accounts.grant(OPERATOR, kind, resource_id, TEAM, Role.NONE)
    assert await status(world) == 404


@pytest.mark.parametrize("how", ["leaves the team", "leaves the organization", "team ends"])
@pytest.mark.usefixtures("team")
async def test_what_a_team_gave_ends_with_it(world: World, how: str) -> None:
    acme = (await world.services.accounts.get(OWNER_NAME)).id
    await world.services.accounts.grant(OPERATOR, OWNER, acme, TEAM, Role.READ)
    bearer = await world.client("stranger").bearer("repository:acme/app:pull")
    assert (await bearer.get("/v2/acme/app/manifests/v1")).status_code == 200
    if how == "leaves the team":
        await world.services.teams.remove(OPERATOR, TEAM, "stranger")
    elif how == "leaves the organization":
        await world.services.organizations.remove(OPERATOR, OWNER_NAME, "stranger")
    else:
        await world.services.teams.delete(OPERATOR, TEAM)
        assert await world.services.teams.list(OWNER_NAME) == []
        assert await world.services.teams.create(OPERATOR, TEAM)
    assert await status(world) == 404
    refused(await bearer.get("/v2/acme/app/manifests/v1"), 404, "NAME_UNKNOWN")


async def test_who_leaves_an_organization_loses_every_role_in_it(world: World, team: int) -> None:
    accounts = world.services.accounts
    for kind in (OWNER, PROJECT, PACKAGE):
        await accounts.grant(OPERATOR, kind, await resource(world, kind), "stranger", Role.WRITE)
    await world.client("stranger").push_image("stranger/own", "v1")
    await world.services.organizations.remove(OPERATOR, OWNER_NAME, "stranger")
    assert team
    assert await status(world) == 404
    assert await status(world, image="stranger/own") == 200


async def test_an_owner_may_do_everything_and_is_never_the_last_to_leave(world: World) -> None:
    organizations = world.services.organizations
    await world.client().push_image("acme/app", "v1")
    with pytest.raises(Conflict, match="would have no owner"):
        await organizations.remove(OPERATOR, OWNER_NAME, "owner")
    with pytest.raises(Conflict, match="would have no owner"):
        await organizations.add(OPERATOR, OWNER_NAME, "owner", owner=False)
    await organizations.add(OPERATOR, OWNER_NAME, "stranger", owner=True)
    found = {row["name"]: row["role"] for row in await organizations.members(OWNER_NAME)}
    assert found == {"owner": Role.ADMIN, "stranger": Role.ADMIN}
    assert (await world.client("stranger").delete("/v2/acme/app/manifests/v1")).status_code == 202
    left = await asyncio.gather(
        *(organizations.remove(OPERATOR, OWNER_NAME, name) for name in ("owner", "stranger")),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in left) == ["Conflict", "NoneType"]


@pytest.mark.usefixtures("team")
async def test_what_cannot_be_a_team_or_a_member_is_refused(world: World) -> None:
    teams = world.services.teams
    with pytest.raises(Conflict, match="exists"):
        await teams.create(OPERATOR, "ACME/Devs")
    for path in ("acme", "acme/", "/devs", "acme/d.evs", "acme/a/b", "acme/-a", "acme/" + "a" * 40):
        with pytest.raises(NameInvalid):
            await teams.create(OPERATOR, path)
    with pytest.raises(NameInvalid, match="reserved"):
        await teams.create(OPERATOR, "v2/devs")
    with pytest.raises(Conflict, match="only an organization has teams"):
        await teams.create(OPERATOR, "writer/devs")
    with pytest.raises(NotFound):
        await teams.create(OPERATOR, "nowhere/devs")
    with pytest.raises(Conflict, match="packhouse org add acme reader"):
        await teams.add(OPERATOR, TEAM, "reader", GroupRole.MEMBER)
    for name in ("nobody", "acme", TEAM):
        with pytest.raises(NotFound):
            await teams.add(OPERATOR, TEAM, name, GroupRole.MEMBER)
    with pytest.raises(NotFound, match="no member"):
        await teams.remove(OPERATOR, TEAM, "reader")
    with pytest.raises(NotFound):
        await teams.delete(OPERATOR, "acme/nobody")
    with pytest.raises(NotFound, match="no member"):
        await world.services.organizations.remove(OPERATOR, OWNER_NAME, "admin")


@pytest.mark.usefixtures("team")
async def test_a_team_signs_in_nowhere_and_owns_nothing(world: World) -> None:
    assert (await world.signed_in(TEAM).get("/token")).status_code == 401
    await world.client().push_image("acme/devs", "v1")  # an image may be called like a team
    with pytest.raises(NameInvalid):
        await world.services.projects.create(OPERATOR, "acme/devs/x", Visibility.PUBLIC)


@pytest.mark.usefixtures("team")
async def test_a_team_that_ends_while_it_is_used_leaves_nothing(world: World) -> None:
    acme = (await world.services.accounts.get(OWNER_NAME)).id
    done = await asyncio.gather(
        world.services.teams.delete(OPERATOR, TEAM),
        *(world.services.accounts.grant(OPERATOR, OWNER, acme, TEAM, Role.READ) for _ in range(5)),
        *(
            world.services.teams.add(OPERATOR, TEAM, "stranger", GroupRole.MAINTAINER)
            for _ in range(5)
        ),
        return_exceptions=True,
    )
    assert {type(one) for one in done} <= {type(None), NotFound}
    assert await status(world) == 404
    ids = "(select id from accounts)"
    assert await world.rows(f"select 1 from grants where grantee_id not in {ids}") == []
    assert await world.rows(f"select 1 from members where group_id not in {ids}") == []
