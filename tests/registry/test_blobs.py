"""Blobs: read whole, in ranges and conditionally; healed when their bytes are gone."""

import os

import pytest

from tests.registry.client import Client, digest_of, image_manifest, refused
from tests.registry.world import World

DATA = bytes(range(256)) * 8
DIGEST = digest_of(DATA)
PATH = f"/v2/acme/app/blobs/{DIGEST}"
ABSENT = digest_of(b"never pushed")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_blob_is_read_by_get_and_head(writer: Client, algorithm: str) -> None:
    digest = await writer.push_blob("acme/app", DATA, algorithm)
    path = f"/v2/acme/app/blobs/{digest}"
    got, headed = await writer.get(path), await writer.head(path)
    assert (got.content, headed.content) == (DATA, b"")
    for response in (got, headed):
        assert response.status_code == 200
        assert response.headers["content-length"] == "2048"
        assert response.headers["docker-content-digest"] == digest
        assert response.headers["etag"] == f'"{digest}"'
        assert response.headers["accept-ranges"] == "bytes"
    for response in (got, headed):
        del response.headers["x-request-id"]
    assert got.headers == headed.headers


async def test_stored_bytes_never_run_on_our_origin(writer: Client) -> None:
    page = b"<html><script>alert(1)</script>"
    digest = await writer.push_blob("acme/app", page)
    response = await writer.get(f"/v2/acme/app/blobs/{digest}")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert response.headers["vary"] == "Authorization"


