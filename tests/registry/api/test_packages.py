"""Packages over /api/v1: lists, changes, deletions, and what ten clients do to one at once."""

import asyncio
from typing import Any

import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Scope, Visibility
from tests.registry.api.asking import problem
from tests.registry.client import Client, basic
from tests.registry.world import World

PACKAGES = "/api/v1/packages"
APP = f"{PACKAGES}/acme/app"


async def names(client: Client, **query: Any) -> list[str]:
    """All packages on the pages of a list, of two each."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        response = await client.get(PACKAGES, params={**query, "n": 2, "after": after})
        assert response.status_code == 200, response.text
        page = response.json()
        assert len(page["items"]) <= 2
        found += [item["name"] for item in page["items"]]
        after = page["next"]
    return found


async def limited(world: World, name: str, kind: int, resource_id: int) -> Client:
    """A person with a token that is limited to one resource."""
    account = await world.services.accounts.get(name)
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", Scope.ALL, None, limits=[(kind, resource_id)]
    )
    return world.client("").with_authorization(basic(name, made.text))


async def stock(world: World) -> None:
    """Packages of every visibility, linked and not, of an organization and of a person."""
    writer, services = world.client("writer"), world.services
    for name in ("app", "base", "cli", "docs"):
        await writer.push_image(f"acme/{name}", "v1")
    await world.client("stranger").push_image("stranger/own", "v1")
    await services.projects.create(OPERATOR, "acme/Widget", Visibility.PRIVATE)
    await services.packages.link(OPERATOR, "acme/cli", await services.projects.get("acme/widget"))
    await world.publish("acme/base")
    await world.publish("acme/docs", Visibility.INTERNAL)


async def test_a_list_shows_what_the_caller_may_see(world: World) -> None:
    await stock(world)
    acme = ["acme/app", "acme/base", "acme/cli", "acme/docs"]
    assert await names(world.client("")) == ["acme/base"]
    assert await names(world.client("stranger")) == ["acme/base", "acme/docs", "stranger/own"]
    assert await names(world.client("reader")) == acme
    assert await names(world.client("admin")) == [*acme, "stranger/own"]
    accounts, packages = world.services.accounts, world.services.packages
    app = (await packages.get("acme/app"))["id"]
    await accounts.grant(OPERATOR, PACKAGE, app, "stranger", Role.READ)
    widget = await world.services.projects.get("acme/widget")
    await accounts.grant(OPERATOR, PROJECT, widget, "stranger", Role.READ)
    assert await names(world.client("stranger")) == [*acme, "stranger/own"]


async def test_a_project_is_named_to_those_who_see_it(world: World) -> None:
    await stock(world)
    cli = (await world.services.packages.get("acme/cli"))["id"]
    await world.services.accounts.grant(OPERATOR, PACKAGE, cli, "stranger", Role.READ)
    widget = await world.services.projects.get("acme/widget")
    for person, project in (("reader", "acme/Widget"), ("stranger", None)):
        client = world.client(person)
        listed = (await client.get(PACKAGES, params={"after": "acme/c", "n": 1})).json()
        found = (await client.get("/api/v1/search", params={"q": "cli"})).json()
        shown = (await client.get(f"{PACKAGES}/acme/cli")).json()
        for one in (listed["items"][0], found["items"][0], shown):
            assert (one["name"], one["project"]) == ("acme/cli", project)
    await world.services.accounts.grant(OPERATOR, PROJECT, widget, "stranger", Role.READ)
    shown = (await world.client("stranger").get(f"{PACKAGES}/acme/cli")).json()
    assert shown["project"] == "acme/Widget"


async def test_a_filter_does_not_confirm_a_hidden_projects_name(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    project = await world.services.projects.create(OPERATOR, "acme/secret", Visibility.PRIVATE)
    await world.services.packages.link(OPERATOR, "acme/app", project)
    app = (await world.services.packages.get("acme/app"))["id"]
    await world.services.accounts.grant(OPERATOR, PACKAGE, app, "stranger", Role.READ)
    stranger = world.client("stranger")
    assert await names(stranger) == ["acme/app"]
    assert await names(stranger, project="acme/secret") == []
    assert await names(world.client("owner"), project="acme/secret") == ["acme/app"]


async def test_a_list_goes_on_from_owner_to_owner(world: World) -> None:
    """Names between those of two owners are somebody else's, and come in their place."""
    await world.services.accounts.create_organization(OPERATOR, "acme-b", "writer")
    writer, reader = world.client("writer"), world.client("reader")
    for name in ("acme/one", "acme/two", "acme-b/one", "writer/one", "acme/z"):
        await writer.push_image(name, "v1")
    await world.client("stranger").push_image("stranger/one", "v1")
    await world.publish("stranger/one")
    acme = ["acme/one", "acme/two", "acme/z"]
    assert await names(writer) == ["acme-b/one", *acme, "stranger/one", "writer/one"]
    assert await names(writer, owner="acme") == acme
    assert await names(reader) == [*acme, "stranger/one"]
    assert await names(reader, owner="acme-b") == []


