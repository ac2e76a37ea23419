"""Attestations of a version: bundles that refer to it, whoever attached them."""

import base64
import hashlib
import json
from typing import Any

import pytest

from auth.principals import Visibility
from formats.npm.attestations import ALL_BYTES, parse_bundle
from tests.formats.npm.shop import Shop, packed, told
from tests.registry.client import OCI_EMPTY, Client, descriptor
from tests.registry.world import World

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
PATHS = (
    "/npm/-/npm/v1/attestations/@acme%2fpad@1.0.0",
    "/npm/-/npm/v1/attestations/@acme/pad@1.0.0",
    "/-/npm/v1/attestations/@acme%2Fpad@1.0.0",
    "/auth/npm/-/npm/v1/attestations/@acme%2fpad@1.0.0",
)


@pytest.fixture
async def shop(world: World) -> Shop:
    made = Shop(world)
    await made.publish("@acme/pad")
    return made


def sha512() -> str:
    """The hash of the tarball that the shop publishes."""
    return hashlib.sha512(packed({"name": "@acme/pad", "version": "1.0.0"})).hexdigest()


def bundle(*subjects: str, predicate: str = PROVENANCE) -> bytes:
    """A bundle as a build service makes it, but for its signature."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "pkg:npm/%40acme/pad@1.0.0", "digest": {"sha512": each}} for each in subjects
        ],
        "predicateType": predicate,
        "predicate": {},
    }
    envelope = {"payload": base64.b64encode(json.dumps(statement).encode()).decode()}
    return json.dumps({"mediaType": BUNDLE, "dsseEnvelope": envelope, "extra": 1.50}).encode()


async def attach(client: Client, shop: Shop, *layers: bytes, kind: str = BUNDLE) -> None:
    """Attach layers to the version by OCI, as cosign does."""
    manifest = (await client.get("/v2/acme/npm/pad/manifests/1.0.0")).content
    await client.push_blob("acme/npm/pad", b"{}")
    for layer in layers:
        await client.push_blob("acme/npm/pad", layer)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": descriptor(b"{}", OCI_EMPTY),
        "layers": [descriptor(layer, kind) for layer in layers],
        "subject": descriptor(manifest, "application/vnd.oci.image.manifest.v1+json"),
    }
    await client.push_manifest("acme/npm/pad", "", document)


async def test_bundles_about_the_tarball_are_shown_as_they_are(shop: Shop) -> None:
    writer, made = shop.world.client("writer"), bundle(sha512())
    await attach(writer, shop, made)
    await attach(writer, shop, bundle("0" * 128))
    await attach(writer, shop, bundle(sha512()), made + b" ")
    await attach(writer, shop, b"not a bundle")
    await attach(writer, shop, bundle(sha512()) + b"\n", kind="application/vnd.acme.sbom")
    for path in PATHS:
        response = await shop.person("reader").get(path)
        assert response.status_code == 200, (path, response.text)
        assert response.headers["content-type"] == "application/json"
        shown = b'{"attestations":[{"predicateType":"%b","bundle":%b}]}'
        assert response.content == shown % (PROVENANCE.encode(), made)


async def test_many_large_bundles_are_not_all_read_for_one_answer(shop: Shop) -> None:
    writer, size = shop.world.client("writer"), ALL_BYTES // 3
    for number in range(5):
        made = bundle(sha512(), predicate=f"https://example.org/{number}")
        await attach(writer, shop, made.ljust(size))
    shown = await shop.person("reader").get(PATHS[0])
    assert len(shown.json()["attestations"]) == 3
    assert len(shown.content) < 2 * ALL_BYTES


async def test_a_version_without_any_has_none(shop: Shop) -> None:
    for version in ("1.0.0", "9.9.9", "latest"):
        path = f"/npm/-/npm/v1/attestations/@acme%2fpad@{version}"
        told(await shop.person("reader").get(path), 404, "no attestation")


async def test_they_are_seen_by_who_sees_the_package(shop: Shop) -> None:
    await attach(shop.world.client("writer"), shop, bundle(sha512()))
    for path in PATHS:
        told(await shop.person().get(path), 401)
        told(await shop.person("stranger").get(path), 404)
    await shop.world.publish("acme/npm/pad", Visibility.PUBLIC)
    for path in PATHS[:3]:
        assert (await shop.person().get(path)).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"dsseEnvelope": 1}',
        b'{"dsseEnvelope": {"payload": "!"}}',
        b'{"dsseEnvelope": {"payload": "W10="}}',
        b'{"dsseEnvelope": {"payload": "e30="}}',
        b'{"dsseEnvelope": {"payload": "%b"}}' % base64.b64encode(b"[" * 50_000),
        b'{"dsseEnvelope": {"payload": "%b"}}' % base64.b64encode(b'{"subject": [1]}'),
        b'{"dsseEnvelope": {"payload": "%b"}}' % base64.b64encode(b'{"subject": [{"digest": 1}]}'),
    ],
)
def test_what_is_no_bundle_attests_nothing(data: bytes) -> None:
    assert parse_bundle(data) is None
