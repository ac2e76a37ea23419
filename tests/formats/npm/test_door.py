"""npm's door put together: spellings of paths, addresses in documents, links, what is purged."""

import base64
import json
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from auth.accounts import OWNER, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from tests.formats.npm.shop import packed, told
from tests.formats.npm.test_attestations import BUNDLE, PROVENANCE, bundle, sha512
from tests.registry.client import Client
from tests.registry.world import World

PAD = "/npm/@acme%2fpad"
TARBALL = "/npm/@acme/pad/-/pad-1.0.0.tgz"
TAGS = "/npm/-/package/@acme%2fpad/dist-tags"


@pytest.fixture
def writer(world: World) -> Client:
    return world.client("writer")


def body(version: str = "1.0.0", **about: object) -> dict[str, Any]:
    """What npm PUTs to publish a version of @acme/pad."""
    document = {"name": "@acme/pad", "version": version, **about}
    tarball = packed(document)
    attachment = {
        "content_type": "application/octet-stream",
        "data": base64.b64encode(tarball).decode(),
        "length": len(tarball),
    }
    return {
        "_id": "@acme/pad",
        "name": "@acme/pad",
        "dist-tags": {"latest": version},
        "versions": {version: document},
        "_attachments": {f"@acme/pad-{version}.tgz": attachment},
    }


async def publish(client: Client, version: str = "1.0.0", **about: object) -> httpx.Response:
    response = await client.put(PAD, json=body(version, **about))
    assert response.status_code == 201, response.text
    return response


SPELLINGS = (
    *("@acme%2fpad", "@acme%2Fpad", "%40acme%2fpad", "%40acme%2Fpad", "@acme/pad"),
    *("%40acme/pad", "@acme%2f%70ad", "@%61cme/pad"),
)
OTHERS = (
    *("@acme%252fpad", "%2540acme%2fpad", "acme%2fpad", "@acme%2f%2fpad", "@acme%2f..%2fpad"),
    *("@acme%2fpad%2f1.0.0", "@acme%5cpad", "@acme%2f%2e%2e", "@acme%2fpad%00", "@acme%ffpad"),
    *("@acme//pad", "@acme/./pad", "@acme/pad/", "@acme;/pad", "@acme%2fpad;x"),
)


async def test_a_scoped_name_is_one_name_however_it_is_spelled(
    world: World, writer: Client
) -> None:
    for number, spelled in enumerate(SPELLINGS):
        sent = json.dumps(body(f"1.0.{number}")).encode()
        response = await writer.raw("PUT", f"/npm/{spelled}", content=sent)
        assert response.status_code == 201, (spelled, response.text)
    found = {(await writer.raw("GET", f"/npm/{spelled}")).content for spelled in SPELLINGS}
    assert len(found) == 1
    assert len(json.loads(found.pop())["versions"]) == len(SPELLINGS)
    for spelled in SPELLINGS:
        for path in (f"{spelled}/1.0.0", f"-/package/{spelled}/dist-tags"):
            assert (await writer.raw("GET", f"/npm/{path}")).status_code == 200, path
        for file in ("pad-1.0.0.tgz", "@acme/pad-1.0.0.tgz", "@acme%2fpad-1.0.0.tgz"):
            response = await writer.raw("GET", f"/npm/{spelled}/-/{file}")
            assert response.content == packed({"name": "@acme/pad", "version": "1.0.0"}), file


@pytest.mark.parametrize("spelled", OTHERS)
async def test_what_is_decoded_twice_or_hides_a_slash_names_nothing(
    world: World, writer: Client, spelled: str
) -> None:
    await publish(writer)
    before = await world.footprint()
    sent = json.dumps(body("2.0.0")).encode()
    for method in ("GET", "PUT", "DELETE"):
        response = await writer.raw(method, f"/npm/{spelled}", content=sent)
        assert response.status_code in (400, 404, 405), (method, response.text)
        assert set(response.json()) == {"error", "request_id"}
    assert await world.footprint() == before