async def test_a_list_is_filtered_before_it_is_cut_into_pages(world: World) -> None:
    await stock(world)
    admin, stranger = world.client("admin"), world.client("stranger")
    assert await names(admin, owner="Stranger") == ["stranger/own"]
    assert await names(admin, owner="acme", visibility="private") == ["acme/app", "acme/cli"]
    assert await names(admin, project="acme/WIDGET") == ["acme/cli"]
    assert await names(world.client("reader"), project="acme/widget") == ["acme/cli"]
    assert await names(admin, format="npm") == []
    assert await names(stranger, owner="acme") == ["acme/base", "acme/docs"]
    for hidden in ({"project": "acme/widget"}, {"project": "acme/none"}, {"owner": "nobody"}):
        assert await names(stranger, **hidden) == []
        assert await names(world.client(""), **hidden) == []
    refused = await admin.get(PACKAGES, params={"visibility": "secret"})
    problem(refused, 400, "no-such-query", "visibility")
    problem(await admin.get(PACKAGES, params={"owner": "\0"}), 400, "no-such-query")
    problem(await admin.get(PACKAGES, params={"after": "\0"}), 400, "no-such-query")


async def test_a_token_with_limits_lists_what_they_cover(world: World) -> None:
    await stock(world)
    cli = (await world.services.packages.get("acme/cli"))["id"]
    for person in ("writer", "admin"):
        client = await limited(world, person, PACKAGE, cli)
        assert await names(client) == ["acme/base", "acme/cli"], person
        assert await names(client, project="acme/widget") == ["acme/cli"]
        assert await names(client, visibility="internal") == []
    other = await limited(world, "stranger", OWNER, (await world.services.accounts.get("acme")).id)
    assert await names(other) == ["acme/base", "acme/docs"]


async def test_a_package_is_shown_by_any_of_its_names(world: World, writer: Client) -> None:
    await writer.push_image("acme/deep/er", "v1")
    shown = await world.client("reader").get(f"{PACKAGES}/acme/deep%2Fer")
    assert shown.json() == {
        "name": "acme/deep/er",
        "true_name": "",
        "owner": "acme",
        "format": "container",
        "visibility": "private",
        "project": None,
        "unconfirmed": None,
        "created_at": "2023-11-14T22:13:20Z",
        "deleted_at": None,
    }
    owner = world.client("owner")
    moved = await owner.patch(f"{PACKAGES}/acme/deep%2Fer", json={"name": "flat"})
    assert moved.json()["name"] == "acme/flat"
    assert (await owner.get(f"{PACKAGES}/acme/deep%2Fer")).json() == moved.json()
    aliases = await owner.get(f"{PACKAGES}/acme/flat/aliases")
    assert aliases.json() == {"items": ["acme/deep/er"], "next": None}
    again = await owner.patch(f"{PACKAGES}/acme/deep%2Fer", json={"visibility": "public"})
    problem(again, 403, "name-moved", "acme/flat now")
    release = "/api/v1/aliases/Acme/deep%2Fer"
    problem(await owner.delete(release), 403, "denied", "no administrator of this site")
    admin = world.client("admin")
    freed = {"name": "acme/deep/er", "package": "acme/flat"}
    assert (await admin.delete(release)).json() == freed
    problem(await admin.delete(release), 404, "not-found", "had before")
    problem(await owner.get(f"{PACKAGES}/acme/deep%2Fer"), 404, "name-unknown")


