"""Archives that hurt others: refused by both doors, in the same words."""

from typing import Any

import httpx
import pytest

from formats.npm.adapter import ARTIFACT_TYPE, METADATA_TYPE, TARBALL_TYPE
from tests.formats.npm.hostile import ARCHIVES, Archive, publication
from tests.formats.npm.shop import told
from tests.registry.client import OCI_MANIFEST, Client, descriptor, refused
from tests.registry.packaging.arriving import TITLE
from tests.registry.world import World

PACKAGE = "acme/npm/pad"


async def push(client: Client, archive: Archive) -> None:
    """Push what a version is made of."""
    await client.push_blob(PACKAGE, archive.config)
    await client.push_blob(PACKAGE, archive.tarball)


async def push_manifest(client: Client, archive: Archive) -> httpx.Response:
    titled = {"annotations": {TITLE: "pad-1.0.0.tgz"}}
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": descriptor(archive.config, METADATA_TYPE),
        "layers": [descriptor(archive.tarball, TARBALL_TYPE, **titled)],
    }
    return await client.put_manifest(PACKAGE, "1.0.0", document)


# Each is refused by its own words before any transaction: one engine will do.
@pytest.mark.parametrize("origin", ["sqlite"], indirect=True)
@pytest.mark.parametrize("archive", ARCHIVES, ids=str)
async def test_it_is_refused_at_both_doors(world: World, archive: Archive) -> None:
    writer, before = world.client("writer"), await world.footprint()
    response = await writer.put("/npm/@acme%2fpad", json=publication(archive.tarball, archive.said))
    said = told(response, 400, archive.words)
    assert said.isprintable()
    assert len(said) < 700
    assert await world.footprint() == before
    await push(writer, archive)
    before = await world.footprint()
    refused(await push_manifest(writer, archive), 400, "MANIFEST_INVALID", archive.words)
    assert await world.footprint() == before
    assert (await writer.get("/npm/@acme%2fpad")).status_code == 404
