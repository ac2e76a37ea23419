"""Linking at the first publish: what metadata gives, to whom, and what it never opens."""

import asyncio
import json
from typing import Any

import pytest

from auth.accounts import PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Action, Principal, Role, Scope, Visibility
from registry.linking import MAX_CONFIG, SOURCE, Said, publish, read_source
from storage.clock import SECOND
from storage.errors import Conflict, Invalid, NotFound
from storage.names import parse_repository
from tests.registry.client import (
    Client,
    Pushed,
    basic,
    descriptor,
    image_manifest,
    index_manifest,
    refused,
)
from tests.registry.world import World

URL = "https://git.example.com/acme/widget"
NAME = "acme/app"


async def project(world: World, visibility: Visibility, path: str = "acme/Widget") -> int:
    """A project whose source is at URL."""
    made = await world.services.projects.create(OPERATOR, path, visibility)
    await world.services.projects.add_source(OPERATOR, path, f"{URL}.git")
    return made


def labelled(source: str = URL) -> bytes:
    return json.dumps({"config": {"Labels": {SOURCE: source}}}).encode()


async def push(
    client: Client, tag: str = "v1", config: bytes = b"{}", name: str = NAME, **fields: Any
) -> Pushed:
    """Push an image with this config; an empty tag pushes it by its digest."""
    layer = f"layer of {tag}".encode()
    for data in (config, layer):
        await client.push_blob(name, data)
    return await client.push_manifest(name, tag, image_manifest(config, layer, **fields))


def annotated(source: str = URL) -> dict[str, Any]:
    return {"annotations": {SOURCE: source}}


async def state(world: World, name: str = NAME) -> tuple[str | None, Visibility, int | None]:
    """The project, the visibility, and the visibility that waits for a confirmation."""
    row = await world.services.packages.get(name)
    return row["project"], Visibility(row["visibility"]), row["pending_visibility"]


async def set_default(world: World, visibility: Visibility) -> None:
    await world.services.database.execute(
        "update accounts set default_visibility = $1 where name = 'acme'", int(visibility)
    )


UNLINKED = (None, Visibility.PRIVATE, None)
PENDING = ("Widget", Visibility.PRIVATE, Visibility.PUBLIC)


@pytest.mark.parametrize("where", ["annotation", "label"])
async def test_metadata_gives_roles_at_once_and_visibility_once_confirmed(
    world: World, writer: Client, anonymous: Client, stranger: Client, where: str
) -> None:
    project_id = await project(world, Visibility.PUBLIC)
    await world.services.accounts.grant(OPERATOR, PROJECT, project_id, "stranger", Role.READ)
    by_label = where == "label"
    image = await push(
        writer, config=labelled() if by_label else b"{}", **({} if by_label else annotated())
    )
    assert await state(world) == PENDING
    path = f"/v2/{NAME}/manifests/v1"
    assert (await stranger.get(path)).content == image.data
    refused(await anonymous.get(path), 401, "UNAUTHORIZED")
    said = image.response.headers["warning"]
    assert said.startswith('299 - "acme/app was linked to the project acme/Widget by its own')
    assert "public like it once 'packhouse package link acme/app acme/Widget'" in said
    (event,) = await world.rows("select subject, detail from events where kind = 'package.link'")
    assert (event["subject"], event["detail"]) == ("acme/Widget", f"{where}, public waits")
    await world.services.packages.link(OPERATOR, NAME, project_id)
    assert await state(world) == ("Widget", Visibility.PUBLIC, None)
    assert (await (await anonymous.bearer(f"repository:{NAME}:pull")).get(path)).status_code == 200


@pytest.mark.parametrize("default", list(Visibility))
@pytest.mark.parametrize("visibility", list(Visibility))
async def test_a_package_is_never_wider_than_its_owner_s_default(
    world: World, writer: Client, default: Visibility, visibility: Visibility
) -> None:
    await set_default(world, default)
    await project(world, visibility)
    image = await push(writer, **annotated())
    pending = visibility if visibility > default else None
    assert await state(world) == ("Widget", min(default, visibility), pending)
    assert ("once" in image.response.headers["warning"]) is (pending is not None)


