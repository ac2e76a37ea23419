"""`/v2/`, its challenge, and paths: one plain spelling, and keywords that are names too."""

import itertools

import pytest

from registry.oci import paths
from registry.oci.paths import parse_path
from storage.errors import Invalid, NotFound
from tests.registry.client import OCI_INDEX, Challenge, Client, digest_of, index_manifest, refused
from tests.registry.world import World

KEYWORDS = ("manifests", "blobs", "uploads", "tags", "list", "referrers", "catalog", "v2", "token")
DIGEST = digest_of(b"")


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
async def test_the_base_asks_who_is_there(anonymous: Client, writer: Client, path: str) -> None:
    asked = await anonymous.get(path)
    refused(asked, 401, "UNAUTHORIZED", "sign in")
    assert Challenge.of(asked) == Challenge("http://registry.test/token", "packhouse", "")
    assert asked.headers["cache-control"] == "no-store"
    welcome = await writer.get(path)
    assert (welcome.status_code, welcome.json()) == (200, {})
    for answer in (asked, welcome):
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
        assert answer.headers["vary"] == "Authorization"


async def test_an_anonymous_token_opens_the_base(anonymous: Client) -> None:
    assert (await (await anonymous.bearer()).get("/v2/")).status_code == 200


async def test_homebrew_says_that_it_is_nobody(world: World, anonymous: Client) -> None:
    pushed = await world.client().push_image("acme/app", "v1")
    await world.publish("acme/app")
    brew = anonymous.with_authorization("Bearer QQ==")
    assert (await brew.get("/v2/acme/app/manifests/v1")).content == pushed.data


