"""The catalogue of faults that others shipped, tried at npm's door: refused, and nothing is kept.

Archives are in test_catalogue_doors.py, what browsers do with answers in test_content.py.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from auth.principals import Scope, Visibility
from formats.npm.body_scan import MAX_DOCUMENT
from formats.npm.reading import MAX_METADATA
from tests.formats.npm.hostile import NAME, SOUND, TGZ, VERSION, attached, publication
from tests.formats.npm.shop import told
from tests.formats.npm.test_attestations import bundle
from tests.registry.client import Client, basic
from tests.registry.world import PASSWORD, World

PAD = "/npm/@acme%2fpad"
DIST_TAG = "/npm/-/package/@acme%2fpad/dist-tags"
NPM = {"Content-Type": "application/json"}


def refused(response: httpx.Response, status: int, *words: str) -> None:
    """Check that an error is one line of npm's dialect which tells nothing of ours."""
    said = told(response, status, *words)
    assert said.isprintable()
    assert len(said) < 700
    for ours in ("Traceback", ".py", "/data/", "sqlite", "asyncpg", "select "):
        assert ours not in response.text


@pytest.fixture
async def published(world: World) -> Client:
    """A package that is there, and somebody who writes."""
    client = world.client("writer")
    response = await client.put(PAD, json=publication())
    assert response.status_code == 201, response.text
    return client


def version_of(**said: object) -> dict[str, Any]:
    """A body whose version object says this beside."""
    return publication(said=said)


def named(name: object, version: object = VERSION) -> dict[str, Any]:
    """A body that calls itself so, wherever it can."""
    return publication(
        _id=name,
        name=name,
        versions={str(version): {"name": name, "version": version}},
        tags={"latest": version},
    )


def spelled(*changes: tuple[str, str], **said: object) -> bytes:
    """A body as bytes, in which a word is spelled otherwise."""
    text = json.dumps(version_of(**said))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"a": found}
    return found


LARGE = "x" * (MAX_METADATA + 1)
MANY = ",".join(f'"k{number}":1' for number in range(200_000))
FIELDS = b'{"_attachments":{"t":{"data":""}},%s,"k199999":1}' % MANY.encode()
PROVENANCE = "@acme/pad-1.0.0.sigstore"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SHA512 = hashlib.sha512(SOUND).hexdigest()


def proven(content_type: str = BUNDLE, **said: Any) -> dict[str, Any]:
    """A body with an attestation of its tarball."""
    text = bundle(SHA512, **said).decode()
    attachments = {
        TGZ: attached(SOUND),
        PROVENANCE: {"content_type": content_type, "data": text, "length": len(text)},
    }
    return publication(_attachments=attachments)