async def test_what_is_hidden_is_as_if_it_were_not_there(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    for path in ("", "/versions", "/tags", "/tags/v1", "/tags/v1/history", "/aliases"):
        for who, status in ((world.client("stranger"), 404), (world.client(""), 401)):
            headers = {"X-Request-Id": "a" * 16}
            hidden = await who.get(f"{APP}{path}", headers=headers)
            unknown = await who.get(f"{PACKAGES}/acme/ppa{path}", headers=headers)
            assert hidden.status_code == unknown.status_code == status
            assert hidden.text.replace("acme/app", "") == unknown.text.replace("acme/ppa", "")
    for method, path, body in (
        ("PATCH", "", {"visibility": "public"}),
        ("DELETE", "", None),
        ("POST", "/restore", None),
        ("GET", "/deletions", None),
        ("PUT", "/tags/v1", {"digest": "x"}),
    ):
        for name in ("app", "ppa"):
            for person in ("stranger", "reader"):
                response = await world.client(person).request(
                    method, f"{PACKAGES}/acme/{name}{path}", json=body
                )
                problem(response, 403, "denied", "may not")


async def test_visibility_and_link_are_changed_together(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.INTERNAL)
    owner = world.client("owner")
    linked = (await owner.patch(APP, json={"project": "acme/widget"})).json()
    assert (linked["project"], linked["visibility"]) == ("acme/widget", "internal")
    refused = await owner.patch(APP, json={"visibility": "public"})
    problem(refused, 409, "conflict", "visibility of its project")
    both = {"project": None, "visibility": "public"}
    opened = (await owner.patch(APP, json=both)).json()
    assert (opened["project"], opened["visibility"]) == (None, "public")
    contradiction = {"name": "other", "project": "acme/widget", "visibility": "private"}
    problem(await owner.patch(APP, json=contradiction), 409, "conflict")
    assert (await owner.get(APP)).json() == opened, "a part of a refused change was done"
    for project, status in (("globex/widget", 400), ("acme/none", 404), ("acme", 400)):
        response = await owner.patch(APP, json={"project": project})
        assert response.status_code == status, response.text
    assert (await owner.patch(APP, json={})).json() == opened
    app = (await world.services.packages.get("acme/app"))["id"]
    widget = await world.services.projects.get("acme/widget")
    await world.services.accounts.grant(OPERATOR, PACKAGE, app, "stranger", Role.ADMIN)
    await world.services.accounts.grant(OPERATOR, PROJECT, widget, "stranger", Role.READ)
    for project in ("acme/widget", "acme/none"):
        refused = await world.client("stranger").patch(APP, json={"project": project})
        problem(refused, 403, "denied", f"may not push to {project}")
    problem(await owner.patch(APP, json={"format": "npm"}), 400, "invalid", "format")
    problem(await writer.patch(APP, json={"visibility": "private"}), 403, "denied")


async def test_a_link_that_metadata_made_is_confirmed(world: World, writer: Client) -> None:
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    await world.services.projects.add_source(OPERATOR, "acme/widget", "https://example.com/w")
    said = {"org.opencontainers.image.source": "https://example.com/w"}
    await writer.push_image("acme/app", "v1", annotations=said)
    owner = world.client("owner")
    shown = (await owner.get(APP)).json()
    waiting = (shown["project"], shown["visibility"], shown["unconfirmed"])
    assert waiting == ("acme/widget", "private", "public")
    confirmed = (await owner.patch(APP, json={"project": "acme/widget"})).json()
    assert (confirmed["visibility"], confirmed["unconfirmed"]) == ("public", None)


async def test_a_name_takes_the_right_to_make_packages_there(world: World) -> None:
    await world.client("writer").push_image("acme/app", "v1")
    await world.services.accounts.create_organization(OPERATOR, "globex", "owner")
    app = (await world.services.packages.get("acme/app"))["id"]
    await world.services.accounts.grant(OPERATOR, PACKAGE, app, "stranger", Role.ADMIN)
    stranger, owner = world.client("stranger"), world.client("owner")
    for change in ({"name": "taken"}, {"owner": "globex"}, {"owner": "nobody"}):
        problem(await stranger.patch(APP, json=change), 403, "denied", "may not")
    assert (await stranger.patch(APP, json={"visibility": "internal"})).status_code == 200
    within = await limited(world, "owner", PACKAGE, app)
    problem(await within.patch(APP, json={"name": "beyond"}), 403, "denied")
    problem(await owner.patch(APP, json={"name": "npm/x"}), 403, "reserved-name", "npm")
    problem(await owner.patch(APP, json={"name": "Not Valid"}), 400, "invalid", "name")
    moved = await owner.patch(APP, json={"owner": "Globex", "name": "gadget"})
    assert moved.json()["name"] == "globex/gadget"
    problem(await stranger.patch(f"{PACKAGES}/globex/gadget", json={}), 403, "denied")
    assert (await owner.get("/v2/acme/app/manifests/v1")).status_code == 200
    back = await owner.patch(f"{PACKAGES}/globex/gadget", json={"owner": "acme", "name": "app"})
    assert back.json()["name"] == "acme/app"


async def test_a_transfer_to_oneself_takes_only_what_one_has(world: World) -> None:
    await world.client("writer").push_image("acme/app", "v1")
    app = (await world.services.packages.get("acme/app"))["id"]
    await world.services.accounts.grant(OPERATOR, PACKAGE, app, "stranger", Role.ADMIN)
    stranger = world.client("stranger")
    writing = await world.mint("stranger", Scope.READ | Scope.ADMIN)
    without = world.client("").with_authorization(basic("stranger", writing))
    problem(await without.patch(APP, json={"owner": "stranger"}), 403, "denied", "scope")
    moved = await stranger.patch(APP, json={"owner": "stranger"})
    assert moved.json()["name"] == "stranger/app"


async def test_a_package_is_deleted_listed_and_restored(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/kept", "v1")
    done = (await writer.delete(APP)).json()
    assert (done["manifests"], done["tags"], done["complete"]) == (1, 1, True)
    problem(await writer.get(APP), 404, "name-unknown")
    problem(await writer.delete(APP), 404, "name-unknown")
    assert await names(writer) == ["acme/kept"]
    for person in ("writer", "owner", "admin"):
        assert await names(world.client(person), deleted=True) == ["acme/app"], person
    for person in ("reader", "stranger", ""):
        assert await names(world.client(person), deleted=True) == [], person
    reading = await world.mint("writer", Scope.READ)
    refused = (
        await world.client("")
        .with_authorization(basic("writer", reading))
        .get(PACKAGES, params={"deleted": True})
    )
    problem(refused, 403, "denied", "delete")
    deletions = (await writer.get(f"{APP}/deletions")).json()["items"]
    (deletion,) = deletions
    assert (deletion["id"], deletion["what"], deletion["deleted_by"]) == (
        done["deletion"],
        "package",
        "writer",
    )
    restored = await writer.post(f"{APP}/restore")
    assert restored.json() == {"manifests": 1, "tags": 1, "conflicts": {}}
    assert (await writer.get("/v2/acme/app/manifests/v1")).status_code == 200
    problem(await writer.post(f"{APP}/restore"), 409, "conflict", "not deleted as a whole")
    problem(await writer.post(f"{PACKAGES}/acme/none/restore"), 404, "not-found")


async def test_a_deletion_is_undone_by_its_number_at_its_own_package(
    world: World, writer: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    await writer.push_image("acme/other", "v1")
    assert (await writer.delete(f"{APP}/tags/v1")).status_code == 204
    (deletion,) = (await writer.get(f"{APP}/deletions")).json()["items"]
    other = f"{PACKAGES}/acme/other/deletions/{deletion['id']}/restore"
    problem(await writer.post(other), 404, "not-found", "no deletion")
    for bad in ("x", "-1", "9" * 30):
        problem(await writer.post(f"{APP}/deletions/{bad}/restore"), 400, "invalid", "number")
    done = await writer.post(f"{APP}/deletions/{deletion['id']}/restore")
    assert done.json()["tags"] == 1


async def test_every_change_is_told_with_who_made_it(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    world.clock.advance(1)
    since, owner = world.clock(), world.client("owner")
    await owner.patch(APP, json={"name": "app2", "project": "acme/widget"})
    await owner.patch(f"{PACKAGES}/acme/app2", json={"project": None, "visibility": "public"})
    await owner.delete(f"{PACKAGES}/acme/app2")
    await owner.post(f"{PACKAGES}/acme/app2/restore")
    await world.client("admin").delete("/api/v1/aliases/acme/app")
    rows = await world.services.audit.list(since=since)
    told = [(row["account"], row["kind"], row["subject"], row["detail"]) for row in rows]
    assert told == [
        ("owner", "package.rename", "acme/app", "acme/app2"),
        ("owner", "package.link", "acme/app2", "widget"),
        ("owner", "package.unlink", "acme/app2", "widget"),
        ("owner", "package.visibility", "acme/app2", "public"),
        ("owner", "package.delete", "acme/app2", ""),
        ("owner", "deletion.restore", "acme/app2", ""),
        ("admin", "package.release", "acme/app2", "acme/app"),
    ]
    assert all(row["token_id"] and row["address"] and row["request_id"] for row in rows)
    events = await world.rows(
        f"select kind, account_id, token_id from events where created_at >= {since} order by id"
    )
    assert [event["kind"] for event in events] == [kind for _, kind, _, _ in told]
    assert all(event["account_id"] and event["token_id"] for event in events)


@pytest.mark.parametrize("change", ["rename", "link", "delete"])
async def test_ten_at_once_leave_one_package(world: World, writer: Client, change: str) -> None:
    await writer.push_image("acme/app", "v1")
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    owner = world.client("owner")
    async with world.another_worker() as other:
        asked = []
        for n in range(10):
            client = (world if n % 2 else other).client("owner")
            if change == "rename":
                asked.append(client.patch(APP, json={"name": f"app{n}"}))
            elif change == "link":
                body = {"project": "acme/widget" if n % 4 else None}
                asked.append(client.patch(APP, json=body))
            else:
                asked.append(client.delete(APP) if n % 4 else client.post(f"{APP}/restore"))
        answers = [response.status_code for response in await asyncio.gather(*asked)]
    assert set(answers) <= {200, 403, 404, 409}, answers
    (row,) = await world.rows("select * from packages")
    if change == "rename":
        assert answers.count(200) == 1
        assert await names(owner) == [row["repository"]]
        assert (await owner.get(APP)).json()["name"] == row["repository"]
    elif change == "link":
        assert set(answers) == {200}
        assert row["visibility"] == (2 if row["project_id"] else 0)
        (terms,) = await world.rows("select count(distinct visibility) as n from search_terms")
        assert terms["n"] == 1
        (seen,) = await world.rows("select distinct visibility from search_terms")
        assert seen["visibility"] == row["visibility"]
    else:
        (terms,) = await world.rows("select count(*) as n from search_terms")
        assert (terms["n"] == 0) == (row["deleted_at"] is not None)
        tags = await world.rows("select name from tags union select name from deleted_tags")
        assert [tag["name"] for tag in tags] == ["v1"], "a tag was lost"