async def test_the_base_is_only_read(writer: Client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
        response = await writer.request(method, "/v2/")
        refused(response, 405, "UNSUPPORTED")
        assert response.headers["allow"] == "GET, HEAD"


ALLOWED = {
    "manifests/v1": "GET, HEAD, PUT, DELETE",
    f"blobs/{DIGEST}": "GET, HEAD, DELETE",
    "blobs/uploads/": "POST",
    "blobs/uploads/x": "GET, PATCH, PUT, DELETE",
    "tags/list": "GET, HEAD",
    f"referrers/{DIGEST}": "GET, HEAD",
}


async def test_another_method_is_told_what_there_is(writer: Client) -> None:
    for path, allowed in ALLOWED.items():
        response = await writer.request("BREW", f"/v2/acme/app/{path}")
        refused(response, 405, "UNSUPPORTED", allowed)
        assert response.headers["allow"] == allowed


NO_ENDPOINTS = (
    *("/v2/x", "/v2/acme/app", "/v2/acme/app/", "/v2/acme/app/tags", "/v2/acme/app/tags/lists"),
    *("/v2/acme/app/tags/list/", "/v2/acme/app/manifests", "/v2/acme/app/manifests/"),
    *("/v2/acme/app/manifests/v1/", "/v2/acme/app/blobs/", f"/v2/acme/app/blobs/{DIGEST}/"),
    *("/v2/acme/app/blobs/uploads/x/", "/v2/_catalog/", "/v2/_catalog/x", "/v2/acme/_catalog"),
    *("/v2/acme/app/MANIFESTS/v1", "/v2/acme/app/Tags/list", "/v2/acme/app/referrers/"),
)


async def test_what_is_no_endpoint_is_not_found(writer: Client) -> None:
    for path in NO_ENDPOINTS:
        response = await writer.raw("GET", path)
        assert response.status_code in (400, 404, 405), (path, response.text)
        code = response.json()["errors"][0]["code"]
        assert code in ("NAME_UNKNOWN", "NAME_INVALID", "UNSUPPORTED"), path


async def test_only_v2_is_v2(writer: Client) -> None:
    for path in ("/V2/", "/v20/", "/v2x", "/v1/", "//v2/", "/%76%32/"):
        assert (await writer.raw("GET", path)).status_code in (400, 404), path


def names() -> list[str]:
    """Every keyword as owner and as one component and as two in a row, before each endpoint."""
    singles = [f"{first}/{second}" for first, second in itertools.product(KEYWORDS, KEYWORDS)]
    deeper = [f"acme/{name}" for name in singles] + [f"acme/{keyword}" for keyword in KEYWORDS]
    return singles + deeper


def test_a_path_is_read_from_its_end() -> None:
    endpoints = {
        f"manifests/{DIGEST}": (paths.MANIFEST, DIGEST),
        **{f"manifests/{keyword}": (paths.MANIFEST, keyword) for keyword in KEYWORDS},
        f"blobs/{DIGEST}": (paths.BLOB, DIGEST),
        "blobs/uploads/": (paths.UPLOADS, ""),
        "blobs/uploads": (paths.UPLOADS, ""),
        **{f"blobs/uploads/{keyword}": (paths.UPLOAD, keyword) for keyword in KEYWORDS},
        "tags/list": (paths.TAGS, ""),
        f"referrers/{DIGEST}": (paths.REFERRERS, DIGEST),
    }
    for name, (path, (kind, reference)) in itertools.product(names(), endpoints.items()):
        found = parse_path(f"/v2/{name}/{path}".encode())
        assert (found.kind, found.repository, found.reference) == (kind, name, reference)


async def test_keywords_are_names_of_working_repositories(writer: Client) -> None:
    components = ["/".join(pair) for pair in itertools.pairwise([*KEYWORDS, KEYWORDS[0]])]
    for name in (f"acme/{part}" for part in [*KEYWORDS, *components]):
        for tag in ("list", "uploads", "manifests"):
            image = await writer.push_image(name, tag)
            index = await writer.push_manifest(name, "tags", index_manifest(image))
            for reference, pushed in ((tag, image), (image.digest, image), ("tags", index)):
                response = await writer.get(f"/v2/{name}/manifests/{reference}")
                assert response.content == pushed.data
        layer = f"layer of {name}".encode()
        blob = await writer.get(f"/v2/{name}/blobs/{digest_of(layer)}")
        assert blob.content == layer
        tags = await writer.get(f"/v2/{name}/tags/list")
        assert tags.json() == {"name": name, "tags": ["list", "manifests", "tags", "uploads"]}
        referrers = await writer.get(f"/v2/{name}/referrers/{DIGEST}")
        assert referrers.headers["content-type"] == OCI_INDEX
        location = await writer.start(name)
        assert (await writer.get(location)).status_code == 204


AMBIGUOUS = (
    *("/v2//acme/app/manifests/v1", "/v2/acme//app/manifests/v1", "/v2/acme/app/manifests//v1"),
    *("/v2/acme/./app/manifests/v1", "/v2/acme/../acme/app/manifests/v1", "/v2/../v2/"),
    *("/v2/acme/app/manifests/..", "/v2/acme/%2e%2e/acme/app/manifests/v1", "/v2/%2E/acme"),
    *("/v2/acme/app/blobs/uploads/%2e%2e/manifests/v1", "/v2/acme/app/manifests/.%2e"),
    *("/v2/acme;x/app/manifests/v1", "/v2/acme/app;/manifests/v1", "/v2/acme/app/manifests;/v1"),
    *("/v2/acme%3bx/app/manifests/v1", "/v2/acme/app/manifests/v1;a=b", "/;/v2/"),
    *("/v2/acme\\app/manifests/v1", "/v2/acme%5capp/manifests/v1", "/v2/..\\v2/"),
    *("/v2/acme%2fapp/manifests/v1", "/v2/acme/app%2Fmanifests/v1", "/v2/acme/app/tags%2flist"),
    *("/v2/acme%252fapp/manifests/v1", "/v2/acme/%252e%252e/app/manifests/v1", "/v2/%25"),
    *("/v2/acme/app/manifests/v1%00", "/v2/acme/app\0/manifests/v1", "/v2/%00/x/tags/list"),
    *("/v2/acme/app/manifests/v1%0d%0aSet-Cookie:%20a=b", "/v2/acme/a%20b/manifests/v1"),
    *("/v2/acme/%c3%a9/manifests/v1", "/v2/acme/\u00e9/manifests/v1", "/v2/acme/%ff/tags/list"),
    *("/v2/acme/%/manifests/v1", "/v2/acme/%zz/manifests/v1", "/v2/acme/%u0041/manifests/v1"),
)


async def test_a_path_has_one_spelling(writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    for path, method in itertools.product(AMBIGUOUS, ("GET", "HEAD", "PUT", "DELETE")):
        response = await writer.raw(method, path)
        assert response.status_code in (400, 404), (method, path, response.text)
        if method != "HEAD":
            assert "\r" not in response.text, path
            assert len(response.json()["errors"][0]["message"]) > 15, path


BAD_NAMES = (
    ("Acme/app", "use lower case"),
    ("acme/App", "use lower case"),
    ("acme/app_", "letters and digits"),
    ("acme/a__.b", "letters and digits"),
    ("acme/-app", "letters and digits"),
    ("acme/a...b", "letters and digits"),
    ("ac.me/app", "single '-'"),
    ("ac_me/app", "single '-'"),
    ("a" * 40 + "/app", "at most 39"),
    ("acme/" + "a" * 251, "at most 255"),
    ("acme/a~b", "letters and digits"),
    ("acme/a:b", "letters and digits"),
    ("acme/_catalog", "letters and digits"),
    ("alpine", "try HOST/<you>/alpine"),
)


async def test_a_name_outside_the_grammar_is_refused_in_words(writer: Client) -> None:
    for name, words in BAD_NAMES:
        path = f"/v2/{name}/manifests/v1"
        refused(await writer.get(path), 400, "NAME_INVALID", words)
        # docker and podman go on retrying after NAME_INVALID, and end after this.
        refused(await writer.put(path, content=b"{}"), 400, "DENIED", words)
        assert (await writer.head(path)).status_code == 404, name


async def test_the_longest_names_work(writer: Client) -> None:
    name = "acme/" + "/".join(["a" * 82] * 3)
    assert len(name) == 253
    for repository in (name, name + "ab", "acme/" + "x" * 250):
        pushed = await writer.push_image(repository, "t" * 128)
        found = await writer.get(f"/v2/{repository}/manifests/{'t' * 128}")
        assert found.content == pushed.data
    refused(await writer.get(f"/v2/{name}/manifests/{'t' * 129}"), 400, "TAG_INVALID", "128")


async def test_names_kept_for_formats_are_refused(writer: Client) -> None:
    for name in ("acme/cargo/pad", "acme/maven/a/b", "acme/debian/stable"):
        response = await writer.post(f"/v2/{name}/blobs/uploads/")
        refused(response, 403, "DENIED", "kept for", "packages")
        refused(await writer.put_manifest(name, "v1", b"{}"), 403, "DENIED", "kept for")
    await writer.push_image("acme/debian", "v1")
    await writer.push_image("acme/x/npm", "v1")


@pytest.mark.parametrize(
    "raw", [b"/v2/acme/%2f/tags/list", b"/v2/acme/a%00/tags/list", b"/v2/\xff"]
)
def test_segments_are_decoded_once(raw: bytes) -> None:
    with pytest.raises((Invalid, NotFound)):
        parse_path(raw)


async def test_the_sites_paths_have_one_spelling_too(world: World) -> None:
    """Proxies and routers disagree about these, and each disagreement is a way around a check."""
    client = world.signed_in("writer")
    for path in (
        *("//token", "/token//", "/./token", "/x/../token", "/x/%2e%2e/token", "/token/%2E"),
        *("/token;x=y", "/;/token", "/token%3b", "/\\token", "/x%5c..%5ctoken", "/token%00"),
        *("/x%2f..%2ftoken", "/%2e%2e%2ftoken", "/%252e%252e/token", "//v2/", "/x/..;/v2/"),
    ):
        response = await client.raw("GET", path)
        refused(response, 400, "UNSUPPORTED", "the path holds")
