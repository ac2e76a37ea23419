"""What arrives by OCI in a package's repository: it is a version, belongs to one, or is refused."""

import asyncio
import hashlib
import json
from collections.abc import Callable

import pytest

from auth.audit import OPERATOR
from auth.principals import Visibility
from tests.registry.client import (
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    descriptor,
    digest_of,
    image_manifest,
    refused,
)
from tests.registry.packaging.arriving import (
    ACCEPT,
    TITLE,
    Artifact,
    artifact,
    copy,
    push,
    push_blobs,
    put,
)
from tests.registry.packaging.generic import BIN, Generic
from tests.registry.packaging.shelf import PAD, Shelf, document
from tests.registry.world import World

SBOM = "application/vnd.example.sbom"
PATH = f"/v2/{PAD}/manifests"


@pytest.fixture
def one() -> Artifact:
    """A version that nobody published yet."""
    return artifact("1.0.0")


async def get_digest(client: Client, tag: str) -> str:
    """What a tag names; "" for nothing."""
    found = await client.get(f"{PATH}/{tag}", headers=ACCEPT)
    return found.headers["docker-content-digest"] if found.status_code == 200 else ""


async def test_a_version_that_arrives_is_published(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    response = await push(writer, one, "1.0.0")
    assert response.status_code == 201, response.text
    (part,) = await shelf.versions("full")
    assert document(part) == {
        "package": "acme:pad",
        "metadata": json.loads(one.config),
        "computed": {"length": 5},
        "files": ["pad-1.0.0.bin"],
        "publisher": "writer",
    }
    (file,) = await world.rows("select * from version_files")
    hashes = [hashlib.new(word, one.file).hexdigest() for word in ("md5", "sha1", "sha512")]
    assert [file["md5"], file["sha1"], file["sha512"]] == hashes
    assert (file["digest"], file["size"]) == (digest_of(one.file), len(one.file))
    assert await shelf.aliases() == {"latest": "1.0.0"}
    (package,) = await world.rows("select format, name, published_at from packages")
    assert (package["format"], package["name"]) == ("generic", "pad")
    assert package["published_at"] == world.clock()
    assert await shelf.events() == [
        ("manifest.push", one.digest, "1.0.0"),
        ("version.publish", "1.0.0", f"{one.digest} latest"),
    ]


async def test_what_arrives_is_what_its_own_client_would_have_published(
    world: World, writer: Client, shelf: Shelf, other: World
) -> None:
    await shelf.publish("1.0.0", more=b"some bytes", description="pads")
    there = Shelf(other, shelf.who)
    response = await copy(writer, other.client("writer"), "1.0.0")
    assert response.status_code == 201, response.text
    assert await there.versions("full") == await shelf.versions("full")
    assert await there.tags() == await shelf.tags()
    for sql, columns in (
        ("select * from version_files", ("name", "digest", "size", "md5", "sha1", "sha512")),
        ("select * from package_versions", ("name", "tag", "order_key", "digest", "facts")),
        ("select * from package_texts", ("title", "description", "terms")),
    ):
        (here,), (copied,) = await world.rows(sql), await other.rows(sql)
        assert [here[column] for column in columns] == [copied[column] for column in columns]


async def test_a_large_file_is_hashed_to_its_end(world: World, writer: Client) -> None:
    large = artifact("1.0.0", bytes(17 * 1024 * 1024))
    assert (await push(writer, large, "1.0.0")).status_code == 201
    (file,) = await world.rows("select md5, sha1, sha512 from version_files")
    for word in ("md5", "sha1", "sha512"):
        assert file[word] == hashlib.new(word, large.file).hexdigest()


async def test_metadata_describes_and_links_a_package_like_annotations(
    world: World, writer: Client, one: Artifact
) -> None:
    url = "https://git.example.com/acme/widget"
    await world.services.projects.create(OPERATOR, "acme/widget", Visibility.PUBLIC)
    await world.services.projects.add_source(OPERATOR, "acme/widget", url)
    said = artifact("1.0.0", description="pads\n of \u001b acme", source=url)
    assert "warning" not in (await push(writer, said, "")).headers
    response = await put(writer, said, "1.0.0")
    assert "linked to the project acme/widget" in response.headers["warning"]
    (text,) = await world.rows("select description, source from package_texts")
    assert (text["description"], text["source"]) == ("pads of acme", url)
    (package,) = await world.rows("select visibility from packages")
    assert package["visibility"] == Visibility.PRIVATE


def changed(**fields: object) -> Callable[[Artifact], Artifact]:
    return lambda made: made.with_fields(**fields)


def layers(*, media_type: str = BIN, **notes: str) -> Callable[[Artifact], Artifact]:
    """Change the type of the layer and its annotations."""

    def change(made: Artifact) -> Artifact:
        return made.with_fields(layers=[descriptor(made.file, media_type, annotations=notes)])

    return change


def twice(made: Artifact) -> Artifact:
    return made.with_fields(layers=[made.layer, made.layer])


OTHER_CONFIG = "application/vnd.oci.image.config.v1+json"
ABOUT = "vnd.packhouse.package"
LIES: list[tuple[str, Callable[[Artifact], Artifact], str]] = [
    ("1.0.1", changed(), "whose tag is 1.0.0"),
    ("beta", changed(), "push it as 1.0.0 first"),
    ("sha256-" + "0" * 64, changed(), "whose tag is 1.0.0"),
    ("1.0.0", changed(artifactType=None), "artifactType is missing"),
    ("1.0.0", changed(layers=None), "1 to 256 layers"),
    ("1.0.0", twice, "two layers have the title"),
    ("1.0.0", layers(), "layers[0] has no name"),
    ("1.0.0", layers(**{TITLE: "../pad-1.0.0.bin"}), "is not valid"),
    ("1.0.0", layers(**{TITLE: "pad-1.0.0\u001b.bin"}), "is not valid"),
    ("1.0.0", layers(**{TITLE: "pad-1.0.0.tgz"}), "a file's name ends in .bin"),
    ("1.0.0", layers(media_type="application/x-tar", **{TITLE: "pad.bin"}), f"has {BIN}"),
    ("1.0.0", changed(annotations={f"{ABOUT}.name": "pod"}), "is 'pod', but this is 'pad'"),
    ("1.0.0", changed(annotations={f"{ABOUT}.format": "npm"}), "but this is 'generic'"),
    ("1.0.0", changed(annotations={f"{ABOUT}.version": "1.0.1"}), "but this is '1.0.0'"),
    ("1.0.0", changed(annotations={"org.opencontainers.image.version": "2"}), "is '2'"),
]


@pytest.mark.parametrize(
    ("tag", "change", "words"), LIES, ids=[f"{lie[0][:6]} {lie[2]}" for lie in LIES]
)
async def test_a_version_that_lies_is_refused(
    world: World,
    writer: Client,
    one: Artifact,
    tag: str,
    change: Callable[[Artifact], Artifact],
    words: str,
) -> None:
    await push_blobs(writer, one.config, one.file)
    before = await world.footprint()
    refused(await put(writer, change(one), tag), 400, "MANIFEST_INVALID", words)
    assert await world.footprint() == before


async def test_metadata_and_files_that_disagree_are_refused(
    world: World, writer: Client, one: Artifact
) -> None:
    stranger = artifact("1.0.0", package="acme:pod")
    await push_blobs(writer, one.config, one.file, stranger.config, b"2.0.0\n")
    before = await world.footprint()
    said = refused(await put(writer, stranger, "1.0.0"), 400, "MANIFEST_INVALID")
    assert "'acme:pod', not of 'acme:pad'" in said["message"]
    mixed = Artifact(one.config, b"2.0.0\n", one.name, {})
    words = "does not begin with its version"
    refused(await put(writer, mixed, "1.0.0"), 400, "MANIFEST_INVALID", words)
    refused(await put(writer, mixed, ""), 400, "MANIFEST_INVALID", words)
    assert await world.footprint() == before


async def test_a_version_is_an_image_manifest_of_the_formats_own_types(
    world: World, writer: Client, one: Artifact
) -> None:
    await push_blobs(writer, one.config, one.file)
    before = await world.footprint()
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": Generic.artifact_type,
        "manifests": [],
    }
    answer = await writer.put_manifest(PAD, "1.0.0", index)
    refused(answer, 400, "MANIFEST_INVALID", OCI_MANIFEST)
    subject = descriptor(one.manifest, OCI_MANIFEST)
    answer = await put(writer, one.with_fields(subject=subject), "1.0.0")
    refused(answer, 400, "MANIFEST_INVALID", "leave its subject out")
    config = descriptor(one.config, OTHER_CONFIG)
    answer = await put(writer, one.with_fields(config=config), "1.0.0")
    refused(answer, 400, "MANIFEST_INVALID", Generic.metadata_type)
    digest = digest_of(one.manifest, "sha512")
    answer = await writer.put_manifest(PAD, digest, one.manifest, OCI_MANIFEST)
    refused(answer, 400, "MANIFEST_INVALID", "sha256")
    assert await world.footprint() == before