BODIES: list[tuple[str, object, int, str]] = [
    # gitlab#211636: what becomes part of a path
    ("a name that leads out", named("@acme/../../etc"), 400, "not of @acme/pad"),
    ("a name that begins at the root", named("/etc/passwd"), 400, "not of @acme/pad"),
    ("an encoded dot", named("@acme/%2e%2e"), 400, "not of @acme/pad"),
    ("a name of 64 KB", named("@acme/" + "a" * 65_536), 400, "at most 4096"),
    ("a name with NUL", named("@acme/pad\0"), 400, "NUL"),
    ("a name that is a list", named(["@acme/pad"]), 400, "'name' is missing"),
    ("a version that leads out", named(NAME, "1.0.0/../../2.0.0"), 400, "use SemVer"),
    ("a version with NUL", named(NAME, "1.0.0\0"), 400, "NUL"),
    ("a version of 64 KB", named(NAME, "1.0.0-" + "a" * 65_536), 400, "too long"),
    ("a version that is no text", named(NAME, 1), 400, "use SemVer"),
    ("a file that leads out", publication(_attachments={"../x.tgz": attached(SOUND)}), 400, "file"),
    ("a file of 64 KB", publication(_attachments={"x" * 65_536: attached(SOUND)}), 400, "255"),
    (
        "a file of another package",
        publication(_attachments={"@acme/pad-admin-1.0.0.tgz": attached(SOUND)}),
        400,
        "is not expected",
    ),
    # CVE-2013-4287, CVE-2013-4363: expressions that take for ever
    ("numbers without end", named(NAME, "1." * 30_000), 400, "too long"),
    ("prereleases without end", named(NAME, "1.0.0-" + "0." * 120 + "!"), 400, "use SemVer"),
    ("letters without end", named(NAME, "1.0.0-" + "a-" * 120 + "\n"), 400, "use SemVer"),
    ("an integrity without end", version_of(dist={"integrity": "A" * 500_000}), 400, "at most"),
    ("spaces in an integrity", version_of(dist={"integrity": "sha512- " * 500}), 400, "integrity"),
    # CVE-2017-0899, CVE-2020-7694: what terminals obey
    ("a name that commands terminals", named("\x1b[2J\x9b31m"), 400, r"\x1b[2J\x9b31m"),
    ("a version that commands terminals", named(NAME, "\x1b]0;x\x07"), 400, r"\x1b]0;x\x07"),
    (
        "a key that commands terminals",
        spelled(('"_id"', '"\\u001b[2J":1,"\\u001b[2J"')),
        400,
        "x1b",
    ),
    # CVE-2026-56755 and its family: no bound, or squares
    ("metadata without bound", version_of(readme=LARGE), 400, "larger than 4194304 bytes"),
    ("a document without bound", publication(readme="x" * MAX_DOCUMENT), 413, "shorten"),
    ("lists without bound", version_of(x=[[]] * 600_000), 413, "shorten its metadata"),
    ("objects within objects", version_of(x=nested(70)), 400, "more than 64"),
    ("an end that never comes", b"[" * 100_000, 400, "more than 64"),
    ("fields without bound", FIELDS, 413, "at most 1000 fields"),
    (
        "the last of many keys twice",
        spelled(('"version": "1', f'"x":{{{MANY},"k199999":1}},"version": "1')),
        400,
        "'k199999' twice",
    ),
    (
        "attachments without bound",
        publication(_attachments={f"{n}.tgz": attached(b"x") for n in range(5)}),
        400,
        "at most 4 attachments",
    ),
    (
        "tags without bound",
        publication(tags={f"tag-{n}": VERSION for n in range(21)}),
        400,
        "at most 20 tags",
    ),
    ("a tag without bound", publication(tags={"t" * 129: VERSION}), 400, "tag"),
    ("a type of provenance without bound", proven(predicate="x" * 300), 400, "at most 256"),
    ("a type of provenance for terminals", proven(predicate="x\x1b[2J"), 400, "at most 256"),
    ("an attachment type without bound", proven(BUNDLE + "x" * 300), 400, "content_type"),
    ("an attachment type of two lines", proven(BUNDLE + "\r\nX-Evil: 1"), 400, "media"),
    # What two readers see differently
    ("a key twice", spelled(('"version"', '"version":"9.9.9","version"')), 400, "twice"),
    ("no number", spelled(('"version"', '"x":NaN,"version"')), 400, "NaN"),
    ("too large a number", spelled(('"version"', '"x":1e999,"version"')), 400, "too large"),
    ("digits without end", spelled(('"version"', '"x":' + "9" * 5000 + ',"version"')), 400, "JSON"),
    ("half a character", spelled(('"version"', '"x":"\\ud800","version"')), 400, "surrogate"),
    ("no UTF-8", b'{"\xff":1}', 400, "JSON"),
    # GHSA-qq97: two things in one
    (
        "two versions",
        publication(versions={VERSION: {"name": NAME, "version": VERSION}, "2.0.0": {}}),
        400,
        "one version at a time",
    ),
    (
        "two tarballs",
        publication(_attachments={TGZ: attached(SOUND), TGZ[6:]: attached(SOUND)}),
        400,
        "not expected",
    ),
    ("a tag that is a version", publication(tags={"2.0.0": VERSION}), 400, "range"),
    ("a tag that is ours", publication(tags={"_state": VERSION}), 400, "own"),
    ("a tag that is everybody's", publication(tags={"__proto__": VERSION}), 400, "own"),
    ("a tag that is markup", publication(tags={"<b>": VERSION}), 400, "tag"),
    # CVE-2019-16097: fields that are nobody's to set
    ("access that is no word", publication(access="admin"), 400, "'access'"),
    # What is not there
    ("no body", b"", 400, "no JSON"),
    ("a length that is not", publication(_attachments={TGZ: attached(SOUND, length=7)}), 400, "7"),
    ("no base64", publication(_attachments={TGZ: attached(SOUND, data="<!")}), 400, "not base64"),
    (
        "text for a tarball",
        publication(_attachments={TGZ: attached(SOUND, data="{}", length=2)}),
        400,
        "base64",
    ),
]


