"""Packages and versions over GitHub's API."""

from dataclasses import replace

import pytest

from auth.accounts import PACKAGE
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from auth.principals import Scope as TokenScope
from registry.app import build_surface, wire
from registry.renaming import Renaming
from registry.rest.surface import RestSurface
from tests.registry.client import Client, index_manifest
from tests.registry.github.asking import RECORDED, V3, links, listed, names, refused, shown
from tests.registry.test_access_table import Counted
from tests.registry.test_project_tokens import job
from tests.registry.test_routes import parts
from tests.registry.world import World

ACME = f"{V3}/orgs/acme/packages/container"
APP = f"{ACME}/app"


async def stock(world: World) -> None:
    """A private, an internal and a public package of acme, and one of the writer's own."""
    writer = world.client()
    for name, visibility in (
        ("app", Visibility.PRIVATE),
        ("inside", Visibility.INTERNAL),
        ("open", Visibility.PUBLIC),
    ):
        await writer.push_image(f"acme/{name}", "v1")
        await world.publish(f"acme/{name}", visibility)
    await writer.push_image("writer/own", "v1")


def test_every_operation_of_github_s_description_is_answered(world: World) -> None:
    surfaces = [
        part
        for part in parts(build_surface(world.services), set())
        if isinstance(part, RestSurface)
    ]
    answered = {f"{one.method} {one.path}" for part in surfaces for one in part.operations}
    ours = {"{org}": "{owner}", "{username}": "{owner}", "{package_name}": "{package}"}
    for operation in RECORDED["operations"]:
        expected = operation.replace(" /", f" {V3}/").replace("{package_version_id}", "{version}")
        for theirs, mine in ours.items():
            expected = expected.replace(theirs, mine)
        assert expected in answered


async def test_each_sees_what_is_for_him(world: World) -> None:
    await stock(world)
    for name, expected in {
        "admin": ["app", "inside", "open"],
        "reader": ["app", "inside", "open"],
        "stranger": ["inside", "open"],
        "": ["open"],
    }.items():
        client = world.client(name)
        assert await names(client, "orgs/acme") == expected, name
        for package in ("app", "inside", "open"):
            response = await client.get(f"{ACME}/{package}")
            if package in expected:
                assert shown(response, "package")["name"] == package
            else:
                refused(response, 404 if name else 401)
    for visibility in ("private", "internal", "public"):
        (only,) = await names(world.client(), "orgs/acme", visibility=visibility)
        found = shown(await world.client().get(f"{ACME}/{only}"), "package")
        assert found["visibility"] == visibility


async def test_a_package_is_shown_as_github_does(world: World, reader: Client) -> None:
    await stock(world)
    found = shown(await reader.get(APP), "package")
    assert found["owner"].pop("login") == "acme"
    assert found["owner"]["type"] == "Organization"
    package = await world.services.packages.get("acme/app")
    base = "http://registry.test"
    del found["owner"]
    assert found == {
        "id": package["id"],
        "name": "app",
        "package_type": "container",
        "version_count": 1,
        "visibility": "private",
        "url": f"{base}{APP}",
        "html_url": f"{base}/acme/app",
        "created_at": "2023-11-14T22:13:20Z",
        "updated_at": "2023-11-14T22:13:20Z",
    }
    world.clock.advance(60)
    await world.client().push_image("acme/app", "v2", b"newer")
    found = shown(await reader.get(APP), "package")
    assert (found["version_count"], found["updated_at"]) == (2, "2023-11-14T22:14:20Z")
    await world.reconfigure(public_url="https://packages.example")
    found = shown(await world.client("reader").get(APP), "package")
    assert found["url"] == f"https://packages.example{APP}"
    assert found["owner"]["url"] == f"https://packages.example{V3}/users/acme"


