"""What is counted, limited and written down of requests at npm's door."""

import json
import logging
from dataclasses import replace

import pytest

from registry.app import build_surface
from registry.instruments import Instruments
from registry.metrics import Meters
from registry.packaging.surface import FormatSurface
from tests.formats.npm.hostile import NAME, VERSION, publication
from tests.formats.npm.shop import told
from tests.formats.npm.test_catalogue import PATHS
from tests.registry.client import Client, basic
from tests.registry.test_routes import walked
from tests.registry.world import PASSWORD, World

PAD = "/npm/@acme%2fpad"
TARBALL = "/npm/@acme/pad/-/pad-1.0.0.tgz"


async def test_labels_are_templates_whatever_is_asked_for(world: World) -> None:
    meters = Meters()
    app = build_surface(world.services, instruments=Instruments(meters))
    writer = Client(app, basic("writer", world.tokens["writer"]))
    assert (await writer.put(PAD, json=publication())).status_code == 201
    for path in (PAD, "/npm/@acme/pad", TARBALL, "/auth/npm/@acme/pad", "/npm/@acme/other"):
        await writer.get(path)
    for path in PATHS:
        for method in ("GET", "PUT", "DELETE", "PROPFIND"):
            await writer.raw(method, path)
    templates = {"other"}
    for surface in walked(world, FormatSurface):
        templates |= {mount.path + route.path for mount in surface.mounts for route in mount.routes}
    counted = {
        labels: numbers[0]
        for name, labels, numbers in meters.readings()
        if name == "packhouse_http_requests_total"
    }
    assert {route for route, _, _ in counted} <= templates
    assert {method for _, method, _ in counted} <= {"GET", "PUT", "DELETE", "other"}
    assert counted["/npm/@{owner}/{name}", "PUT", "201"] == 1
    assert counted["/npm/@{owner}/{name}", "GET", "200"] == 2
    assert counted["/npm/@{owner}/{name}/-/{file}", "GET", "200"] == 1
    assert counted["/auth/npm/@{owner}/{name}", "GET", "200"] == 1
    assert sum(counted.values()) == 6 + 4 * len(PATHS)


async def test_tarballs_are_pulls_and_changes_are_writes(world: World) -> None:
    config = replace(world.config, pulls_per_minute=2, writes_per_minute=2)
    app = build_surface(replace(world.services, config=config))
    writer = Client(app, basic("writer", world.tokens["writer"]))
    assert (await writer.put(PAD, json=publication())).status_code == 201
    pulls = [await writer.get(path) for path in (TARBALL, TARBALL, TARBALL)]
    assert [each.status_code for each in pulls] == [200, 200, 429]
    told(pulls[2], 429)
    assert int(pulls[2].headers["retry-after"]) > 0
    told(await writer.get(f"/auth{TARBALL}"), 429)
    assert (await writer.head(TARBALL)).status_code == 200
    assert (await writer.get(PAD)).status_code == 200
    tag = "/npm/-/package/@acme%2fpad/dist-tags/next"
    assert (await writer.put(tag, json=VERSION)).status_code == 200
    refused = await writer.delete(tag)
    told(refused, 429)
    assert int(refused.headers["retry-after"]) > 0
    assert (await writer.get("/npm/-/package/@acme%2fpad/dist-tags")).json()["next"] == VERSION


async def test_a_request_is_a_line_and_no_name_forges_another(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2020-7694, CVE-2019-8321, CVE-2025-48374: one line each, without secrets."""
    caplog.set_level(logging.INFO, "packhouse")
    caplog.set_level(logging.WARNING, "httpx")  # the client writes down what it asks for
    writer, nobody = world.client("writer"), world.client("")
    await writer.put(PAD, json=publication())
    await writer.get(TARBALL)
    login = {"name": "writer", "password": PASSWORD}
    await nobody.put("/npm/-/user/org.couchdb.user:writer", json=login)
    await nobody.put("/npm/-/user/org.couchdb.user:writer", json={**login, "password": "geheim-1"})
    made = await writer.post("/npm/-/npm/v1/tokens", json=login)
    assert made.status_code == 201
    await nobody.get(f"{PAD}?_authToken={world.tokens['writer']}")
    evil = ["/npm/@acme/pad%0a%7b%22id%22:1%7d", "/npm/%1b%5b2J", "/npm/@acme/\x1b[2J"]
    for path in evil:
        await writer.raw("GET", path)
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    assert len(lines) == 6 + len(evil)
    assert [line["path"] for line in lines[:2]] == [PAD, TARBALL]
    assert [line["status"] for line in lines[:3]] == [201, 200, 201]
    assert [line["account"] for line in lines[:3]] == ["writer"] * 3
    assert "\x1b" not in written
    secrets = [PASSWORD, "geheim-1", world.tokens["writer"], made.json()["token"]]
    for secret in secrets:
        assert secret not in written
        assert secret not in caplog.text
    assert NAME.partition("/")[2] in written