async def test_a_project_that_opens_later_opens_what_was_confirmed_alone(
    world: World, writer: Client
) -> None:
    project_id = await project(world, Visibility.PRIVATE)
    await push(writer, **annotated())
    await push(writer, name="acme/other", **annotated())
    await world.services.packages.link(OPERATOR, "acme/other", project_id)
    assert (
        await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.PUBLIC)
        == 1
    )
    assert await state(world) == PENDING
    assert await state(world, "acme/other") == ("Widget", Visibility.PUBLIC, None)
    await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.INTERNAL)
    assert await state(world, "acme/other") == ("Widget", Visibility.INTERNAL, None)


async def test_a_project_that_opens_opens_what_nobody_confirmed_to_its_default_at_most(
    world: World, writer: Client
) -> None:
    await set_default(world, Visibility.INTERNAL)
    await project(world, Visibility.PRIVATE)
    await push(writer, **annotated())
    assert (
        await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.PUBLIC)
        == 1
    )
    assert await state(world) == ("Widget", Visibility.INTERNAL, Visibility.PUBLIC)


async def test_a_project_that_closes_closes_a_link_that_nobody_confirmed(
    world: World, writer: Client
) -> None:
    await set_default(world, Visibility.PUBLIC)
    await project(world, Visibility.PUBLIC)
    await push(writer, **annotated())
    assert await state(world) == ("Widget", Visibility.PUBLIC, None)
    await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.PRIVATE)
    assert await state(world) == ("Widget", Visibility.PRIVATE, None)


@pytest.mark.parametrize("source", ["https://git.example.com/acme/none", "nonsense", "\x1b[31m"])
async def test_an_annotation_ranks_above_a_label_also_where_it_names_nothing(
    world: World, writer: Client, source: str
) -> None:
    await project(world, Visibility.PUBLIC)
    image = await push(writer, config=labelled(), **annotated(source))
    assert await state(world) == UNLINKED
    assert "warning" not in image.response.headers


async def test_an_annotation_is_believed_before_the_label_of_a_base(
    world: World, writer: Client
) -> None:
    await project(world, Visibility.PUBLIC)
    await world.services.projects.create(OPERATOR, "acme/base", Visibility.PUBLIC)
    await world.services.projects.add_source(
        OPERATOR, "acme/base", "https://git.example.com/acme/base"
    )
    base = labelled("https://git.example.com/acme/base")
    await push(writer, config=base, **annotated())
    assert await state(world) == PENDING


async def test_only_the_first_manifest_under_a_tag_links(world: World, writer: Client) -> None:
    project_id = await project(world, Visibility.PRIVATE)
    await push(writer)
    await push(writer, "v2", **annotated())
    assert await state(world) == UNLINKED
    await push(writer, name="acme/other", **annotated())
    await world.services.packages.unlink(OPERATOR, "acme/other")
    await push(writer, "v2", name="acme/other", **annotated())
    assert await state(world, "acme/other") == UNLINKED
    await world.services.packages.delete(OPERATOR, "acme/other")
    await push(writer, "v3", name="acme/other", **annotated())
    assert await state(world, "acme/other") == UNLINKED
    assert project_id


async def test_blobs_and_manifests_without_a_tag_are_no_publish(
    world: World, writer: Client
) -> None:
    await project(world, Visibility.PUBLIC)
    await push(writer, "", **annotated())
    assert await state(world) == UNLINKED
    child = await push(writer, "", config=b'{"architecture": "arm64"}')
    await writer.push_manifest(NAME, "v1", index_manifest(child, **annotated()))
    assert await state(world) == PENDING


@pytest.mark.parametrize("where", ["annotation", "label"])
async def test_an_index_is_asked_first_then_its_children(
    world: World, writer: Client, where: str
) -> None:
    await project(world, Visibility.PUBLIC)
    attestation = await push(writer, "", config=b"{}")
    child = await (
        push(writer, "", config=labelled())
        if where == "label"
        else push(writer, "", config=labelled("https://git.example.com/a/base"), **annotated())
    )
    await writer.push_manifest(NAME, "v1", index_manifest(attestation, child))
    assert await state(world) == PENDING


async def test_an_index_that_names_nothing_here_is_not_corrected_by_its_children(
    world: World, writer: Client
) -> None:
    await project(world, Visibility.PUBLIC)
    child = await push(writer, "", config=labelled(), **annotated())
    elsewhere = annotated("https://git.example.com/acme/none")
    await writer.push_manifest(NAME, "v1", index_manifest(child, **elsewhere))
    assert await state(world) == UNLINKED


