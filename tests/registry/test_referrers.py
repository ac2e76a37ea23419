"""Referrers: what refers to a digest, filtered and in pages, and what clients left in tags."""

import asyncio
import json
from typing import Any

from registry.catalog import REFERRERS_PAGE
from tests.registry.client import (
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    Pushed,
    descriptor,
    digest_of,
    image_manifest,
    index_manifest,
    refused,
)
from tests.registry.world import World

SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


async def attach(client: Client, subject: dict[str, Any], kind: str, **fields: object) -> Pushed:
    """Push an artifact that refers to a subject."""
    return await client.push_artifact("acme/app", "", kind, subject=subject, **fields)


async def listed(client: Client, digest: str, query: str = "") -> list[dict[str, Any]]:
    """The descriptors of a subject's referrers, over all pages."""
    found: list[dict[str, Any]] = []
    async for page in client.pages(f"/v2/acme/app/referrers/{digest}{query}"):
        index = page.json()
        assert page.headers["content-type"] == OCI_INDEX
        assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
        found += index["manifests"]
    return found


async def test_a_referrer_is_listed_with_type_and_annotations(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    notes = {"org.example.note": "sé", "empty": ""}
    sbom = await attach(writer, image.descriptor, SBOM, annotations=notes)
    assert await listed(writer, image.digest) == [
        {**sbom.descriptor, "artifactType": SBOM, "annotations": notes}
    ]


async def test_the_type_is_the_configs_where_the_manifest_has_none(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    await writer.push_blob("acme/app", b"config")
    document = image_manifest(b"config", subject=image.descriptor)
    await writer.push_manifest("acme/app", "", document)
    index = index_manifest(subject=image.descriptor)
    await writer.push_manifest("acme/app", "", index)
    found = await listed(writer, image.digest)
    assert found[0]["artifactType"] == document["config"]["mediaType"]
    assert found[1]["mediaType"] == OCI_INDEX
    assert "artifactType" not in found[1]
    assert "annotations" not in found[1]


async def test_nothing_refers_to_nothing(writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    for name in ("acme/app", "acme/not-yet"):
        for digest in (digest_of(b"x"), digest_of(b"x", "sha512"), "sha256:" + "0" * 64):
            response = await writer.get(f"/v2/{name}/referrers/{digest}")
            assert response.status_code == 200
            assert response.json() == {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [],
            }


async def test_a_subject_may_come_later_or_never(writer: Client) -> None:
    data = json.dumps(image_manifest(b"{}")).encode()
    subject = descriptor(data, OCI_MANIFEST)
    await attach(writer, subject, SBOM)
    assert len(await listed(writer, subject["digest"])) == 1
    await writer.push_blob("acme/app", b"{}")
    await writer.push_manifest("acme/app", "late", data, OCI_MANIFEST)
    assert len(await listed(writer, subject["digest"])) == 1


async def test_only_this_repository_is_listed(world: World, writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    await writer.push_blob("acme/other", b"{}")
    document = image_manifest(b"{}", artifactType=SBOM, subject=image.descriptor)
    await writer.push_manifest("acme/other", "", document)
    assert await listed(writer, image.digest) == []


async def test_a_type_filters(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    for kind in (SBOM, SIGNATURE, SIGNATURE):
        await attach(writer, image.descriptor, kind, annotations={"n": str(id(object()))})
    path = f"/v2/acme/app/referrers/{image.digest}"
    filtered = await writer.get(path, params={"artifactType": SBOM})
    assert [found["artifactType"] for found in filtered.json()["manifests"]] == [SBOM]
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert (await writer.get(path, params={"artifactType": "a/b"})).json()["manifests"] == []
    for plain in (await writer.get(path), await writer.get(path, params={"artifactType": ""})):
        assert len(plain.json()["manifests"]) >= 2
        assert "oci-filters-applied" not in plain.headers


async def test_pages_of_many_referrers(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    await writer.push_blob("acme/app", b"{}")
    total = REFERRERS_PAGE + 3

    async def push(number: int) -> None:
        document = image_manifest(b"{}", artifactType=SBOM if number % 2 else SIGNATURE)
        document |= {"subject": image.descriptor, "annotations": {"n": str(number)}}
        await writer.push_manifest("acme/app", "", document)

    for first in range(0, total, 20):
        await asyncio.gather(*[push(n) for n in range(first, min(first + 20, total))])
    found = await listed(writer, image.digest)
    assert sorted(int(entry["annotations"]["n"]) for entry in found) == list(range(total))
    filtered = await listed(writer, image.digest, f"?artifactType={SBOM}")
    assert len(filtered) == total // 2
    assert {entry["artifactType"] for entry in filtered} == {SBOM}


async def test_a_page_stays_below_what_clients_read(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    big = "x" * (1024 * 1024)
    for number in range(5):
        notes = {"n": f"{number}{big}"}
        await attach(writer, image.descriptor, SBOM, annotations=notes)
    path = f"/v2/acme/app/referrers/{image.digest}"
    pages = [page async for page in writer.pages(path)]
    assert len(pages) == 3
    assert all(len(page.content) < 4 * 1024 * 1024 for page in pages)
    assert sum(len(page.json()["manifests"]) for page in pages) == 5


async def test_a_deleted_referrer_is_not_listed(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    sbom = await attach(writer, image.descriptor, SBOM)
    await writer.delete(f"/v2/acme/app/manifests/{sbom.digest}")
    assert await listed(writer, image.digest) == []


async def test_referrers_of_referrers(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    sbom = await attach(writer, image.descriptor, SBOM)
    signature = await attach(writer, sbom.descriptor, SIGNATURE)
    assert [entry["digest"] for entry in await listed(writer, image.digest)] == [sbom.digest]
    assert [entry["digest"] for entry in await listed(writer, sbom.digest)] == [signature.digest]


async def test_sha512_subjects(writer: Client) -> None:
    digest = digest_of(b"subject", "sha512")
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 7}
    sbom = await attach(writer, subject, SBOM)
    assert sbom.response.headers["oci-subject"] == digest
    assert [entry["digest"] for entry in await listed(writer, digest)] == [sbom.digest]


async def test_what_clients_left_in_the_fallback_tag_is_listed(writer: Client) -> None:
    """Distribution-spec, "Enabling the Referrers API": an older registry's tags come along."""
    for algorithm in ("sha256", "sha512"):
        digest = digest_of(b"old subject", algorithm)
        old = await writer.push_artifact("acme/app", "", SBOM, annotations={"for": algorithm})
        tag = digest.replace(":", "-")[: len(algorithm) + 65]
        await writer.push_manifest("acme/app", tag, index_manifest(old))
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 11}
        new = await attach(writer, subject, SIGNATURE)
        assert [entry["digest"] for entry in await listed(writer, digest)] == [
            old.digest,
            new.digest,
        ]
        filtered = await listed(writer, digest, f"?artifactType={SBOM}")
        assert [entry["digest"] for entry in filtered] == [old.digest]


async def test_a_referrer_in_both_ways_is_listed_once(writer: Client) -> None:
    image = await writer.push_image("acme/app", "v1")
    sbom = await attach(writer, image.descriptor, SBOM)
    await writer.push_manifest("acme/app", image.digest.replace(":", "-"), index_manifest(sbom))
    assert [entry["digest"] for entry in await listed(writer, image.digest)] == [sbom.digest]


async def test_what_is_no_digest_is_refused(writer: Client) -> None:
    for digest in ("sha256:x", "latest", "md5:" + "0" * 32):
        response = await writer.get(f"/v2/acme/app/referrers/{digest}")
        refused(response, 400, "DIGEST_INVALID")
        assert (await writer.head(f"/v2/acme/app/referrers/{digest}")).status_code == 404


async def test_annotations_that_are_no_text_do_not_spoil_the_list(writer: Client) -> None:
    """Go clients stop at a number where they expect text."""
    image = await writer.push_image("acme/app", "v1")
    notes = b'"annotations": {"good": "x", "n": 1, "big": 1e999, "list": [], "none": null}'
    await writer.push_blob("acme/app", b"{}")
    document = image_manifest(b"{}", artifactType=SBOM, subject=image.descriptor)
    data = json.dumps(document).encode()[:-1] + b", " + notes + b"}"
    await writer.push_manifest("acme/app", "", data, OCI_MANIFEST)
    (found,) = await listed(writer, image.digest)
    assert found["annotations"] == {"good": "x"}


async def test_a_page_token_that_is_none_is_refused(writer: Client) -> None:
    path = f"/v2/acme/app/referrers/{digest_of(b'x')}"
    for last in ("abc", "-1", ""):
        response = await writer.get(path, params={"last": last})
        refused(response, 400, "UNSUPPORTED", "'last' is not a whole number")
    assert (await writer.get(path, params={"last": "9" * 40})).json()["manifests"] == []