@pytest.mark.parametrize("path", ["/npm/pad", "/auth/npm/pad", "/npm/pad/1.0.0"])
async def test_a_name_without_a_scope_is_told_what_to_do(world: World, path: str) -> None:
    """Whoever asks; who reads goes on to the registry that has it."""
    for person in ("", "writer"):
        client = world.client(person)
        told(await client.get(path), 404, "name it @<owner>/pad", "'@<owner>:registry=")
        for method in ("PUT", "DELETE"):
            response = await client.request(method, path, json=body())
            told(response, 400, "name it @<owner>/pad", "'@<owner>:registry=")
    assert await world.rows("select id from packages") == []


def addresses(response: httpx.Response) -> Iterable[str]:
    assert response.status_code == 200, response.text
    return [version["dist"]["tarball"] for version in response.json()["versions"].values()]


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.npm.install-v1+json"])
async def test_tarballs_have_the_configured_address(world: World, accept: str) -> None:
    """Whatever the request says of itself, and whoever else it came through."""
    await publish(world.client("writer"))
    await world.reconfigure(public_url="https://packages.example/deep")
    lies = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Accept": accept}
    for mount in ("npm", "auth/npm"):
        found = await world.client("writer").get(f"/{mount}/@acme%2fpad", headers=lies)
        address = f"https://packages.example/deep/{mount}/@acme/pad/-/pad-1.0.0.tgz"
        assert addresses(found) == [address]


async def test_tarballs_have_the_address_a_request_came_by(world: World, writer: Client) -> None:
    """A proxy's word about that counts where it is trusted; nobody gets another's."""
    await publish(writer)
    asked = {"Host": "inside:5000", "X-Forwarded-Host": "out.example", "X-Forwarded-Proto": "https"}
    assert addresses(await writer.get(PAD, headers=asked)) == [f"http://inside:5000{TARBALL}"]
    await world.reconfigure(trusted_proxies=(ip_network("127.0.0.1"),))
    writer = world.client("writer")
    assert addresses(await writer.get(PAD, headers=asked)) == [f"https://out.example{TARBALL}"]
    assert addresses(await writer.get(PAD)) == [f"http://registry.test{TARBALL}"]


URL = "git+https://git.example/acme/widget.git"


async def widget(world: World, visibility: Visibility, owner: str = "acme") -> None:
    """A project whose source lies at URL."""
    await world.services.projects.create(OPERATOR, f"{owner}/widget", visibility)
    await world.services.projects.add_source(OPERATOR, f"{owner}/widget", URL)


async def linked(world: World) -> tuple[str | None, int]:
    (row,) = await world.rows(
        "select r.name, p.visibility from packages p left join projects r on r.id = p.project_id"
    )
    return row["name"], row["visibility"]


@pytest.mark.parametrize("repository", [URL, {"type": "git", "url": URL}])
async def test_the_repository_field_links_a_package_and_opens_nothing(
    world: World, writer: Client, repository: object
) -> None:
    await widget(world, Visibility.PUBLIC)
    response = await publish(writer, repository=repository)
    notice = response.headers["npm-notice"]
    assert "acme/npm/pad was linked to the project acme/widget" in notice
    assert "'packhouse package link acme/npm/pad acme/widget' confirms that" in notice
    assert await linked(world) == ("widget", Visibility.PRIVATE)
    assert "npm-notice" not in (await publish(writer, "1.0.1", repository=repository)).headers


async def test_a_package_gets_the_roles_of_the_project_that_it_names(
    world: World, writer: Client
) -> None:
    await widget(world, Visibility.PRIVATE)
    project = await world.services.projects.get("acme/widget")
    await world.services.accounts.grant(OPERATOR, PROJECT, project, "stranger", Role.READ)
    await publish(writer, repository=URL)
    assert (await world.client("stranger").get(TARBALL)).status_code == 200


async def test_another_owners_project_is_not_linked(world: World, writer: Client) -> None:
    globex = await world.services.accounts.create_organization(OPERATOR, "globex")
    await world.services.accounts.grant(OPERATOR, OWNER, globex, "writer", Role.WRITE)
    await widget(world, Visibility.PUBLIC, "globex")
    assert "linked" not in (await publish(writer, repository=URL)).headers.get("npm-notice", "")
    assert await linked(world) == (None, Visibility.PRIVATE)


