"""What is stored never runs in a browser on our origin: every GET of npm's door, and its markup."""

import json
import re

import pytest

from auth.principals import Visibility
from formats.npm.packument import ABBREVIATED_TYPE
from registry.packaging.surface import FormatSurface
from tests.formats.archives import entry, tgz
from tests.formats.npm.hostile import NAME, SAID, publication
from tests.registry.client import Client
from tests.registry.test_routes import walked
from tests.registry.world import World

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
EVIL = {
    "description": MARKUP,
    "readme": f"# {MARKUP}",
    "keywords": ["pads", MARKUP, "\x1b[2J", "k" * 5000],
    "author": {"name": MARKUP, "url": "javascript:alert(3)"},
    "homepage": "javascript:alert(4)",
    "repository": {"type": "git", "url": "javascript:alert(5)"},
    "license": MARKUP,
    "bugs": {"url": "data:text/html,<script>alert(6)</script>"},
    "funding": "javascript:alert(7)",
    MARKUP: MARKUP,
}
TARBALL = tgz(
    entry("package/package.json", json.dumps(SAID | EVIL).encode()),
    entry("package/README.html", MARKUP.encode()),
    entry(f"package/{MARKUP.replace('/', '')}", b"1"),
)
VALUES = {
    "owner": "acme",
    "name": "pad",
    "version": "1.0.0",
    "file": "pad-1.0.0.tgz",
    "scope": "acme",
    "tag": "latest",
    "user": "writer",
    "team": "readers",
    "revision": "1-x",
}
TYPES = ("application/json", ABBREVIATED_TYPE, "application/octet-stream")


@pytest.fixture
async def writer(world: World) -> Client:
    client = world.client("writer")
    response = await client.put("/npm/@acme%2fpad", json=publication(TARBALL, EVIL))
    assert response.status_code == 201, response.text
    await world.publish("acme/npm/pad", visibility=Visibility.PUBLIC)
    return client


def paths(world: World) -> list[str]:
    """Every path that answers GET, with what it could stand for."""
    found = []
    for surface in walked(world, FormatSurface):
        for mount in surface.mounts:
            for route in mount.routes:
                if route.method == "GET":
                    filled = re.sub(
                        r"\{([a-z_]+)\*?\}", lambda m: VALUES.get(m[1], "x"), route.path
                    )
                    found.append(mount.path + filled)
    return found


async def test_no_answer_runs_anywhere(world: World, writer: Client) -> None:
    """CVE-2025-32019, CVE-2019-14772, CVE-2023-3384, CVE-2024-36116, gitlab#455318."""
    asked = [*paths(world), "/npm/@acme%2fpad?write=true", "/npm/@acme/pad/latest"]
    asked += [f"/npm/{MARKUP}", f"/npm/@acme/{MARKUP}", f"/npm/-/v1/search?text={MARKUP}"]
    asked += [f"/npm/@acme/pad/-/pad-{MARKUP}.tgz", "/npm/-/v1/search?text=pads"]
    assert len(asked) > 30
    answered = 0
    for path in asked:
        for client in (writer, world.client("stranger"), world.client("")):
            for accept in ("text/html", f"{ABBREVIATED_TYPE}; q=1.0, application/json; q=0.8, */*"):
                response = await client.get(path, headers={"Accept": accept})
                said = response.headers
                assert said["x-content-type-options"] == "nosniff", path
                assert said["content-security-policy"] == "default-src 'none'; sandbox", path
                assert said["content-type"].partition(";")[0] in TYPES, (path, said)
                assert "location" not in said
                assert "set-cookie" not in said
                assert "Authorization" in said["vary"]
                answered += response.status_code == 200
    assert answered > 30


async def test_a_tarball_is_bytes_and_nothing_else(writer: Client) -> None:
    response = await writer.get("/npm/@acme/pad/-/pad-1.0.0.tgz", headers={"Accept": "text/html"})
    assert (response.status_code, response.content) == (200, TARBALL)
    assert response.headers["content-type"] == "application/octet-stream"


async def test_documents_say_what_was_published_and_searches_what_can_be_shown(
    world: World, writer: Client
) -> None:
    """CVE-2017-0899, CVE-2019-8321: what commands terminals, and addresses that are programs."""
    document = (await writer.get("/npm/@acme%2fpad")).json()
    version = document["versions"]["1.0.0"]
    assert {key: version[key] for key in EVIL if key != "readme"} == {
        key: value for key, value in EVIL.items() if key != "readme"
    }
    response = await writer.get("/npm/-/v1/search?text=pads")
    (found,) = [each["package"] for each in response.json()["objects"]]
    assert found["name"] == NAME
    assert found["keywords"] == ["pads", MARKUP]
    assert found["links"] == {}
    listed = (await world.client("owner").get("/api/v1/packages/acme/npm/pad")).json()
    assert "javascript:" not in json.dumps(listed)


@pytest.mark.parametrize("length", [3_000, 1_000_000])
async def test_a_text_without_end_is_short_in_lists(world: World, length: int) -> None:
    """CVE-2017-0900: a summary of megabytes, with what commands terminals."""
    said = {"description": "pads \x1b[31m\x9b2J\u202e " + "x" * length, "license": "M" * 10_000}
    writer, tarball = (
        world.client("writer"),
        tgz(entry("p/package.json", json.dumps(SAID).encode())),
    )
    assert (
        await writer.put("/npm/@acme%2fpad", json=publication(tarball, said))
    ).status_code == 201
    for path in ("/npm/-/v1/search?text=pads", "/api/v1/packages?owner=acme"):
        response = await writer.get(path)
        assert response.status_code == 200, response.text
        assert len(response.content) < 5_000, path
        for sign in ("\x1b", "\\u001b", "\x9b", "\u202e"):
            assert sign not in response.text
    assert (await writer.get("/npm/@acme%2fpad")).json()["versions"]["1.0.0"]["license"] == (
        said["license"]
    )