async def test_its_project_is_the_repository_for_who_may_see_that(world: World) -> None:
    await stock(world)
    await world.services.projects.create(OPERATOR, "acme/Widget", Visibility.PRIVATE)
    _, project_id = await world.services.projects.robot(OPERATOR, "acme/widget")
    await world.services.packages.link(OPERATOR, "acme/app", project_id)
    repository = shown(await world.client("reader").get(APP), "package")["repository"]
    assert (repository["full_name"], repository["private"]) == ("acme/Widget", True)
    of_job = shown(await (await job(world, "acme/widget")).get(APP), "package")
    assert of_job["repository"]["id"] == project_id
    package = await world.services.packages.get("acme/app")
    grant = world.services.accounts.grant
    await grant(OPERATOR, PACKAGE, package["id"], "stranger", Role.READ)
    assert "repository" not in shown(await world.client("stranger").get(APP), "package")
    await world.services.projects.set_visibility(OPERATOR, "acme/widget", Visibility.INTERNAL)
    assert "repository" in shown(await world.client("stranger").get(APP), "package")


async def test_pages_have_numbers_and_links(world: World, writer: Client) -> None:
    for number in range(5):
        await writer.push_image(f"acme/app-{number}", "v1")
    first = await writer.get(f"{V3}/orgs/acme/packages?package_type=container&per_page=2")
    assert [one["name"] for one in listed(first, "package")] == ["app-0", "app-1"]
    page = "package_type=container&per_page=2&page={}"
    assert links(first) == {"next": page.format(2), "last": page.format(3)}
    assert "<http://registry.test/api/v3/orgs/acme/packages?" in first.headers["link"]
    second = await writer.get(f"{V3}/orgs/acme/packages?{page.format(2)}")
    assert links(second) == {
        "prev": page.format(1),
        "next": page.format(3),
        "last": page.format(3),
        "first": page.format(1),
    }
    third = await writer.get(f"{V3}/orgs/acme/packages?{page.format(3)}")
    assert [one["name"] for one in listed(third, "package")] == ["app-4"]
    assert links(third) == {"prev": page.format(2), "first": page.format(1)}
    beyond = await writer.get(f"{V3}/orgs/acme/packages?{page.format(9)}")
    assert listed(beyond, "package") == []
    assert links(beyond) == {"prev": page.format(1), "first": page.format(1)}
    assert (
        "link" not in (await writer.get(f"{V3}/orgs/acme/packages?package_type=container")).headers
    )


