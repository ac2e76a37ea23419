"""Manifests: what is understood and refused, and that every byte comes back."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.errors import ManifestInvalid
from registry.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MEDIA_TYPES,
    OCI_ARTIFACT,
    Manifest,
    annotations,
    parse_manifest,
)
from tests.registry.client import (
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
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

MIB = 1024 * 1024
CONFIG = b'{"architecture":"amd64"}'
LAYER = b"a layer"
IMAGE = image_manifest(CONFIG, LAYER)


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def changed(**fields: object) -> dict[str, Any]:
    return IMAGE | fields


def layer_with(**fields: object) -> dict[str, Any]:
    return changed(layers=[descriptor(LAYER, OCI_LAYER) | fields])


# What bytes say


def test_an_image_says_what_it_needs() -> None:
    found = parse_manifest(encoded(IMAGE), OCI_MANIFEST)
    assert [(m.where, m.digest, m.size) for m in found.members] == [
        ("config", digest_of(CONFIG), len(CONFIG)),
        ("layers[0]", digest_of(LAYER), len(LAYER)),
    ]
    assert found.artifact_type == IMAGE["config"]["mediaType"]
    assert not found.index
    assert found.subject is None


def test_the_artifact_type_is_the_manifests_own_or_its_configs() -> None:
    assert parse_manifest(encoded(changed(artifactType="a/b")), None).artifact_type == "a/b"
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert parse_manifest(encoded(index), None).artifact_type == ""
    assert parse_manifest(encoded(index | {"artifactType": "a/b"}), None).artifact_type == "a/b"


@pytest.mark.parametrize("media_type", sorted(MEDIA_TYPES))
def test_the_type_may_stand_in_the_header_the_document_or_both(media_type: str) -> None:
    key = "manifests" if media_type in INDEX_TYPES else "layers"
    if media_type == OCI_ARTIFACT:
        key = "blobs"
    document: dict[str, Any] = {"schemaVersion": 2, key: []}
    if media_type == DOCKER_MANIFEST:
        document["config"] = descriptor(CONFIG, "x/y")
    said = encoded(document | {"mediaType": media_type})
    for data, header in (
        (encoded(document), media_type),
        (encoded(document), f"{media_type.upper()} ; charset=utf-8"),
        (said, media_type),
        (said, None),
        (said, ""),
    ):
        assert parse_manifest(data, header).media_type == media_type


def test_null_is_an_empty_list() -> None:
    """Go writes null for a nil slice."""
    assert parse_manifest(encoded(changed(layers=None, config=None)), None).members == ()


REFUSED: dict[str, tuple[object, str]] = {
    "no JSON": (b"{", "is not JSON"),
    "no text": (b"\xff\xfe{}", "is not JSON"),
    "empty": (b"", "is not JSON"),
    "a list": (b"[]", "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "NaN": (b'{"schemaVersion": NaN}', "is not JSON"),
    "Infinity": (encoded(IMAGE)[:-1] + b', "x": -Infinity}', "is not JSON"),
    "two values": (encoded(IMAGE) + b"{}", "is not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + encoded(IMAGE), "is not JSON"),
    "a huge number": (b'{"schemaVersion": ' + b"9" * 5000 + b"}", "is not JSON"),
    "deep lists": (b"[" * 200_000, "is not JSON"),
    "deep objects": (b'{"a":' * 200_000, "is not JSON"),
    "deep and whole": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is not JSON"),
    "a key twice": (encoded(IMAGE)[:-1] + b', "layers": []}', "key 'layers' twice"),
    "a nested key twice": (b'{"x": {"digest": 1, "digest": 2}}', "key 'digest' twice"),
    "another case": (changed(Layers=[]), "write 'layers'"),
    "a config in another case": (changed(CONFIG={}), "write 'config'"),
    "a descriptor in another case": (layer_with(Digest="x"), "write 'digest'"),
    "layers and manifests": (changed(manifests=[]), "may not hold 'manifests'"),
    "layers and fsLayers": (changed(fsLayers=[]), "may not hold 'fsLayers'"),
    "schema 1": (changed(schemaVersion=1), "only 2 is supported"),
    "schema true": (changed(schemaVersion=True), "only 2 is supported"),
    "schema text": (changed(schemaVersion="2"), "only 2 is supported"),
    "no schema": ({"mediaType": OCI_MANIFEST, "layers": []}, "only 2 is supported"),
    "a type of its own": (changed(mediaType="text/html"), "text/html"),
    "a type that is a number": (changed(mediaType=5), "mediaType is not text"),
    "layers that are no list": (changed(layers={}), "'layers' is not a list"),
    "a layer that is none": (changed(layers=["x"]), "layers[0] is not a descriptor"),
    "a layer that is null": (changed(layers=[None]), "layers[0] is not a descriptor"),
    "a config that is none": (changed(config="x"), "config is not a descriptor"),
    "a subject that is none": (changed(subject=[]), "subject is not a descriptor"),
    "no digest": (layer_with(digest=None), "layers[0] has no digest"),
    "a digest that is none": (layer_with(digest="sha256:x"), "layers[0]: digest 'sha256:x'"),
    "an algorithm unknown": (layer_with(digest="md5:" + "0" * 32), "layers[0]: digest algorithm"),
    "no type": (layer_with(mediaType=""), "layers[0] has no mediaType"),
    "a long type": (layer_with(mediaType="x" * 256), "layers[0] has no mediaType"),
    "no size": (layer_with(size=None), "layers[0] has no size"),
    "a negative size": (layer_with(size=-1), "layers[0] has no size"),
    "half a byte": (layer_with(size=1.5), "layers[0] has no size"),
    "a size as text": (layer_with(size="7"), "layers[0] has no size"),
    "a size that is true": (layer_with(size=True), "layers[0] has no size"),
    "a size beyond all": (layer_with(size=2**63), "layers[0] has no size"),
    "data that is not base64": (layer_with(data="!"), "layers[0].data is not base64"),
    "data that is a number": (layer_with(data=5), "layers[0].data is not base64"),
    "data of something else": (
        layer_with(data=base64.b64encode(b"another").decode()),
        "layers[0].data is not the content",
    ),
    "half a surrogate pair": (encoded(IMAGE)[:-1] + b', "x": "\\uD800"}', "is not JSON"),
    "a key of half a pair": (encoded(IMAGE)[:-1] + b', "\\udfff": 1}', "is not JSON"),
    "a type with NUL": (layer_with(mediaType="a/b\0"), "layers[0] has no mediaType"),
    "a type of two lines": (layer_with(mediaType="a/b\r\nX: y"), "layers[0] has no mediaType"),
    "an artifact type with NUL": (changed(artifactType="a/b\0"), "artifactType"),
    "an artifact type that is long": (changed(artifactType="x" * 256), "artifactType"),
    "an artifact type that is none": (changed(artifactType=5), "artifactType"),
    "an index without members": (
        {"schemaVersion": 2, "mediaType": OCI_INDEX},
        "an index needs 'manifests'",
    ),
    "an index with layers": (
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "layers": []},
        "may not hold 'layers'",
    ),
    "an index with a config": (
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "config": {}},
        "may not hold 'config'",
    ),
    "docker without config": (
        {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "layers": []},
        "needs a config",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_clients_could_read_differently_is_refused(name: str) -> None:
    document, words = REFUSED[name]
    data = document if isinstance(document, bytes) else encoded(document)
    with pytest.raises(ManifestInvalid) as error:
        parse_manifest(data, None)
    assert words in error.value.message
    assert len(error.value.message) < 700


@pytest.mark.parametrize("header", [OCI_INDEX, DOCKER_MANIFEST, "text/html", "application/json"])
def test_a_header_that_contradicts_the_document_is_refused(header: str) -> None:
    with pytest.raises(ManifestInvalid, match="but the Content-Type is"):
        parse_manifest(encoded(IMAGE), header)


@pytest.mark.parametrize("header", [None, "", "text/html", "application/json", ";"])
def test_a_document_of_no_manifest_type_is_refused(header: str | None) -> None:
    document = {key: value for key, value in IMAGE.items() if key != "mediaType"}
    with pytest.raises(ManifestInvalid, match="is not a manifest type: push one of"):
        parse_manifest(encoded(document), header)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
known_keys = st.sampled_from(sorted({*IMAGE, "manifests", "blobs", "Layers", "digest", "size"}))
headers = st.none() | st.sampled_from(sorted(MEDIA_TYPES)) | st.text(max_size=10)


def read(data: bytes, header: str | None) -> Manifest | None:
    """Parse; a refusal in words is None, and anything else fails the test."""
    try:
        return parse_manifest(data, header)
    except ManifestInvalid:
        return None


@settings(max_examples=50)
@given(st.dictionaries(known_keys | st.text(max_size=5), json_values), headers)
@example({"schemaVersion": 2, "annotations": None, "manifests": []}, OCI_INDEX)
def test_any_document_is_read_or_refused_and_nothing_else(
    fields: dict[str, Any], header: str | None
) -> None:
    for document in (fields, IMAGE | fields):
        found = read(encoded(document), header)
        if found is not None:
            assert found.media_type in MEDIA_TYPES
            assert all(0 <= member.size < 2**63 for member in found.members)
            kept = annotations(encoded(document))
            assert all(isinstance(text, str) for text in (*kept, *kept.values()))


@given(st.binary(max_size=60), headers)
@example(b'{"a":1e999}', OCI_INDEX)
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes, header: str | None) -> None:
    read(data, header)


KNOWN = {
    *("schemaversion", "mediatype", "artifacttype", "config", "layers", "manifests", "blobs"),
    *("subject", "annotations", "fslayers"),
}
finite_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


unknown_keys = st.text(min_size=1, max_size=5).filter(lambda key: key.lower() not in KNOWN)


@given(st.dictionaries(unknown_keys, finite_values, max_size=3))
def test_unknown_fields_change_nothing(fields: dict[str, Any]) -> None:
    plain = parse_manifest(encoded(IMAGE), OCI_MANIFEST)
    assert parse_manifest(encoded(IMAGE | fields), OCI_MANIFEST) == plain


# Pushed and pulled


@pytest.fixture
async def stocked(writer: Client) -> Client:
    """A writer whose repository acme/app holds CONFIG and LAYER."""
    for data in (CONFIG, LAYER, b"{}"):
        await writer.push_blob("acme/app", data)
    return writer


async def check_stored(client: Client, pushed: Pushed, *references: str) -> None:
    """A manifest comes back byte for byte under each reference, with its headers."""
    for reference in (pushed.digest, *references):
        path = f"/v2/acme/app/manifests/{reference}"
        got, headed = await client.get(path), await client.head(path)
        assert (got.content, headed.content) == (pushed.data, b"")
        for response in (got, headed):
            assert response.headers["content-type"] == pushed.media_type
            assert response.headers["content-length"] == str(len(pushed.data))
            assert response.headers["docker-content-digest"] == pushed.digest
            assert response.headers["etag"] == f'"{pushed.digest}"'


async def test_every_byte_comes_back(stocked: Client) -> None:
    odd = b' \n{ "x.future": [1.0, {"\\u00e9": null}],\t' + encoded(IMAGE)[1:-1] + b" }\r\n "
    pushed = await stocked.push_manifest("acme/app", "v1", odd, OCI_MANIFEST)
    assert pushed.response.headers["location"] == f"/v2/acme/app/manifests/{digest_of(odd)}"
    await check_stored(stocked, pushed, "v1")
    assert (await stocked.get(pushed.response.headers["location"])).content == odd


async def test_the_type_comes_back_without_parameters(stocked: Client) -> None:
    data = encoded(IMAGE)
    response = await stocked.put_manifest("acme/app", "v1", data, f"{OCI_MANIFEST}; charset=utf-8")
    assert response.status_code == 201
    got = await stocked.get("/v2/acme/app/manifests/v1")
    assert got.headers["content-type"] == OCI_MANIFEST


async def test_a_manifest_never_runs_on_our_origin(stocked: Client) -> None:
    note = {"annotations": {"x": "<script>alert(1)</script>"}}
    await stocked.push_manifest("acme/app", "v1", changed(**note))
    got = await stocked.get("/v2/acme/app/manifests/v1", headers={"Accept": "text/html"})
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["content-type"] == OCI_MANIFEST


async def test_the_same_manifest_may_be_pushed_again(world: World, stocked: Client) -> None:
    first = await stocked.push_manifest("acme/app", "v1", IMAGE)
    again = await stocked.push_manifest("acme/app", "v1", IMAGE)
    other = await stocked.push_manifest("acme/app", "v2", IMAGE)
    assert first.digest == again.digest == other.digest
    await check_stored(stocked, first, "v1", "v2")
    assert len(await world.rows("select id from manifests")) == 1


async def test_a_tag_moves_and_the_old_manifest_stays(stocked: Client) -> None:
    old = await stocked.push_manifest("acme/app", "v1", IMAGE)
    new = await stocked.push_manifest("acme/app", "v1", changed(annotations={"n": "2"}))
    await check_stored(stocked, new, "v1")
    await check_stored(stocked, old)


async def test_tag_parameters_tag_a_push_by_digest(stocked: Client) -> None:
    tags = [f"t{number}" for number in range(12)]
    pushed = await stocked.push_manifest("acme/app", "", IMAGE, tags=tags)
    assert pushed.response.headers.get_list("oci-tag") == tags
    await check_stored(stocked, pushed, *tags)
    listed = await stocked.get("/v2/acme/app/tags/list")
    assert listed.json()["tags"] == sorted(tags)


async def test_one_bad_tag_parameter_refuses_the_push(world: World, stocked: Client) -> None:
    before = await world.footprint()
    for tags in (["ok", "v1+2"], ["ok", ""], ["ok", "-x"], ["x"] * 101):
        response = await stocked.put_manifest(
            "acme/app", digest_of(encoded(IMAGE)), IMAGE, "", tags
        )
        assert response.status_code == 400, response.text
    assert await world.footprint() == before


@pytest.mark.parametrize("tags", [[], ["a", "b"]])
async def test_a_manifest_by_its_sha512(stocked: Client, tags: list[str]) -> None:
    data = encoded(IMAGE)
    digest = digest_of(data, "sha512")
    pushed = await stocked.push_manifest("acme/app", digest, IMAGE, tags=tags)
    assert pushed.digest == digest
    await check_stored(stocked, pushed, *tags)
    assert (await stocked.get(f"/v2/acme/app/manifests/{digest_of(data)}")).status_code == 404
    await stocked.push_manifest("acme/app", "v1", IMAGE)
    await check_stored(stocked, pushed, *tags)


async def test_another_digest_than_the_bytes_is_refused(world: World, stocked: Client) -> None:
    before = await world.footprint()
    for algorithm in ("sha256", "sha512"):
        wrong = digest_of(b"else", algorithm)
        response = await stocked.put_manifest("acme/app", wrong, IMAGE, tags=["v1"])
        refused(response, 400, "DIGEST_INVALID", wrong, digest_of(encoded(IMAGE), algorithm))
    assert await world.footprint() == before


@pytest.mark.parametrize("reference", ["v1+2", "-v", ".v", "a b", "v" * 129, "é"])
async def test_a_reference_outside_the_grammar_is_refused(stocked: Client, reference: str) -> None:
    path = f"/v2/acme/app/manifests/{reference}"
    response = await stocked.get(path)
    assert response.status_code == 400
    assert (await stocked.put(path, content=encoded(IMAGE))).status_code == 400
    assert (await stocked.head(path)).status_code == 404


async def test_a_missing_manifest_is_unknown(stocked: Client) -> None:
    for reference, kind in (("v9", "tag"), (digest_of(b"x"), "manifest")):
        path = f"/v2/acme/app/manifests/{reference}"
        error = refused(await stocked.get(path), 404, "MANIFEST_UNKNOWN", kind, reference)
        assert error["detail"] == {kind: reference}
        assert (await stocked.head(path)).status_code == 404
        refused(await stocked.delete(path), 404, "MANIFEST_UNKNOWN", reference)


# The size of a manifest


def padded(size: int) -> bytes:
    """An image manifest of exactly `size` bytes."""
    empty = encoded(changed(annotations={"pad": ""}))
    return encoded(changed(annotations={"pad": "x" * (size - len(empty))}))


async def test_four_mebibytes_are_accepted_and_no_byte_more(world: World, stocked: Client) -> None:
    pushed = await stocked.push_manifest("acme/app", "v1", padded(4 * MIB), OCI_MANIFEST)
    assert len(pushed.data) == 4 * MIB
    await check_stored(stocked, pushed, "v1")
    before = await world.footprint()
    over = padded(4 * MIB + 1)
    response = await stocked.put_manifest("acme/app", "v2", over, OCI_MANIFEST)
    refused(response, 413, "SIZE_INVALID", str(4 * MIB))
    assert await world.footprint() == before


# Media types clients ask for


ACCEPTED = (
    *(OCI_MANIFEST, "*/*", "application/*", f"{OCI_INDEX}, {OCI_MANIFEST};q=0.5", "", "garbage"),
    *(f"{OCI_MANIFEST}, */*", "application/json", OCI_INDEX, f"{OCI_INDEX};q=1, text/html;q=0.1"),
    *("*/*;q=0.1", f"{OCI_MANIFEST};q=0.001", ", ,,", f"{OCI_MANIFEST.upper()}"),
)


async def test_an_image_that_is_there_is_sent_whatever_is_accepted(stocked: Client) -> None:
    """A 404 for a type left out of Accept has sent many users looking for the wrong fault."""
    pushed = await stocked.push_manifest("acme/app", "v1", IMAGE)
    for accept in ACCEPTED:
        response = await stocked.get("/v2/acme/app/manifests/v1", headers={"Accept": accept})
        assert response.content == pushed.data, accept
        assert response.headers["content-type"] == OCI_MANIFEST


async def test_a_type_refused_by_name_is_not_sent(stocked: Client) -> None:
    await stocked.push_manifest("acme/app", "v1", IMAGE)
    for accept in (f"{OCI_MANIFEST};q=0", f"{OCI_INDEX}, {OCI_MANIFEST}; q=0.0, */*;q=0"):
        headers = {"Accept": accept}
        response = await stocked.get("/v2/acme/app/manifests/v1", headers=headers)
        refused(response, 404, "MANIFEST_UNKNOWN", OCI_MANIFEST, "Accept")


async def test_what_the_client_has_is_not_sent_again(stocked: Client) -> None:
    pushed = await stocked.push_manifest("acme/app", "v1", IMAGE)
    for reference in ("v1", pushed.digest):
        path = f"/v2/acme/app/manifests/{reference}"
        for condition in (f'"{pushed.digest}"', f'W/"{pushed.digest}"', "*"):
            response = await stocked.get(path, headers={"If-None-Match": condition})
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["docker-content-digest"] == pushed.digest
        response = await stocked.get(path, headers={"If-None-Match": '"other"'})
        assert response.status_code == 200


async def test_only_a_public_manifest_by_digest_is_for_caches(
    world: World, stocked: Client
) -> None:
    pushed = await stocked.push_manifest("acme/app", "v1", IMAGE)
    path = "/v2/acme/app/manifests/"
    for reference in ("v1", pushed.digest):
        assert (await stocked.get(path + reference)).headers["cache-control"] == "private"
    await world.publish("acme/app")
    found = await stocked.get(path + pushed.digest)
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await stocked.get(path + "v1")).headers["cache-control"] == "private"


# What a manifest names


async def test_missing_content_is_named(world: World, writer: Client) -> None:
    await writer.push_blob("acme/app", LAYER)
    before = await world.footprint()
    response = await writer.put_manifest("acme/app", "v1", image_manifest(CONFIG, LAYER, b"gone"))
    error = refused(response, 404, "MANIFEST_BLOB_UNKNOWN", "config", "layers[1]")
    assert error["detail"] == [
        {"where": "config", "digest": digest_of(CONFIG)},
        {"where": "layers[1]", "digest": digest_of(b"gone")},
    ]
    assert await world.footprint() == before


async def test_content_of_another_repository_does_not_count(world: World, stocked: Client) -> None:
    image = await stocked.push_manifest("acme/app", "v1", IMAGE)
    before = await world.footprint()
    response = await stocked.put_manifest("acme/other", "v1", IMAGE)
    refused(response, 404, "MANIFEST_BLOB_UNKNOWN", digest_of(CONFIG))
    response = await stocked.put_manifest("acme/other", "v1", index_manifest(image))
    refused(response, 404, "MANIFEST_BLOB_UNKNOWN", "manifests[0]", image.digest)
    assert await world.footprint() == before


async def test_a_wrong_size_is_refused(world: World, stocked: Client) -> None:
    image = await stocked.push_manifest("acme/app", "v1", IMAGE)
    before = await world.footprint()
    response = await stocked.put_manifest("acme/app", "v2", layer_with(size=8))
    refused(response, 400, "MANIFEST_INVALID", "layers[0] says 8 bytes", "has 7")
    child = image.descriptor | {"size": 1}
    response = await stocked.put_manifest("acme/app", "v2", index_manifest(manifests=[child]))
    refused(response, 400, "MANIFEST_INVALID", "manifests[0] says 1 bytes")
    assert await world.footprint() == before


async def test_a_child_of_another_type_is_refused(world: World, stocked: Client) -> None:
    image = await stocked.push_manifest("acme/app", "v1", IMAGE)
    before = await world.footprint()
    lie = image.descriptor | {"mediaType": DOCKER_MANIFEST}
    response = await stocked.put_manifest("acme/app", "v2", index_manifest(manifests=[lie]))
    refused(response, 400, "MANIFEST_INVALID", DOCKER_MANIFEST, "was pushed as", OCI_MANIFEST)
    assert await world.footprint() == before


async def test_what_is_refused_leaves_nothing(world: World, stocked: Client) -> None:
    before = await world.footprint()
    for name, (document, words) in REFUSED.items():
        data = document if isinstance(document, bytes) else encoded(document)
        response = await stocked.put_manifest("acme/app", "v1", data)
        error = refused(response, 400, "MANIFEST_INVALID", words)
        assert len(error["message"]) < 700, name
    assert await world.footprint() == before


async def test_foreign_layers_need_not_be_here(stocked: Client) -> None:
    for media_type in (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ):
        foreign = descriptor(b"elsewhere", media_type, urls=["https://example.com/layer"])
        document = changed(layers=[foreign, descriptor(LAYER, OCI_LAYER)])
        await check_stored(stocked, await stocked.push_manifest("acme/app", "", document))


# Kinds of manifests


def docker_image() -> dict[str, Any]:
    config = descriptor(CONFIG, "application/vnd.docker.container.image.v1+json")
    layer = descriptor(LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")
    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config,
        "layers": [layer],
    }


def artifact(config_type: str, layer_type: str, **fields: object) -> dict[str, Any]:
    return changed(
        config=descriptor(CONFIG, config_type),
        layers=[descriptor(LAYER, layer_type)],
        **fields,
    )


EMPTY = {"config": descriptor(b"{}", OCI_EMPTY), "layers": [descriptor(b"{}", OCI_EMPTY)]}
KINDS: dict[str, dict[str, Any]] = {
    "docker": docker_image(),
    "no layers": changed(layers=[]),
    "empty index": {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []},
    "artifact": changed(artifactType="application/vnd.example+type", **EMPTY),
    "old artifact": {
        "mediaType": OCI_ARTIFACT,
        "artifactType": "application/vnd.example+type",
        "blobs": [descriptor(LAYER, "text/plain")],
    },
    "data": layer_with(data=base64.b64encode(LAYER).decode()),
    "helm": artifact(
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    ),
    "wasm": artifact("application/vnd.wasm.config.v0+json", "application/wasm"),
    "devcontainer": artifact(
        "application/vnd.devcontainers",
        "application/vnd.devcontainers.layer.v1+tar",
        annotations={"dev.containers.metadata": "{}", "com.github.package.type": "feature"},
    ),
    "cosign 2": artifact(
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.dev.cosign.simplesigning.v1+json",
    ),
    "cosign 3": changed(
        artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
        subject=descriptor(b"not pushed yet", OCI_MANIFEST),
        **EMPTY,
    ),
    "buildkit cache as image": artifact(
        "application/vnd.buildkit.cacheconfig.v0", "application/vnd.oci.image.layer.v1.tar+zstd"
    ),
    "buildkit cache as index": {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            descriptor(LAYER, OCI_LAYER, annotations={"buildkit/createdat": "2023"}),
            descriptor(CONFIG, "application/vnd.buildkit.cacheconfig.v0"),
        ],
    },
    "buildkit cache as docker list": {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [descriptor(CONFIG, "application/vnd.buildkit.cacheconfig.v0")],
    },
    "all descriptor fields": layer_with(
        urls=[], annotations={}, platform={"os": "linux"}, artifactType="a/b", future={"x": 1}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_stored_listed_and_deleted(stocked: Client, kind: str) -> None:
    pushed = await stocked.push_manifest("acme/app", "it", KINDS[kind])
    await check_stored(stocked, pushed, "it")
    assert (await stocked.get("/v2/acme/app/tags/list")).json()["tags"] == ["it"]
    deleted = await stocked.delete(f"/v2/acme/app/manifests/{pushed.digest}")
    assert deleted.status_code == 202
    for reference in ("it", pushed.digest):
        response = await stocked.get(f"/v2/acme/app/manifests/{reference}")
        refused(response, 404, "MANIFEST_UNKNOWN")
    assert (await stocked.get("/v2/acme/app/tags/list")).json()["tags"] == []


async def test_indexes_nest_and_mix(stocked: Client) -> None:
    image = await stocked.push_manifest("acme/app", "", IMAGE)
    docker = await stocked.push_manifest("acme/app", "", docker_image())
    inner = await stocked.push_manifest("acme/app", "", index_manifest(image, docker))
    listed = index_manifest(docker, mediaType=DOCKER_LIST)
    outer = index_manifest(inner, image, annotations={"n": "1"}, artifactType="a/b")
    for document in (listed, outer):
        await check_stored(stocked, await stocked.push_manifest("acme/app", "x", document), "x")


async def test_sha512_content_and_children(stocked: Client) -> None:
    await stocked.push_blob("acme/app", LAYER, "sha512")
    document = layer_with(digest=digest_of(LAYER, "sha512"))
    image = await stocked.push_manifest(
        "acme/app", digest_of(encoded(document), "sha512"), document
    )
    index = await stocked.push_manifest("acme/app", "multi", index_manifest(image))
    await check_stored(stocked, index, "multi")


async def test_the_subject_is_confirmed(stocked: Client) -> None:
    subject = descriptor(b"missing", OCI_MANIFEST)
    pushed = await stocked.push_manifest("acme/app", "", changed(subject=subject))
    assert pushed.response.headers["oci-subject"] == subject["digest"]
    plain = await stocked.push_manifest("acme/app", "", IMAGE)
    assert "oci-subject" not in plain.response.headers


async def test_a_push_cut_in_the_middle_leaves_nothing(world: World, stocked: Client) -> None:
    before = await world.footprint()
    data = encoded(IMAGE)
    headers = {"Content-Type": OCI_MANIFEST}
    await stocked.cut("PUT", "/v2/acme/app/manifests/v1", data[:50], **headers)
    await stocked.cut("PUT", "/v2/acme/app/manifests/v1", data, **headers)
    assert await world.footprint() == before
