"""Attestations of a version: bundles that refer to it, whoever attached them."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from auth.principals import Visibility
from formats.npm.adapter import MAX_ATTESTATIONS
from formats.npm.bundles import parse_bundle
from registry.packaging.attached import ALL_BYTES
from tests.formats.npm.shop import Shop, packed, told
from tests.registry.client import OCI_EMPTY, Client, descriptor
from tests.registry.world import World

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
PURL = "pkg:npm/%40acme/pad@1.0.0"
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


def bundle(*subjects: str, predicate: str = PROVENANCE, name: str = PURL) -> bytes:
    """A bundle as a build service makes it, but for its signature."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha512": each}} for each in subjects],
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


OTHER = "0" * 128
LIES: dict[str, Callable[[], bytes]] = {
    "another tarball": lambda: bundle(OTHER),
    "another tarball first": lambda: bundle(OTHER, sha512()),
    "another name": lambda: bundle(sha512(), name="pkg:npm/%40acme/pod@1.0.0"),
    "another version": lambda: bundle(sha512(), name="pkg:npm/%40acme/pad@1.0.1"),
    "no scope": lambda: bundle(sha512(), name="pkg:npm/pad@1.0.0"),
    "no name": lambda: bundle(sha512(), name=""),
    "no type": lambda: bundle(sha512(), predicate=""),
    "a type for terminals": lambda: bundle(sha512(), predicate="x\u001b[2J"),
}


async def advertised(shop: Shop) -> dict[str, Any] | None:
    """What the package's document says of attestations."""
    document = (await shop.world.client("reader").get("/npm/@acme%2fpad")).json()
    found: dict[str, Any] | None = document["versions"]["1.0.0"]["dist"].get("attestations")
    return found


@pytest.mark.parametrize("lie", LIES)
async def test_a_bundle_that_lies_is_kept_and_not_advertised(shop: Shop, lie: str) -> None:
    """cosign's signatures have the same type, and are as little about the tarball."""
    await attach(shop.world.client("writer"), shop, LIES[lie]())
    assert await advertised(shop) is None
    told(await shop.person("reader").get(PATHS[0]), 404, "no attestation")


async def test_a_bundle_that_arrives_is_advertised(shop: Shop) -> None:
    writer = shop.world.client("writer")
    publish = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"
    for predicate, first in ((publish, publish), (PROVENANCE, PROVENANCE), ("other", PROVENANCE)):
        await attach(writer, shop, bundle(sha512(), predicate=predicate))
        assert await advertised(shop) == {
            "url": "http://registry.test" + PATHS[0],
            "provenance": {"predicateType": first},
        }
    response = await shop.person("reader").get(PATHS[0])
    assert len(response.json()["attestations"]) == 3


async def test_types_of_attestations_have_a_bound(shop: Shop) -> None:
    writer = shop.world.client("writer")
    for number in range(MAX_ATTESTATIONS + 1):
        await attach(writer, shop, bundle(sha512(), predicate=f"https://example.org/{number}"))
    (row,) = await shop.world.rows("select facts from package_versions")
    assert len(json.loads(row["facts"])["attestations"]) == MAX_ATTESTATIONS


async def test_bundles_about_the_tarball_are_shown_as_they_are(shop: Shop) -> None:
    writer, made = shop.world.client("writer"), bundle(sha512())
    await attach(writer, shop, made)
    for lie in LIES.values():
        await attach(writer, shop, lie())
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