# Each is refused by its own words before any transaction: one engine will do.
@pytest.mark.parametrize("origin", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "status", "words"), [x[1:] for x in BODIES], ids=[x[0] for x in BODIES]
)
async def test_a_body_that_hurt_others_is_refused(
    world: World, body: object, status: int, words: str
) -> None:
    before = await world.footprint()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    writer = world.client("writer")
    refused(await writer.put(PAD, content=data, headers=NPM), status, words)
    assert await world.footprint() == before
    assert (await writer.get(PAD)).status_code == 404


PATHS = [
    *("/npm/%2F%2F..%2F..%2Fetc%2Fpasswd", "/npm/..%2f..%2fetc/passwd", "/npm/%2e%2e/v2/"),
    *("/npm/@acme%2f..%2f..%2fetc", "/npm/@acme/../../etc", "/npm//@acme/pad", "/npm/@acme//pad"),
    *("/npm/@acme%252fpad", "/npm/@acme/pad%00", "/npm/@acme/pad;x=1", "/npm/@acme%5cpad"),
    *("/npm/@acme/pad/-/..%2f..%2fpad-1.0.0.tgz", "/npm/@acme/pad/-/%2e%2e", "/npm/@acme/pad/-/"),
    *("/npm/@acme/pad/-/pad-..tgz", "/npm/@acme/pad/-/%2fetc%2fpasswd", "/npm/@acme%2fpad/"),
    *("/npm/@acme/pad/-/@acme/..%2fpad-1.0.0.tgz", "/npm/@acme%2fpad%2f-", "/npm/@acme/PAD"),
    *("/npm/@ACME/pad", "/npm/@acme/pad/%0d%0aX:%201", "/npm/@acme/pad/%1b[2J", "/npm/@acme/%ff"),
    *("/npm/@acme/" + "a" * 5000, "/npm/@acme/pad/" + "1." * 2000, "/npm/@%2facme/pad"),
    *("/npm/@acme/pad/-/pad-1.0.0.tgz/", "/npm/@acme/pad/-/pad-1.0.0.tgz%23", "/npm/%40/pad"),
    *("/auth/npm/@acme/..%2f..%2fetc", "/auth/npm//", "/-/npm/v1/attestations/@acme%2f..@1.0.0"),
    *("/npm/-/package/@acme%2f..%2fx/dist-tags", "/npm/-/npm/v1/attestations/@acme%2fpad@%2e%2e"),
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_that_opened_others_opens_nothing(
    world: World, published: Client, path: str
) -> None:
    """CVE-2024-4956, CVE-2024-36116, CVE-2026-42018, CVE-2026-39399: with right and without."""
    before = await world.footprint()
    for client in (published, world.client("stranger"), world.client("")):
        for method in ("GET", "PUT", "DELETE"):
            response = await client.raw(method, path, content=b"{}" if method == "PUT" else b"")
            assert response.status_code in (400, 401, 403, 404, 405), (method, response.status_code)
            refused(response, response.status_code)
            head = await client.raw("HEAD", path)
            assert head.status_code >= 400
            assert "x-evil" not in head.headers
    assert await world.footprint() == before


SMALL: list[tuple[str, str, bytes, int, str]] = [
    ("PUT", f"{DIST_TAG}/next", b'"%s"' % (b"1" * 1_100), 413, "1024 bytes"),
    ("POST", f"{DIST_TAG}/next", b" " * 2_000_000, 413, "1024 bytes"),
    ("PUT", f"{DIST_TAG}/next", b'"' + b"1." * 400 + b'"', 404, "has no version"),
    ("PUT", f"{DIST_TAG}/next", b'{"version":"1.0.0"}', 400, "not what is expected"),
    ("PUT", f"{DIST_TAG}/next", b"\xff", 400, "not what is expected"),
    ("PUT", f"{DIST_TAG}/next", b'"1.0.0\\u0000"', 400, "NUL"),
    ("PUT", f"{DIST_TAG}/next", b"[" * 1_000, 400, "not what is expected"),
    ("PUT", f"{DIST_TAG}/{'t' * 129}", b'"1.0.0"', 400, "tag"),
    ("PUT", f"{DIST_TAG}/1.x", b'"1.0.0"', 400, "range"),
    ("PUT", f"{DIST_TAG}/_state", b'"1.0.0"', 400, "own"),
    ("PUT", f"{DIST_TAG}/%3Cscript%3E", b'"1.0.0"', 400, "tag"),
    ("PUT", f"{DIST_TAG}/%1b[2J", b'"1.0.0"', 400, "control characters"),
    ("DELETE", f"{DIST_TAG}/latest", b"", 405, "latest"),
    ("PUT", "/npm/-/user/org.couchdb.user:writer", b"x" * 70_000, 413, "65536"),
    ("POST", "/npm/-/v1/login", b"[" * 60_000, 400, "not what is expected"),
    ("POST", "/npm/-/npm/v1/tokens", b"x" * 70_000, 413, "65536"),
    ("POST", "/npm/-/npm/v1/security/advisories/bulk", b"x" * (4 << 20) + b"x", 413, "4194304"),
    ("PUT", f"{PAD}/-rev/1-x", b"[" * 100_000, 400, ""),
    ("PUT", f"{PAD}/-rev/{'9' * 4000}", b"{}", 400, "revision"),
    ("DELETE", f"{PAD}/-rev/undefined", b"", 400, "revision"),
    ("GET", f"/npm/-/v1/search?text={'a' * 3_000}", b"", 400, ""),
    ("GET", "/npm/-/v1/search?text=%00", b"", 400, "control"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"), SMALL, ids=[f"{x[0]} {x[1][:50]}" for x in SMALL]
)
async def test_small_bodies_are_small(
    world: World,
    published: Client,
    method: str,
    path: str,
    body: bytes,
    status: int,
    words: str,
) -> None:
    """CVE-2026-56755, CVE-2026-59763, CVE-2026-42931: whether their length was said or not."""

    async def chunked() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    before = await world.footprint()
    refused(await published.request(method, path, content=body, headers=NPM), status, words)
    refused(await published.request(method, path, content=chunked(), headers=NPM), status, words)
    assert await world.footprint() == before


def shapes(token: str) -> list[Mapping[str, str]]:
    """A token in all the forms in which clients send one."""
    return [
        {"Authorization": f"Bearer {token}"},
        {"Authorization": basic("writer", token)},
        {"Authorization": basic("", token)},
        {"Authorization": token},
        {"X-NuGet-ApiKey": token},
    ]


async def test_a_token_has_its_scope_in_every_form(world: World, published: Client) -> None:
    """CVE-2026-28699: what only reads wrote when it came as a password."""
    before, nobody = await world.footprint(), world.client("")
    document = (await published.get(f"{PAD}?write=true")).json()
    reads, writes = await world.mint("writer", Scope.READ), await world.mint("writer", Scope.WRITE)
    for said in shapes(reads):
        assert (await nobody.get(PAD, headers=said)).status_code == 200
        for method, path, body in (
            ("PUT", PAD, publication()),
            ("PUT", PAD, document),
            ("PUT", f"{DIST_TAG}/next", VERSION),
            ("DELETE", f"{PAD}/-rev/{document['_rev']}", None),
            ("PUT", "/npm/-/team/acme/readers/user", {"user": "reader"}),
            ("POST", "/npm/-/package/@acme%2fpad/access", {"access": "public"}),
        ):
            refused(await nobody.request(method, path, json=body, headers=said), 403)
    for said in shapes(writes):
        assert (await nobody.get(f"{DIST_TAG}", headers=said)).status_code in (200, 404)
        gone = await nobody.delete(f"{PAD}/-rev/{document['_rev']}", headers=said)
        refused(gone, 403)
    assert await world.footprint() == before


async def test_no_other_credential_opens_the_door(world: World, published: Client) -> None:
    """CVE-2026-25119, CVE-2026-26196: queries, cookies and headers of proxies name nobody."""
    nobody, token = world.client(""), world.tokens["writer"]
    for path in (f"{PAD}?token={token}", f"{PAD}?access_token={token}", f"{PAD}?_auth={token}"):
        refused(await nobody.get(path), 401)
    for headers in (
        {"Cookie": f"token={token}; packhouse={token}"},
        {"Remote-User": "admin", "X-Forwarded-User": "admin", "X-Remote-User": "admin"},
        {"Authorization": basic("writer", PASSWORD)},
        {"npm-auth": token, "npm-otp": "123456"},
    ):
        refused(await nobody.get(PAD, headers=headers), 401)
        refused(await nobody.put(PAD, json=publication(), headers=headers), 401)


async def test_a_name_that_begins_like_another_reaches_nothing_of_it(
    world: World, published: Client
) -> None:
    """CVE-2022-29176: pad and its version 1-1.0.0 are not pad-1 and its version 1.0.0."""
    neighbour = publication(
        tarball=SOUND,
        said={"name": "@acme/pad-1"},
    )
    text = json.dumps(neighbour).replace("@acme/pad-1.0.0", "@acme/pad-1-1.0.0")
    other = json.loads(re.sub(r'"@acme/pad"', '"@acme/pad-1"', text))
    refused(await published.put("/npm/@acme%2fpad-1", json=other), 400, "not of @acme/pad-1")
    gone = await published.delete("/npm/@acme/pad/-/pad-1-1.0.0.tgz/-rev/1-x")
    assert gone.status_code == 200  # of what is not there nothing is taken away
    assert (await published.get("/npm/@acme/pad/-/pad-1-1.0.0.tgz")).status_code == 404
    assert (await published.get("/npm/@acme/pad-1/-/pad-1.0.0.tgz")).status_code == 404
    assert (await published.get("/npm/@acme/pad/-/pad-1.0.0.tgz")).status_code == 200


async def test_signs_of_patterns_are_only_signs(world: World, published: Client) -> None:
    """CVE-2026-110697: nothing is found by what databases read as any character."""
    for text in ("p_d", "p%25d", "@acme%2fp_d"):
        found = await published.get(f"/npm/-/v1/search?text={text}")
        assert found.status_code == 400 or found.json()["objects"] == [], text
    for path in ("/npm/@acme/p_d", "/npm/-/package/@acme%2fp_d/dist-tags"):
        refused(await published.get(path), 404)


async def test_what_is_no_longer_open_is_no_longer_served(world: World, published: Client) -> None:
    """CVE-2024-6915, CVE-2026-35172: no document, tag or file of before answers for now."""
    tarball, nobody = "/npm/@acme/pad/-/pad-1.0.0.tgz", world.client("")
    paths = (PAD, "/npm/@acme/pad/1.0.0", tarball, DIST_TAG)
    await world.publish("acme/npm/pad")
    etags = {path: (await nobody.get(path)).headers.get("etag", '"x"') for path in paths}
    await world.publish("acme/npm/pad", visibility=Visibility.PRIVATE)
    for path in paths:
        refused(await nobody.get(path), 401)
        refused(await nobody.get(path, headers={"If-None-Match": etags[path]}), 401)
        refused(await nobody.get(path, headers={"Range": "bytes=0-"}), 401)
        assert (await nobody.head(path)).status_code == 401