async def test_a_private_blob_is_not_for_caches(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    assert (await writer.get(PATH)).headers["cache-control"] == "private"


async def test_an_empty_blob_is_a_blob(writer: Client) -> None:
    digest = await writer.push_blob("acme/app", b"")
    response = await writer.get(f"/v2/acme/app/blobs/{digest}")
    assert (response.content, response.headers["content-length"]) == (b"", "0")


async def test_bytes_are_never_encoded_again(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    headers = {"Accept-Encoding": "zstd, gzip, deflate"}
    response = await writer.get(PATH, headers=headers)
    assert "content-encoding" not in response.headers
    assert response.content == DATA


@pytest.mark.parametrize("digest", [ABSENT, digest_of(b"x", "sha512")])
async def test_what_was_never_pushed_is_unknown(writer: Client, digest: str) -> None:
    await writer.push_blob("acme/app", DATA)
    for name in ("acme/app", "acme/other"):
        path = f"/v2/{name}/blobs/{digest}"
        error = refused(await writer.get(path), 404, "BLOB_UNKNOWN", digest, name)
        assert error["detail"] == {"digest": digest}
        assert (await writer.head(path)).status_code == 404


BAD_DIGESTS = {
    "sha256:baddigeststring": "64 digits",
    "sha256:" + "g" * 64: "64 digits",
    "sha256:" + "A" * 64: "lower-case",
    "sha256:" + "a" * 65: "64 digits",
    "sha512:" + "a" * 64: "128 digits",
    "md5:" + "a" * 32: "use sha256 or sha512",
    "blake3:" + "a" * 64: "use sha256 or sha512",
    "SHA256:" + "a" * 64: "is not a digest",
    "a" * 64: "is not a digest",
    "sha256": "is not a digest",
    "sha256:": "64 digits",
}


async def test_what_is_no_digest_is_refused_in_words(writer: Client) -> None:
    for digest, words in BAD_DIGESTS.items():
        path = f"/v2/acme/app/blobs/{digest}"
        refused(await writer.get(path), 400, "DIGEST_INVALID", words)
        refused(await writer.delete(path), 400, "DIGEST_INVALID", words)
        assert (await writer.head(path)).status_code == 404
        response = await writer.post(f"/v2/acme/app/blobs/uploads/?digest={digest}", content=DATA)
        refused(response, 400, "DIGEST_INVALID", words)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-2047", 0, 2047),
        ("bytes=100-199", 100, 199),
        ("bytes=2000-", 2000, 2047),
        ("bytes=-48", 2000, 2047),
        ("bytes=-9999", 0, 2047),
        ("bytes=2000-99999999999999999999", 2000, 2047),
    ],
)
async def test_a_range_is_cut_out(writer: Client, asked: str, first: int, last: int) -> None:
    await writer.push_blob("acme/app", DATA)
    response = await writer.get(PATH, headers={"Range": asked})
    assert response.status_code == 206
    assert response.content == DATA[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/2048"
    assert response.headers["content-length"] == str(last - first + 1)
    assert response.headers["docker-content-digest"] == DIGEST
    headed = await writer.head(PATH, headers={"Range": asked})
    assert (headed.status_code, headed.content) == (206, b"")


async def test_a_range_outside_is_refused(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    for asked in ("bytes=2048-", "bytes=5000-6000", "bytes=500-0", "bytes=-0"):
        response = await writer.get(PATH, headers={"Range": asked})
        refused(response, 416, "RANGE_INVALID", "2048 bytes")
        assert response.headers["content-range"] == "bytes */2048"


async def test_ranges_that_are_not_understood_send_everything(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    for asked in ("bytes=0-1,4-5", "items=0-5", "bytes=a-b", "bytes"):
        response = await writer.get(PATH, headers={"Range": asked})
        assert (response.status_code, response.content) == (200, DATA), asked


async def test_if_range_keeps_a_range_only_for_the_same_bytes(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    for condition, status in (
        (f'"{DIGEST}"', 206),
        (f'"{ABSENT}"', 200),
        (f'W/"{DIGEST}"', 200),
        ("Tue, 14 Nov 2023 22:13:20 GMT", 200),
    ):
        headers = {"Range": "bytes=0-9", "If-Range": condition}
        response = await writer.get(PATH, headers=headers)
        assert response.status_code == status, condition
        assert response.content == (DATA[:10] if status == 206 else DATA)


async def test_what_the_client_has_is_not_sent_again(writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    for condition in (f'"{DIGEST}"', f'W/"{DIGEST}"', "*", f'"x", "{DIGEST}"'):
        headers = {"If-None-Match": condition, "Range": "bytes=5000-"}
        response = await writer.get(PATH, headers=headers)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == f'"{DIGEST}"'
        assert "content-length" not in response.headers
    response = await writer.get(PATH, headers={"If-None-Match": f'"{ABSENT}"'})
    assert response.status_code == 200


async def test_the_same_blob_is_kept_once(world: World, writer: Client) -> None:
    for name in ("acme/app", "acme/other", "acme/app"):
        await writer.push_blob(name, DATA)
    (row,) = await world.rows("select key from blobs")
    trash = {found["key"] for found in await world.rows("select key from trash")}
    assert await world.keys() == {row["key"]} | trash
    assert len(trash) == 2


@pytest.mark.parametrize("damage", ["removed", "truncated", "emptied"])
async def test_damaged_bytes_are_unknown_until_they_are_pushed_again(
    world: World, writer: Client, damage: str
) -> None:
    image = await writer.push_image("acme/app", "v1", DATA)
    await writer.push_image("acme/other", "v1", DATA)
    file = await world.file_of_blob(DIGEST)
    if damage == "removed":
        file.unlink()
    else:
        os.truncate(file, 0 if damage == "emptied" else 1000)
    refused(await writer.get(PATH), 404, "BLOB_UNKNOWN", DIGEST)
    assert (await writer.head(PATH)).status_code == 404
    await writer.push_blob("acme/other", DATA)
    for name in ("acme/app", "acme/other"):
        assert (await writer.get(f"/v2/{name}/blobs/{DIGEST}")).content == DATA
    assert (await writer.get("/v2/acme/app/manifests/v1")).content == image.data


@pytest.mark.parametrize("way", ["put", "patch"])
async def test_damaged_bytes_heal_by_every_kind_of_push(
    world: World, writer: Client, way: str
) -> None:
    await writer.push_blob("acme/app", DATA)
    (await world.file_of_blob(DIGEST)).unlink()
    location = await writer.start("acme/app")
    if way == "patch":
        assert (await writer.patch(location, content=DATA)).status_code == 202
    body = DATA if way == "put" else b""
    response = await writer.put(location, params={"digest": DIGEST}, content=body)
    assert response.status_code == 201
    assert (await writer.get(PATH)).content == DATA


async def test_damaged_bytes_are_not_mounted(world: World, writer: Client) -> None:
    await writer.push_blob("acme/app", DATA)
    (await world.file_of_blob(DIGEST)).unlink()
    response = await writer.post(f"/v2/acme/new/blobs/uploads/?mount={DIGEST}&from=acme/app")
    assert response.status_code == 202
    done = await writer.put(response.headers["location"], params={"digest": DIGEST}, content=DATA)
    assert done.status_code == 201
    assert (await writer.get(PATH)).content == DATA


async def test_a_blob_of_a_manifest_survives_a_restart(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1", DATA)
    await world.restart()
    assert (await writer.get(PATH)).content == DATA


async def test_a_large_blob_comes_back_whole(writer: Client) -> None:
    data = os.urandom(5 * 1024 * 1024 + 3)
    digest = await writer.push_blob("acme/app", data)
    assert (await writer.get(f"/v2/acme/app/blobs/{digest}")).content == data
    tail = await writer.get(f"/v2/acme/app/blobs/{digest}", headers={"Range": "bytes=-1500000"})
    assert tail.content == data[-1500000:]


async def test_a_blob_waits_for_its_manifest(writer: Client) -> None:
    """Clients push blobs first, and look for them, long before the manifest that names them."""
    await writer.push_blob("acme/app", DATA)
    assert (await writer.head(PATH)).status_code == 200
    await writer.push_blob("acme/app", b"config")
    await writer.push_manifest("acme/app", "v1", image_manifest(b"config", DATA))
    assert (await writer.head(PATH)).status_code == 200