async def test_numbers_have_their_bounds(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    for path in (f"{V3}/orgs/acme/packages", f"{APP}/versions"):
        asked = {"package_type": "container"}
        for query in ({"page": 0}, {"per_page": 10**30}, {"per_page": -1}):
            assert len((await writer.get(path, params={**asked, **query})).json()) == 1
        for query in ({"page": 334}, {"page": 101, "per_page": 10**30}, {"page": 10**30}):
            refused(await writer.get(path, params={**asked, **query}), 400, "10000")
        refused(await writer.get(path, params={**asked, "page": "x"}), 400, "page")
    for query in ("", "?package_type=pypi", "?package_type=container&visibility=x"):
        refused(await writer.get(f"{V3}/orgs/acme/packages{query}"), 400)
    refused(await writer.get(f"{APP}/versions?state=gone"), 400, "state")


async def test_versions_of_a_package(world: World, writer: Client) -> None:
    first = await writer.push_image("acme/app", "v1", b"first")
    second = await writer.push_image("acme/app", "v2", b"second")
    child = await writer.push_image("acme/app", "", b"child")
    index = await writer.push_manifest("acme/app", "v3", index_manifest(child))
    page = await writer.get(f"{APP}/versions?per_page=2")
    found = listed(page, "package-version")
    assert [one["name"] for one in found] == [index.digest, second.digest]
    again = "state=active&per_page=2&page=2"
    assert links(page) == {"next": again, "last": again}
    (last,) = listed(await writer.get(f"{APP}/versions?{again}"), "package-version")
    assert last["name"] == first.digest
    beyond = await writer.get(f"{APP}/versions?state=active&per_page=2&page=7")
    first_page = again.replace("page=2&page=2", "page=2&page=1")
    assert links(beyond) == {"prev": again, "first": first_page}
    assert last["metadata"] == {"package_type": "container", "container": {"tags": ["v1"]}}
    assert last["url"] == f"http://registry.test{APP}/versions/{last['id']}"
    assert last["html_url"] == f"http://registry.test/acme/app@{first.digest}"
    assert shown(await writer.get(f"{APP}/versions/{last['id']}"), "package-version") == last
    (row,) = await world.rows(f"""select m.id from manifests m
        join manifest_contents c on c.id = m.content_id where c.digest = '{child.digest}'""")
    await writer.push_image("acme/other", "v1")
    other = (await writer.get(f"{ACME}/other/versions")).json()[0]["id"]
    arabic = str(last["id"]).translate({48 + digit: 0x660 + digit for digit in range(10)})
    for wanted in (row["id"], other, 0, "x", "1" * 30, f"%2B{last['id']}", arabic):
        refused(await writer.get(f"{APP}/versions/{wanted}"), 404, "version")
        refused(await writer.delete(f"{APP}/versions/{wanted}"), 404, "version")


async def test_versions_go_and_come_back(world: World, writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1", b"first")
    kept = await writer.push_image("acme/app", "v2", b"second")
    (_, version) = (await writer.get(f"{APP}/versions")).json()
    path = f"{APP}/versions/{version['id']}"
    refused(await writer.post(f"{path}/restore"), 404, "no deleted version")
    gone = await writer.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    refused(await writer.get(path), 404, "no version")
    refused(await writer.delete(path), 404, "no version")
    assert [one["name"] for one in (await writer.get(f"{APP}/versions")).json()] == [kept.digest]
    (deleted,) = listed(await writer.get(f"{APP}/versions?state=deleted"), "package-version")
    assert deleted == {**version, "deleted_at": "2023-11-14T22:13:20Z"}
    back = await writer.post(f"{path}/restore")
    assert (back.status_code, back.content) == (204, b"")
    assert shown(await writer.get(path), "package-version") == version
    assert (await writer.get("/v2/acme/app/manifests/v1")).content == image.data
    assert listed(await writer.get(f"{APP}/versions?state=deleted"), "package-version") == []


async def test_deleted_versions_are_counted_for_their_pages(world: World, writer: Client) -> None:
    for number in range(3):
        await writer.push_image("acme/app", f"v{number}", b"%d" % number)
    for version in (await writer.get(f"{APP}/versions")).json():
        await writer.delete(f"{APP}/versions/{version['id']}")
    page = await writer.get(f"{APP}/versions?state=deleted&per_page=1")
    assert links(page)["last"] == "state=deleted&per_page=1&page=3"


async def test_packages_go_and_come_back(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    refused(await writer.post(f"{APP}/restore"), 404, "not deleted")
    assert (await writer.delete(APP)).status_code == 204
    refused(await writer.get(APP), 404)
    refused(await writer.delete(APP), 404)
    assert await names(writer, "orgs/acme") == []
    reader = world.client("reader")
    refused(await reader.post(f"{APP}/restore"), 403, "reader may not")
    assert (await writer.post(f"{APP}/restore")).status_code == 204
    assert shown(await writer.get(APP), "package")["version_count"] == 1
    assert (await writer.delete(APP)).status_code == 204
    world.clock.advance(31 * 86400)
    refused(await writer.post(f"{APP}/restore"), 409, "can no longer be restored")
    refused(await writer.post(f"{ACME}/never/restore"), 404, "no package")


async def test_who_may_not_delete_is_told_so_whether_it_exists_or_not(world: World) -> None:
    await stock(world)
    version = (await world.client().get(f"{APP}/versions")).json()[0]["id"]
    for name in ("reader", "stranger"):
        client = world.client(name)
        for package in ("app", "never"):
            path = f"{ACME}/{package}"
            for method, where in (
                ("DELETE", path),
                ("POST", f"{path}/restore"),
                ("DELETE", f"{path}/versions/{version}"),
                ("POST", f"{path}/versions/{version}/restore"),
            ):
                response = await client.request(method, where)
                refused(response, 403, f"{name} may not delete acme/{package}", "'delete'")
    token = await world.mint("writer", TokenScope.READ | TokenScope.WRITE)
    writes = world.client("").with_authorization(f"token {token}")
    refused(await writes.delete(APP), 403, "scope 'delete'")
    refused(await world.client("").delete(APP), 401, "sign in")


async def test_hidden_and_unknown_take_the_same_path(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    ran: list[str] = []
    services = world.services
    counted = wire(world.config, Counted(services.database, ran), services.store, world.clock)
    surface = build_surface(counted)
    for name in ("stranger", ""):
        client = replace_app(world.client(name), surface)
        for owner, place in (("acme", "orgs"), ("writer", "users")):
            for method, path in (
                ("GET", "{owner}"),
                ("GET", "{owner}/packages?package_type=container"),
                ("GET", "{owner}/docker/conflicts"),
                ("GET", "{owner}/packages/container/app"),
                ("GET", "{owner}/packages/npm/app"),
                ("GET", "{owner}/packages/container/app/versions"),
                ("GET", "{owner}/packages/container/app/versions/1"),
                ("DELETE", "{owner}/packages/container/app"),
                ("POST", "{owner}/packages/container/app/versions/1/restore"),
            ):
                seen = set()
                for asked in (owner, "nobody"):
                    ran.clear()
                    where = path.format(owner=asked)
                    response = await client.request(
                        method, f"{V3}/{place}/{where}", headers={"X-Request-Id": "a" * 16}
                    )
                    assert response.status_code in (401, 403, 404)
                    kept = [
                        pair for pair in response.headers.items() if pair[0] != "content-length"
                    ]
                    text = response.text.replace(asked, "OWNER")
                    seen.add((response.status_code, str(kept), text, tuple(ran)))
                assert len(seen) == 1, (name, path, seen)


def replace_app(client: Client, surface: object) -> Client:
    return Client(surface, client.authorization)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["orgs/acme", "users/writer", "user"])
async def test_an_encoded_slash_belongs_to_the_name(world: World, place: str) -> None:
    writer, owner = world.client(), "acme" if place == "orgs/acme" else "writer"
    await writer.push_image(f"{owner}/x", "v1")
    await writer.push_image(f"{owner}/x/versions", "v1")
    packages = f"{V3}/{place}/packages/container"
    inner = await writer.raw("GET", f"{packages}/x%2Fversions")
    assert shown(inner, "package")["name"] == "x/versions"
    assert inner.json()["url"].endswith("/packages/container/x%2Fversions")
    (version,) = listed(await writer.raw("GET", f"{packages}/x/versions"), "package-version")
    assert version["html_url"].startswith(f"http://registry.test/{owner}/x@")
    (nested,) = (await writer.raw("GET", f"{packages}/x%2fversions/versions")).json()
    path = f"{packages}/x%2Fversions/versions/{nested['id']}"
    assert shown(await writer.raw("GET", path), "package-version") == nested
    wrong = f"{packages}/x%2Fversions%2F{nested['id']}"
    refused(await writer.raw("DELETE", wrong), 404)
    assert (await writer.raw("DELETE", f"{packages}/x%2Fversions")).status_code == 204
    assert await names(writer, place) == ["x"]
    refused(await writer.raw("DELETE", f"{packages}/x/versions"), 405, "GET, HEAD")
    assert (await writer.raw("POST", f"{packages}/x%2Fversions/restore")).status_code == 204
    assert await names(writer, place) == ["x", "x/versions"]
    refused(await writer.raw("GET", f"{V3}/orgs%2Facme/packages"), 404)
    refused(await writer.raw("GET", f"{packages}/x/versions/1%2Frestore"), 400, "{version}")


async def test_formats_are_the_packages_own(world: World, writer: Client) -> None:
    await stock(world)
    await writer.push_image("acme/docker/app", "v1")
    for kind in ("npm", "maven", "rubygems", "nuget", "docker"):
        path = f"{V3}/orgs/acme/packages"
        assert listed(await writer.get(f"{path}?package_type={kind}"), "package") == []
        for name in ("app", "%40acme%2Fpad", "A.b"):
            refused(await writer.raw("GET", f"{path}/{kind}/{name}"), 404)
    await world.services.database.write(lambda tx: tx.execute(
        "update packages set format = 'npm' where repository = 'acme/open'"
    ))  # fmt: skip
    anonymous = world.client("")
    found = await anonymous.get(f"{V3}/orgs/acme/packages?package_type=npm")
    assert [one["package_type"] for one in listed(found, "package")] == ["npm"]
    assert await names(anonymous, "orgs/acme") == []
    refused(await anonymous.get(f"{ACME}/open"), 404)
    conflicts = await anonymous.get(f"{V3}/orgs/acme/docker/conflicts")
    assert listed(conflicts, "package") == []


async def test_a_user_s_packages_by_name_and_as_his_own(world: World, writer: Client) -> None:
    await stock(world)
    own = shown(await writer.get(f"{V3}/user/packages/container/own"), "package")
    assert own == (await writer.get(f"{V3}/users/writer/packages/container/own")).json()
    assert own["url"].endswith(f"{V3}/users/writer/packages/container/own")
    assert await names(writer, "user") == await names(writer, "users/writer") == ["own"]
    assert (await writer.get(f"{V3}/user/docker/conflicts")).json() == []
    reader = world.client("reader")
    refused(await reader.get(f"{V3}/user/packages/container/own"), 404, "reader/own")
    refused(await reader.get(f"{V3}/users/writer/packages?package_type=container"), 404, "writer")
    for path in ("packages?package_type=container", "packages/container/own", "docker/conflicts"):
        refused(await world.client("").get(f"{V3}/user/{path}"), 401, "sign in")
    refused(await world.client("").delete(f"{V3}/user/packages/container/own"), 401, "sign in")
    for wrong in ("users/acme/packages/container/app", "orgs/writer/packages/container/own"):
        refused(await world.client("admin").get(f"{V3}/{wrong}"), 404)
    path = f"{V3}/user/packages/container/own"
    assert (await writer.delete(path)).status_code == 204
    assert (await writer.post(f"{path}/restore")).status_code == 204


async def test_a_robot_owns_nothing_and_sees_its_project_s(world: World) -> None:
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    client = await job(world, "acme/widget")
    await client.push_image("acme/made", "v1")
    await world.client().push_image("acme/app", "v1")
    assert await names(client, "orgs/acme") == ["made"]
    for path in ("packages?package_type=container", "packages/container/made", "docker/conflicts"):
        refused(await client.get(f"{V3}/user/{path}"), 403, "robot", "owner's packages")
    caller = shown(await client.get(f"{V3}/user"), "public-user")
    assert caller["type"] == "Bot"


async def test_a_token_with_limits_sees_what_they_cover(world: World) -> None:
    await stock(world)
    package = await world.services.packages.get("acme/app")
    account = await world.services.accounts.get("writer")
    made = await world.services.tokens.create(
        OPERATOR, account.id, "user", "", TokenScope.ALL, None, limits=[(PACKAGE, package["id"])]
    )
    client = world.client("").with_authorization(f"token {made.text}")
    admin = await world.services.accounts.get("admin")
    of_admin = await world.services.tokens.create(
        OPERATOR, admin.id, "user", "", TokenScope.ALL, None, limits=[(PACKAGE, package["id"])]
    )
    limited = world.client("").with_authorization(f"token {of_admin.text}")
    assert await names(limited, "orgs/acme") == ["app", "open"]
    assert await names(client, "orgs/acme") == ["app", "open"]
    assert await names(client, "user") == []
    refused(await client.delete(f"{ACME}/inside"), 403, "limits")
    assert shown(await client.get(f"{V3}/user"), "public-user")["login"] == "writer"
    assert (await client.delete(APP)).status_code == 204


async def test_a_renamed_package_answers_under_its_old_name(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    renaming = Renaming(world.services.database, world.clock)
    await renaming.rename(OPERATOR, "acme/app", "acme/new")
    found = shown(await writer.get(APP), "package")
    assert (found["name"], found["url"]) == ("new", f"http://registry.test{ACME}/new")
    refused(await writer.delete(APP), 403, "acme/new")


async def test_writes_are_counted(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    world.config = replace(world.config, writes_per_minute=1)
    await world.restart()
    writer = world.client()
    assert (await writer.delete(APP)).status_code == 204
    refused(await writer.post(f"{APP}/restore"), 429)
