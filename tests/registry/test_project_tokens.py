"""Tokens of a project's jobs: they write to what is linked to it, and to what they make there."""

import argparse

import pytest

from auth.audit import OPERATOR
from auth.principals import Scope, Visibility
from registry.running import local_api
from registry.token_commands import token_create
from storage.errors import Invalid
from tests.registry.client import Client, basic, refused
from tests.registry.world import World


async def job(world: World, project: str, **options: object) -> Client:
    """A client with a fresh token of a project, made as the command line makes it."""
    robot_id, project_id = await world.services.projects.robot(OPERATOR, project)
    expires_at = world.clock() + 3_600_000_000
    made = await world.services.tokens.create(
        OPERATOR, robot_id, "job", "", Scope.READ | Scope.WRITE, expires_at, project_id
    )
    return world.client("").with_authorization(basic("ci", made.text))


async def test_what_a_job_makes_belongs_to_its_project(world: World) -> None:
    await world.services.projects.create(OPERATOR, "acme/Widget", Visibility.PUBLIC)
    client = await job(world, "acme/widget")
    image = await client.push_image("acme/widget-image", "v1")
    package = await world.services.packages.get("acme/widget-image")
    assert package["project"] == "Widget"
    assert package["visibility"] == Visibility.PUBLIC
    nobody = await world.client("").bearer("repository:acme/widget-image:pull")
    found = await nobody.get("/v2/acme/widget-image/manifests/v1")
    assert found.content == image.data
    await (await job(world, "acme/widget")).push_image("acme/widget-image", "v2")


async def test_a_job_s_token_ends_at_its_project(world: World) -> None:
    for name in ("one", "two"):
        await world.services.projects.create(OPERATOR, f"acme/{name}", Visibility.PRIVATE)
    await world.client().push_image("acme/unlinked", "v1")
    one, two = await job(world, "acme/one"), await job(world, "acme/two")
    await two.push_image("acme/of-two", "v1")
    for name in ("acme/unlinked", "acme/of-two", "writer/new", "admin/new"):
        refused(await one.post(f"/v2/{name}/blobs/uploads/"), 403, "DENIED")
        refused(await one.get(f"/v2/{name}/manifests/v1"), 404, "NAME_UNKNOWN")
    robot_id, project_id = await world.services.projects.robot(OPERATOR, "acme/two")
    await world.services.packages.link(OPERATOR, "acme/unlinked", project_id)
    assert robot_id
    assert (await two.get("/v2/acme/unlinked/manifests/v1")).status_code == 200
    refused(await one.get("/v2/acme/unlinked/manifests/v1"), 404, "NAME_UNKNOWN")


async def test_a_person_s_grant_on_a_project_makes_no_new_packages(world: World) -> None:
    await world.services.projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    robot_id, project_id = await world.services.projects.robot(OPERATOR, "acme/one")
    made = await world.services.tokens.create(OPERATOR, robot_id, "robot", "", Scope.ALL, None)
    unbound = world.client("").with_authorization(basic("ci", made.text))
    assert project_id
    refused(await unbound.post("/v2/acme/new/blobs/uploads/"), 403, "DENIED")


async def test_a_job_s_token_lives_for_a_day_at_most(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.services.projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    words: dict[str, object] = {"project": "acme/one", "robot": None, "user": "admin", "name": ""}
    words |= {"scope": "read,write", "limit": [], "limit_package": [], "json": False}
    async with local_api(world.services) as api:
        for expires in ("25h", "4m", "never"):
            with pytest.raises(Invalid, match="24h at most"):
                await token_create(api, argparse.Namespace(**words, expires=expires))
        await token_create(api, argparse.Namespace(**words, expires=None))
    text = capsys.readouterr().out.strip()
    assert text.startswith("phj_")
    client = world.client("").with_authorization(f"Bearer {text}")
    await client.push_image("acme/new", "v1")
    world.clock.advance(3600)
    refused(await client.get("/v2/"), 401, "UNAUTHORIZED", "expired")


async def test_the_next_project_of_a_name_gets_no_rights_of_the_last(world: World) -> None:
    projects = world.services.projects
    await projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    await (await job(world, "acme/one")).push_image("acme/of-one", "v1")
    first = await job(world, "acme/one")
    await projects.rename(OPERATOR, "acme/one", "Renamed")
    await projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    second = await job(world, "acme/one")
    refused(await second.get("/v2/acme/of-one/manifests/v1"), 404, "NAME_UNKNOWN")
    await first.push_image("acme/of-one", "v2")
    await (await job(world, "acme/renamed")).push_image("acme/of-one", "v3")