async def test_each_change_is_an_event_of_who_made_it(world: World, writer: Client) -> None:
    await publish(writer)
    await publish(writer, "1.0.1")
    assert (await writer.put(TAGS + "/old", content=b'"1.0.0"')).status_code == 200
    document = (await writer.get(PAD)).json()
    document["versions"]["1.0.0"]["deprecated"] = "too old"
    assert (await writer.put(PAD, json=document)).status_code == 201
    assert (await writer.delete(TAGS + "/old")).status_code == 200
    assert (await writer.delete(f"{TARBALL}/-rev/1-x")).status_code == 200
    rows = await world.rows(
        "select e.kind, e.subject, e.detail, a.name from events e"
        " join accounts a on a.id = e.account_id where e.package_id is not null order by e.id"
    )
    about = [row["detail" if row["kind"] == "manifest.push" else "subject"] for row in rows]
    assert [(row["kind"], what) for row, what in zip(rows, about, strict=True)] == [
        ("version.publish", "1.0.0"),
        ("version.publish", "1.0.1"),
        ("manifest.push", "old"),
        ("version.state", "1.0.0"),
        ("tag.delete", "old"),
        ("version.delete", "1.0.0"),
    ]
    assert {row["name"] for row in rows} == {"writer"}


async def test_a_document_comes_compressed_to_who_reads_that(world: World, writer: Client) -> None:
    await publish(writer, description="words " * 500)
    await world.reconfigure(public_url="https://packages.example")
    writer = world.client("writer")
    plain = await writer.get(PAD, headers={"Accept-Encoding": "identity"})
    packed_ = await writer.get(PAD, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed_.headers["content-encoding"] == "gzip"
    assert packed_.content == plain.content
    assert packed_.headers["etag"] != plain.headers["etag"]
    for found in (plain, packed_):
        same = {"If-None-Match": found.headers["etag"], "Accept-Encoding": "gzip"}
        assert (await writer.get(PAD, headers=same)).status_code == 304
        assert "Accept-Encoding" in found.headers["vary"]


@pytest.mark.parametrize("about", ["this tarball", "another", "nothing"])
async def test_provenance_is_of_the_tarball_that_it_comes_with(
    world: World, writer: Client, about: str
) -> None:
    subjects = {"this tarball": [sha512()], "another": ["0" * 128], "nothing": []}[about]
    sent: dict[str, Any] = body()
    data = bundle(*subjects).decode()
    attachment = {"content_type": BUNDLE, "data": data, "length": len(data)}
    sent["_attachments"]["@acme/pad-1.0.0.sigstore"] = attachment
    response = await writer.put(PAD, json=sent)
    if about == "this tarball":
        assert response.status_code == 201
        dist = (await writer.get(PAD)).json()["versions"]["1.0.0"]["dist"]
        assert dist["attestations"]["provenance"] == {"predicateType": PROVENANCE}
        return
    told(response, 400, "no attestation of this tarball")
    assert await world.rows("select id from packages") == []
    assert await world.rows("select id from blobs") == []


async def test_what_is_purged_never_comes_back(world: World, writer: Client) -> None:
    """Its bytes are gone with the answer, those of other versions stay; its number is burnt."""
    for version in ("1.0.0", "1.0.1"):
        await publish(writer, version)
    assert (await writer.delete(f"{TARBALL}/-rev/1-x")).status_code == 200
    (deletion,) = await world.services.restoration.list("acme/npm/pad")
    one = f"/api/v1/packages/acme/npm%2Fpad/deletions/{deletion.id}"
    assert (await writer.delete(one)).status_code == 403
    assert (await world.client("owner").delete(one)).status_code == 204
    assert len(await world.keys()) == 2
    assert (await writer.post(f"{one}/restore", json={})).status_code == 404
    for _ in range(2):
        told(await writer.put(PAD, json=body()), 403, "deleted for good")
        told(await writer.get(TARBALL), 404)
        await collect(world)
        world.clock.advance(25 * 3600)
    assert list((await writer.get(PAD)).json()["versions"]) == ["1.0.1"]


async def collect(world: World) -> None:
    term = await world.services.leases.acquire("gc", 3600, steal=True)
    assert term is not None
    while not (await world.services.collector.round(term)).finished:
        pass