async def test_a_project_of_another_owner_is_not_linked(world: World, writer: Client) -> None:
    await world.services.accounts.create_organization(OPERATOR, "beta", "writer")
    await project(world, Visibility.PUBLIC, "beta/Widget")
    await push(writer, **annotated())
    assert await state(world) == UNLINKED
    found = await world.services.projects.get("beta/widget")
    with pytest.raises(Invalid, match="own owner only"):
        await world.services.packages.link(OPERATOR, NAME, found)


async def test_a_publisher_who_may_not_write_to_the_project_links_nothing(
    world: World, writer: Client, stranger: Client
) -> None:
    project_id = await project(world, Visibility.PUBLIC)
    grant = world.services.accounts.grant
    for name, role in (("acme/app", Role.READ), ("acme/other", Role.WRITE)):
        await writer.push_blob(name, b"made by somebody else")
        package = await world.services.packages.get(name)
        await grant(OPERATOR, PACKAGE, package["id"], "stranger", Role.WRITE)
        await grant(OPERATOR, PROJECT, project_id, "stranger", role)
        await push(stranger, name=name, **annotated())
    assert await state(world) == UNLINKED
    assert await state(world, "acme/other") == PENDING


@pytest.mark.parametrize("limit", ["package", "project"])
async def test_a_token_with_limits_links_within_them(
    world: World, writer: Client, limit: str
) -> None:
    project_id = await project(world, Visibility.PRIVATE)
    await writer.push_blob(NAME, b"makes it")
    package = await world.services.packages.get(NAME)
    limits = {"package": (PACKAGE, package["id"]), "project": (PROJECT, project_id)}
    account = await world.services.accounts.get("writer")
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits={limits["package"], limits[limit]}
    )
    await push(writer.with_authorization(basic("writer", made.text)), **annotated())
    assert (await state(world))[0] == ("Widget" if limit == "project" else None)


async def test_a_site_administrator_may_link_to_any_project(world: World) -> None:
    await project(world, Visibility.PRIVATE)
    await push(world.client("admin"), **annotated())
    assert (await state(world))[0] == "Widget"


DEEP = b'{"config": ' * 100_000


@pytest.mark.parametrize(
    "config",
    [
        b"no JSON",
        b"\xff",
        b"[]",
        b'{"config": null}',
        b'{"config": {"Labels": null}}',
        b'{"config": {"Labels": {"org.opencontainers.image.source": 7}}}',
        b'{"config": {"Labels": {"org.opencontainers.image.source": "\\ud800"}}}',
        DEEP[: MAX_CONFIG - 1],
        labelled() + b" " * MAX_CONFIG,
    ],
    ids=range(9),
)
async def test_a_config_that_cannot_be_read_is_pushed_and_links_nothing(
    world: World, writer: Client, config: bytes
) -> None:
    await project(world, Visibility.PUBLIC)
    await push(writer, config=config)
    assert await state(world) == UNLINKED


async def test_a_config_that_is_no_image_s_has_no_labels(world: World, writer: Client) -> None:
    await project(world, Visibility.PUBLIC)
    await writer.push_blob(NAME, labelled())
    document = image_manifest(labelled())
    document["config"] = descriptor(labelled(), "application/vnd.example.config+json")
    await writer.push_manifest(NAME, "v1", document)
    assert await state(world) == UNLINKED


async def test_a_config_whose_bytes_are_gone_stops_no_push(world: World, writer: Client) -> None:
    await project(world, Visibility.PUBLIC)
    digest = await writer.push_blob(NAME, labelled())
    (await world.file_of_blob(digest)).unlink()
    await writer.push_manifest(NAME, "v1", image_manifest(labelled()))
    assert await state(world) == UNLINKED


@pytest.mark.parametrize(
    ("source", "linked"),
    [
        ("https://packages.example.com/acme/widget", True),
        ("https://packages.example.com/Acme/WIDGET.git/", True),
        ("https://packages.example.com/beta/widget", False),
        ("https://packages.example.com/acme/widget/more", False),
        ("https://packages.example.com.evil.example/acme/widget", False),
        ("https://registry.test/acme/widget", False),
    ],
)
async def test_our_own_host_and_path_name_a_project(
    world: World, source: str, linked: bool
) -> None:
    await world.reconfigure(public_url="https://packages.example.com")
    await world.services.projects.create(OPERATOR, "acme/Widget", Visibility.PRIVATE)
    await push(world.client("writer"), **annotated(source))
    assert (await state(world))[0] == ("Widget" if linked else None)