async def test_what_a_version_names_comes_first(
    world: World, writer: Client, one: Artifact
) -> None:
    answer = await put(writer, one, "1.0.0")
    refused(answer, 404, "MANIFEST_BLOB_UNKNOWN", "layers[0]", "config")
    assert await world.rows("select id from packages") == []
    await push_blobs(writer, one.config)
    refused(await put(writer, one, "1.0.0"), 404, "MANIFEST_BLOB_UNKNOWN", "layers[0]")


async def test_a_version_takes_no_other_bytes(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    other = artifact("1.0.0", b"other")
    await push_blobs(writer, other.config, other.file)
    before = await world.footprint()
    for reference in ("1.0.0", ""):
        answer = await put(writer, other, reference)
        refused(answer, 409, "DENIED", "a version never changes")
    assert await world.footprint() == before
    assert (await put(writer, one, "1.0.0")).status_code == 201
    assert (await put(writer, one, "")).status_code == 201
    assert await shelf.versions() == ["1.0.0"]


async def test_a_deleted_version_takes_no_bytes(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    await push(writer, artifact("2.0.0"), "2.0.0")
    await writer.delete(f"{PATH}/{one.digest}")
    other = artifact("1.0.0", b"other")
    await push_blobs(writer, one.config, one.file, other.config, other.file)
    before = await world.footprint()
    for made in (one, other):
        for reference in ("1.0.0", ""):
            refused(await put(writer, made, reference), 409, "DENIED", "was deleted")
    assert await world.footprint() == before
    assert await shelf.versions() == ["2.0.0"]
    await shelf.restore()
    assert await shelf.versions() == ["1.0.0", "2.0.0"]


async def test_a_tag_makes_a_version_of_what_came_by_digest(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    assert (await push(writer, one, "")).status_code == 201
    assert await shelf.versions() == []
    assert (await world.rows("select published_at from packages"))[0]["published_at"] is None
    refused(await put(writer, one, "beta"), 400, "MANIFEST_INVALID", "push it as 1.0.0 first")
    assert (await copy(writer, writer, one.digest, "1.0.0")).status_code == 201
    assert await shelf.versions() == ["1.0.0"]


async def test_a_version_arrives_with_its_aliases(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    assert (await push(writer, one, "", ["beta", "1.0.0"])).status_code == 201
    assert await shelf.aliases() == {"beta": "1.0.0", "latest": "1.0.0"}


async def test_an_alias_moves_and_a_versions_tag_never_does(
    world: World, writer: Client, shelf: Shelf
) -> None:
    for version in ("1.0.0", "2.0.0"):
        await push(writer, artifact(version), version)
    assert (await copy(writer, writer, "1.0.0", "beta")).status_code == 201
    assert (await copy(writer, writer, "2.0.0", "beta")).status_code == 201
    assert await shelf.aliases() == {"beta": "2.0.0", "latest": "1.0.0"}
    before = await world.footprint()
    refused(await copy(writer, writer, "2.0.0", "1.0.0"), 400, "MANIFEST_INVALID", "is 2.0.0")
    assert await world.footprint() == before
    assert await get_digest(writer, "1.0.0") == artifact("1.0.0").digest


async def test_the_api_moves_tags_through_the_same_door(writer: Client, shelf: Shelf) -> None:
    for version in ("1.0.0", "2.0.0"):
        await push(writer, artifact(version), version)
    tags, second = "/api/v1/packages/acme/generic%2Fpad/tags", {"digest": artifact("2.0.0").digest}
    assert (await writer.put(f"{tags}/beta", json=second)).status_code == 200
    assert await shelf.aliases() == {"beta": "2.0.0", "latest": "1.0.0"}
    answer = await writer.put(f"{tags}/1.0.0", json=second)
    assert answer.status_code == 400
    assert "whose tag is 2.0.0" in answer.text
    assert (await writer.put(f"{tags}/_state", json=second)).status_code == 403


async def test_of_ten_pushes_of_other_bytes_one_wins(
    world: World, writer: Client, shelf: Shelf
) -> None:
    made = [artifact("1.0.0", bytes([number])) for number in range(10)]
    for each in made:
        await push_blobs(writer, each.config, each.file)
    answers = await asyncio.gather(*(put(writer, each, "1.0.0") for each in made))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    (won,) = [each for each, answer in zip(made, answers, strict=True) if answer.is_success]
    assert await shelf.digest("1.0.0") == won.digest
    assert await shelf.versions() == ["1.0.0"]


async def test_ten_pushes_of_the_same_bytes_are_one_version(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push_blobs(writer, one.config, one.file)
    answers = await asyncio.gather(*(put(writer, one, "1.0.0") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert await shelf.versions() == ["1.0.0"]
    kinds = [kind for kind, _, _ in await shelf.events()]
    assert sorted(kinds) == ["manifest.push"] * 10 + ["version.publish"]


async def test_a_time_is_believed_of_who_administers_the_package(
    world: World, writer: Client
) -> None:
    created = {"org.opencontainers.image.created": "2020-02-02T00:00:00Z"}
    for name, version in (("writer", "1.0.0"), ("owner", "2.0.0")):
        made = artifact(version).with_fields(annotations=created)
        assert (await push(world.client(name), made, version)).status_code == 201
    later = artifact("3.0.0").with_fields(
        annotations={"org.opencontainers.image.created": "2999-01-01T00:00:00Z"}
    )
    assert (await push(world.client("owner"), later, "3.0.0")).status_code == 201
    rows = await world.rows("select published_at from package_versions order by name")
    now = world.clock()
    assert [row["published_at"] for row in rows] == [now, 1_580_601_600_000_000, now]


@pytest.mark.parametrize("reference", ["1.0.0", "latest", ""])
async def test_what_is_no_version_is_refused(world: World, writer: Client, reference: str) -> None:
    config, layer = b'{"an": "image"}', b"a layer"
    await push_blobs(writer, config, layer)
    before = await world.footprint()
    plain = image_manifest(config, layer)
    typed = image_manifest(config, layer, artifactType=SBOM)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    for made in (plain, typed, index):
        data = json.dumps(made).encode()
        where = reference or digest_of(data)
        answer = await writer.put_manifest(PAD, where, data, str(made["mediaType"]))
        refused(answer, 400, "MANIFEST_INVALID", Generic.artifact_type)
    assert await world.footprint() == before


@pytest.mark.parametrize("tag", ["_", "_state", "_other"])
async def test_tags_of_ours_are_nobody_elses(
    world: World, writer: Client, one: Artifact, tag: str
) -> None:
    await push(writer, one, "1.0.0")
    before = await world.footprint()
    refused(await put(writer, one, tag), 403, "DENIED", "begin with '_'")
    refused(await put(world.client("owner"), one, "", [tag]), 403, "DENIED")
    assert await world.footprint() == before


async def test_what_refers_to_a_version_is_kept(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    subject = descriptor(one.manifest, OCI_MANIFEST)
    bill = await writer.push_artifact(PAD, "", SBOM, subject=subject)
    proof = await writer.push_artifact(PAD, "", SBOM, subject=bill.descriptor)
    for of, found in ((one.digest, bill), (bill.digest, proof)):
        listed = (await writer.get(f"/v2/{PAD}/referrers/{of}")).json()["manifests"]
        assert [each["digest"] for each in listed] == [found.digest]
    assert await shelf.versions() == ["1.0.0"]
    answer = await writer.put_manifest(PAD, "beta", bill.data, OCI_MANIFEST)
    refused(answer, 400, "MANIFEST_INVALID", "tags like beta")


async def test_what_refers_to_a_version_comes_before_it(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    """regctl copies referrers first, and the specification has registries take them."""
    subject = descriptor(one.manifest, OCI_MANIFEST)
    bill = await writer.push_artifact(PAD, "", SBOM, subject=subject)
    assert (await push(writer, one, "1.0.0")).status_code == 201
    listed = (await writer.get(f"/v2/{PAD}/referrers/{one.digest}")).json()["manifests"]
    assert [each["digest"] for each in listed] == [bill.digest]
    assert await shelf.versions() == ["1.0.0"]


async def test_a_version_comes_under_a_tag_of_its_own_digest(
    world: World, writer: Client, shelf: Shelf, one: Artifact
) -> None:
    """cosign copies what it copies under such a tag, and then under its own."""
    own = one.digest.replace(":", "-")
    assert (await push(writer, one, own)).status_code == 201
    assert await shelf.versions() == []
    assert (await put(writer, one, "1.0.0")).status_code == 201
    assert (await put(writer, one, own)).status_code == 201
    assert await shelf.versions() == ["1.0.0"]
    assert await shelf.aliases() == {"latest": "1.0.0"}
    (event,) = [event for event in await shelf.events() if event[0] == "version.publish"]
    assert event[2] == f"{one.digest} latest"


@pytest.mark.parametrize("ending", ["", ".sig", ".att", ".sbom"])
async def test_tags_made_of_a_digest_hold_anything(
    writer: Client, shelf: Shelf, one: Artifact, ending: str
) -> None:
    """cosign copies signatures before what they sign."""
    tag = one.digest.replace(":", "-") + ending
    signature = await writer.push_image(PAD, tag, b"a signature")
    assert await get_digest(writer, tag) == signature.digest
    await push(writer, one, "1.0.0")
    assert await shelf.versions() == ["1.0.0"]
    assert await shelf.aliases() == {"latest": "1.0.0"}


@pytest.mark.parametrize("kind", ["dev.cosign.simplesigning.v1+json", "dsse.envelope.v1+json"])
async def test_a_signature_comes_before_its_tag(
    world: World, writer: Client, one: Artifact, kind: str
) -> None:
    """oras cp of a signature's tag: by digest first, and without a subject."""
    await push_blobs(writer, b"{}", b"a signature", b"a layer")
    before = await world.footprint()
    layer = descriptor(b"a signature", f"application/vnd.{kind}")
    for signed in ([], [layer, descriptor(b"a layer", "application/vnd.example")]):
        data = json.dumps(image_manifest(b"{}", layers=signed)).encode()
        answer = await writer.put_manifest(PAD, digest_of(data), data, OCI_MANIFEST)
        refused(answer, 400, "MANIFEST_INVALID", Generic.artifact_type)
    assert await world.footprint() == before
    signature = await writer.push_manifest(PAD, "", image_manifest(b"{}", layers=[layer]))
    tag = one.digest.replace(":", "-") + ".sig"
    await writer.push_manifest(PAD, tag, signature.data, OCI_MANIFEST)
    assert await get_digest(writer, tag) == signature.digest


async def test_the_index_of_clients_without_the_referrers_api_is_kept(
    writer: Client, one: Artifact
) -> None:
    await push(writer, one, "1.0.0")
    subject = descriptor(one.manifest, OCI_MANIFEST)
    bill = await writer.push_artifact(PAD, "", SBOM, subject=subject)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [bill.descriptor]}
    tag = one.digest.replace(":", "-")
    assert (await writer.put_manifest(PAD, tag, index)).status_code == 201


@pytest.mark.parametrize("tag", ["sha256-0123", "sha256-" + "0" * 64 + ".exe", "sha1-" + "0" * 64])
async def test_what_looks_like_a_digests_tag_is_refused(writer: Client, tag: str) -> None:
    await push_blobs(writer, b"{}")
    answer = await writer.put_manifest(PAD, tag, image_manifest(b"{}"))
    refused(answer, 400, "MANIFEST_INVALID", "tags like")


async def test_a_graph_arrives_in_the_order_of_a_recursive_copy(
    writer: Client, shelf: Shelf, one: Artifact
) -> None:
    """oras cp -r: by digest what is referred to, then what refers to it, and the tag last."""
    assert (await push(writer, one, "")).status_code == 201
    subject = descriptor(one.manifest, OCI_MANIFEST)
    bill = await writer.push_artifact(PAD, "", SBOM, subject=subject)
    assert (await copy(writer, writer, one.digest, "1.0.0")).status_code == 201
    listed = (await writer.get(f"/v2/{PAD}/referrers/{one.digest}")).json()["manifests"]
    assert [each["digest"] for each in listed] == [bill.digest]
    assert await shelf.versions() == ["1.0.0"]


@pytest.mark.parametrize(
    ("repository", "status", "words"),
    [
        ("acme/npm/pad", 403, "does not hold yet"),
        ("acme/generic/pad/more", 400, "is not owner/generic/name"),
    ],
)
async def test_other_formats_and_other_shapes_of_names_stay_closed(
    writer: Client, repository: str, status: int, words: str
) -> None:
    answer = await writer.post(f"/v2/{repository}/blobs/uploads/")
    refused(answer, status, "DENIED", words)
    answer = await writer.put_manifest(repository, "1.0.0", image_manifest(b"{}"))
    refused(answer, status, "DENIED", words)


async def test_a_reader_cannot_push_a_version(
    world: World, writer: Client, reader: Client, one: Artifact
) -> None:
    await push_blobs(writer, one.config, one.file)
    before = await world.footprint()
    refused(await put(reader, one, "1.0.0"), 403, "DENIED", "may not push")
    assert await world.footprint() == before


async def test_a_slugged_package_arrives_under_its_true_name(
    world: World, writer: Client, shelf: Shelf, other: World
) -> None:
    await shelf.publish("1.0.0", name="Pad")
    (row,) = await world.rows("select repository from packages")
    repository, there = row["repository"], other.client("writer")
    assert repository != "acme/generic/Pad"
    assert (await copy(writer, there, "1.0.0", repository=repository)).status_code == 201
    (package,) = await other.rows("select name from packages")
    assert package["name"] == "Pad"