async def test_our_own_page_of_a_project_that_another_owner_has_names_nothing(
    world: World,
) -> None:
    await world.reconfigure(public_url="https://packages.example.com")
    await world.services.accounts.create_organization(OPERATOR, "beta", "writer")
    await world.services.projects.create(OPERATOR, "beta/widget", Visibility.PRIVATE)
    await push(world.client("writer"), **annotated("https://packages.example.com/acme/widget"))
    assert await state(world) == UNLINKED


async def test_without_a_public_url_no_host_is_our_own(world: World, writer: Client) -> None:
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await push(writer, **annotated("https://registry.test/acme/widget"))
    assert await state(world) == UNLINKED


async def test_a_job_s_token_ranks_above_metadata_and_links_with_visibility(world: World) -> None:
    await project(world, Visibility.PRIVATE)
    await world.services.projects.create(OPERATOR, "acme/ours", Visibility.PUBLIC)
    robot_id, project_id = await world.services.projects.robot(OPERATOR, "acme/ours")
    made = await world.services.tokens.create(
        OPERATOR,
        robot_id,
        "job",
        "",
        Scope.READ | Scope.WRITE,
        world.clock() + 3600 * SECOND,
        project_id,
    )
    image = await push(world.client("").with_authorization(basic("ci", made.text)), **annotated())
    assert await state(world) == ("ours", Visibility.PUBLIC, None)
    assert "warning" not in image.response.headers


async def test_of_many_first_publishes_at_once_one_links(world: World, writer: Client) -> None:
    await project(world, Visibility.PUBLIC)
    for at in range(5):
        await push(writer, "", config=f'{{"at": {at}}}'.encode())
    documents = [
        image_manifest(f'{{"at": {at}}}'.encode(), annotations={SOURCE: URL, "at": str(at)})
        for at in range(5)
    ]
    answers = await asyncio.gather(
        *(writer.put_manifest(NAME, f"v{at}", document) for at, document in enumerate(documents))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert sum("warning" in answer.headers for answer in answers) == 1
    assert len(await world.rows("select id from events where kind = 'package.link'")) == 1
    assert await state(world) == PENDING


async def test_who_was_overtaken_by_a_first_publish_links_nothing(
    world: World, writer: Client
) -> None:
    await project(world, Visibility.PUBLIC)
    await writer.push_blob(NAME, b"makes it")
    services, package = world.services, await world.services.packages.get(NAME)
    who = Principal((await services.accounts.get("writer")).id, "writer", "user")
    stale = await services.permissions.require(who, Action.PUSH, parse_repository(NAME))
    await push(writer)
    source = read_source(Said(URL, "annotation"), "")
    link = await services.database.write(
        lambda tx: publish(tx, who, stale, package["id"], source, world.clock())
    )
    assert link is None
    assert await state(world) == UNLINKED


async def test_a_source_names_one_project_of_an_owner(world: World, writer: Client) -> None:
    await project(world, Visibility.PUBLIC)
    projects = world.services.projects
    await projects.create(OPERATOR, "acme/second", Visibility.PRIVATE)
    with pytest.raises(Conflict, match="source of the project 'Widget' already"):
        await projects.add_source(OPERATOR, "acme/second", URL)
    await projects.add_source(OPERATOR, "acme/widget", "git@git.example.com:acme/widget.git")
    await projects.add_source(OPERATOR, "acme/widget", "https://mirror.example.com/widget")
    listed = await projects.sources("acme/WIDGET")
    assert listed == ["git.example.com/acme/widget", "mirror.example.com/widget"]
    await projects.remove_source(OPERATOR, "acme/widget", URL)
    with pytest.raises(NotFound, match="is no source of acme/Widget"):
        await projects.remove_source(OPERATOR, "acme/widget", URL)
    await push(writer, **annotated())
    assert await state(world) == UNLINKED


async def test_no_package_misses_a_change_of_its_project(world: World, writer: Client) -> None:
    projects, packages = world.services.projects, world.services.packages
    project_id = await project(world, Visibility.PRIVATE)
    names = [f"acme/app{at}" for at in range(6)]
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE, Visibility.INTERNAL):
        for name in names:
            await writer.push_blob(name, b"makes it")
            await packages.unlink(OPERATOR, name)
        await asyncio.gather(
            *(packages.link(OPERATOR, name, project_id) for name in names[:3]),
            projects.set_visibility(OPERATOR, "acme/widget", visibility),
            *(packages.link(OPERATOR, name, project_id) for name in names[3:]),
        )
        assert [await state(world, name) for name in names] == [("Widget", visibility, None)] * 6
