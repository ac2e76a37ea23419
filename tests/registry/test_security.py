"""Faults that other registries shipped, tried here; ids are those of their advisories."""

import base64
import itertools
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from auth.signing_keys import SigningKeys
from registry.app import build_surface, wire
from storage.clock import SECOND
from tests.registry.client import OCI_MANIFEST, Challenge, Client, digest_of, refused
from tests.registry.world import World

MIB = 1024 * 1024
SECRET = b"somebody's private layer"
DIGEST = digest_of(SECRET)


# Bodies and numbers without bound


async def endless(sent: list[int]) -> AsyncIterator[bytes]:
    """A body that would never end; it notes how much of it was taken."""
    for _ in range(1024):
        sent.append(MIB)
        yield b" " * MIB


async def test_a_manifest_without_end_is_cut_at_the_limit(world: World, writer: Client) -> None:
    """CVE-2017-11468: distribution read manifests of any size into memory."""
    before, sent = await world.footprint(), list[int]()
    response = await writer.put(
        "/v2/acme/app/manifests/v1", content=endless(sent), headers={"Content-Type": OCI_MANIFEST}
    )
    refused(response, 413, "SIZE_INVALID")
    assert sum(sent) <= 5 * MIB
    announced = await writer.put("/v2/acme/app/manifests/v1", content=b" " * (4 * MIB + 1))
    refused(announced, 413, "SIZE_INVALID")
    assert await world.footprint() == before


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/acme/app/tags/list"])
async def test_page_sizes_are_clamped(world: World, path: str) -> None:
    """CVE-2023-2253: distribution allocated n entries."""
    await world.client().push_image("acme/app", "v1")
    admin = world.client("admin")
    for number in (2**31, 2**31 - 1, 2**63, 2**64, 10**100):
        response = await admin.get(path, params={"n": number})
        assert response.status_code == 200
        assert len(response.content) < 200
    for text in ("-1", "abc", "0x7fffffff", "NaN", "1e9", "\u0661", "1\0"):
        response = await admin.get(path, params={"n": text})
        refused(response, 400, "UNSUPPORTED")


async def test_json_deeper_than_any_stack_is_refused(world: World, writer: Client) -> None:
    before = await world.footprint()
    for opening in (b"[", b'{"a":', b'{"config":'):
        data = opening * (MIB // len(opening))
        response = await writer.put_manifest("acme/app", "v1", data, OCI_MANIFEST)
        refused(response, 400, "MANIFEST_INVALID", "is not JSON")
    assert await world.footprint() == before


async def test_headers_and_parameters_without_bound(writer: Client) -> None:
    long = "x" * 50_000
    for response in (
        await writer.get("/v2/acme/app/manifests/v1", headers={"Accept": long}),
        await writer.get("/v2/acme/app/manifests/v1", headers={"Accept": "*/*;q=" * 5000}),
        await writer.get(f"/v2/acme/app/manifests/{long}"),
        await writer.get(f"/v2/{'a/' * 20_000}tags/list"),
        await writer.get(f"/v2/acme/app/blobs/sha256:{long}"),
        await writer.get("/v2/acme/app/tags/list", params={"n": "9" * 50_000}),
        await writer.patch(await writer.start("acme/app"), headers={"Content-Range": long}),
        await writer.get(f"/v2/acme/app/blobs/uploads/{long}"),
    ):
        assert response.status_code in (200, 400, 404)
        assert len(response.content) < 2000


# Bearer tokens that we did not sign


def encoded(part: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Forger:
    """Knows everything that is public: a good token, its claims, our key id and public key."""

    def __init__(self, good: str, kid: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.claims: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})
        self.good, self.kid, self.public = good, kid, pem(key)
        self.own = ec.generate_private_key(ec.SECP256R1())

    def signed(self, **header: object) -> str:
        return jwt.encode(self.claims, self.own, "ES256", headers=header)

    def by_hand(self, header: dict[str, Any], signature: bytes = b"") -> str:
        return b".".join((encoded(header), encoded(self.claims), signature)).decode()

    def forgeries(self) -> dict[str, str]:
        """Tokens that a verifier somewhere has accepted."""
        own_jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.own.public_key()))
        header, _, signature = self.good.split(".")
        rs = rsa.generate_private_key(65537, 2048)
        return {
            "own key, our kid": self.signed(kid=self.kid),
            "own key as jwk (CVE-2025-24976)": self.signed(kid=self.kid, jwk=own_jwk),
            "own key as jwk alone": self.signed(jwk=own_jwk),
            "own key behind jku": self.signed(kid=self.kid, jku="https://evil.example/keys"),
            "own key behind x5u": self.signed(kid=self.kid, x5u="https://evil.example/cert"),
            "own key as x5c": self.signed(kid=self.kid, x5c=["MIIB"]),
            "kid of a path": self.signed(kid="../../dev/null"),
            "kid with SQL": self.signed(kid="' or 1=1 --"),
            "kid with NUL": self.signed(kid="a\0b"),
            "no kid": self.signed(),
            "none": self.by_hand({"alg": "none", "kid": self.kid}),
            "None": self.by_hand({"alg": "None", "typ": "JWT", "kid": self.kid}),
            "NONE with our signature": self.by_hand(
                {"alg": "NONE", "kid": self.kid}, signature.encode()
            ),
            "HS256 with our public key": self.hmac("HS256"),
            "HS512 with our public key": self.hmac("HS512"),
            "RS256": jwt.encode(self.claims, rs, "RS256", headers={"kid": self.kid}),
            "no signature": self.by_hand({"alg": "ES256", "kid": self.kid}),
            "zero signature": self.by_hand(
                {"alg": "ES256", "kid": self.kid}, base64.urlsafe_b64encode(bytes(64))
            ),
            "other claims, our signature": f"{header}.{self.altered()}.{signature}",
            "kid that is a number": self.by_hand({"alg": "ES256", "kid": 7}, b"AAAA"),
            "critical header": self.signed(kid=self.kid, crit=["b64"], b64=False),
            "two dots": "..",
            "a list as header": b".".join((b"W10", encoded(self.claims), b"AAAA")).decode(),
        }

    def hmac(self, algorithm: str) -> str:
        """Sign by HMAC with the text of our public key: a library would refuse to help."""
        head = encoded({"alg": algorithm, "kid": self.kid, "typ": "JWT"})
        signer = jwt.algorithms.get_default_algorithms()[algorithm]
        body = head + b"." + encoded(self.claims)
        signature = base64.urlsafe_b64encode(signer.sign(body, self.public)).rstrip(b"=")
        return (body + b"." + signature).decode()

    def altered(self) -> str:
        everything = [{"type": "repository", "name": "acme/app", "actions": ["*"]}]
        return encoded({**self.claims, "access": everything}).decode()


async def test_only_our_own_signature_counts(world: World) -> None:
    await world.client().push_image("acme/app", "v1")
    keys = SigningKeys(world.services.database)
    key = await keys.current("bearer")
    assert isinstance(key.secret, ec.EllipticCurvePrivateKey)
    good = await world.signed_in("writer").token("repository:acme/app:pull")
    forger = Forger(good, key.kid, key.secret)
    for name, text in forger.forgeries().items():
        client = Client(world, f"Bearer {text}")
        for response in (
            await client.get("/v2/"),
            await client.get("/v2/acme/app/manifests/v1"),
            await client.get("/token"),
        ):
            refused(response, 401, "UNAUTHORIZED")
            assert name not in response.text
    assert (await Client(world, f"Bearer {good}").get("/v2/")).status_code == 200


async def test_our_signature_for_another_purpose_does_not_count(world: World) -> None:
    key = await SigningKeys(world.services.database).current("bearer")
    good = await world.signed_in("writer").token()
    claims = jwt.decode(good, options={"verify_signature": False})
    for change in (
        {"aud": "another"},
        {"iss": "another"},
        {"aud": None},
        {"packhouse": None},
        {"access": None},
        {"exp": None},
        {"nbf": world.clock() // SECOND + 10**10},
    ):
        changed = {k: v for k, v in (claims | change).items() if v is not None}
        text = jwt.encode(changed, key.secret, "ES256", headers={"kid": key.kid})
        refused(await Client(world, f"Bearer {text}").get("/v2/"), 401, "UNAUTHORIZED")


# Content of others


@pytest.mark.parametrize("who", ["", "writer", "reader", "bearer"])
async def test_a_blob_is_not_read_by_digest_through_another_repository(
    world: World, who: str
) -> None:
    """CVE-2024-39897: zot read through its cache of digests."""
    await world.client("stranger").push_image("stranger/private", "v1", SECRET)
    await world.client().push_image("acme/app", "v1")
    client = world.client("writer" if who == "bearer" else who)
    if who == "bearer":
        client = await client.bearer("repository:acme/app:pull,push,delete")
    for name in ("acme/app", "acme/new", "stranger/private", "writer/own"):
        path = f"/v2/{name}/blobs/{DIGEST}"
        assert (await client.get(path)).status_code in (401, 404), name
        assert (await client.head(path)).status_code in (401, 404), name
        ranged = await client.get(path, headers={"Range": "bytes=0-1"})
        assert ranged.status_code in (401, 404)
        cached = await client.get(path, headers={"If-None-Match": f'"{DIGEST}"'})
        assert cached.status_code in (401, 404)


async def test_a_manifest_is_not_read_by_digest_through_another_repository(world: World) -> None:
    image = await world.client("stranger").push_image("stranger/private", "v1")
    writer = world.client()
    await writer.push_image("acme/app", "v1")
    response = await writer.get(f"/v2/acme/app/manifests/{image.digest}")
    refused(response, 404, "MANIFEST_UNKNOWN")
    refused(await writer.delete(f"/v2/acme/app/manifests/{image.digest}"), 404, "MANIFEST_UNKNOWN")


async def test_content_that_exists_elsewhere_is_received_like_new(world: World) -> None:
    """No oracle: whoever does not have the bytes learns nothing of their being here."""
    stranger, writer = world.client("stranger"), world.client("writer")
    await stranger.push_blob("stranger/private", SECRET)
    for digest in (DIGEST, digest_of(b"nowhere")):
        location = await writer.start("acme/app")
        response = await writer.put(location, params={"digest": digest}, content=b"guess")
        error = refused(response, 400, "DIGEST_INVALID")
        assert error["message"].count("sha256:") == 2
        post = f"/v2/acme/app/blobs/uploads/?digest={digest}"
        refused(await writer.post(post), 400, "DIGEST_INVALID")
    await writer.push_blob("acme/app", SECRET)
    assert (await writer.get(f"/v2/acme/app/blobs/{DIGEST}")).content == SECRET


async def test_a_manifest_does_not_fetch_a_blob_of_others_into_a_repository(world: World) -> None:
    await world.client("stranger").push_image("stranger/private", "v1", SECRET)
    writer = world.client()
    await writer.push_blob("acme/app", b"config")
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": DIGEST,
        "size": len(SECRET),
    }
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [foreign]}
    await writer.push_manifest("acme/app", "v1", document)
    refused(await writer.get(f"/v2/acme/app/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("how", ["blob", "manifest"])
async def test_what_was_deleted_is_not_read_again(world: World, how: str) -> None:
    """CVE-2026-35172: a cache of descriptors outlived the deletion."""
    writer = world.client()
    if how == "blob":
        await writer.push_blob("acme/app", SECRET)
    else:
        image = await writer.push_image("acme/app", "v1", SECRET)
    path = f"/v2/acme/app/blobs/{DIGEST}"
    async with world.another_worker() as other:
        assert (await writer.get(path)).status_code == 200
        assert (await other.client().get(path)).status_code == 200
        doomed = path if how == "blob" else f"/v2/acme/app/manifests/{image.digest}"
        assert (await writer.delete(doomed)).status_code == 202
        for client in (other.client(), writer, other.client("admin")):
            refused(await client.get(path), 404, "BLOB_UNKNOWN")
            assert (await client.head(path)).status_code == 404
            mount = f"/v2/acme/b/blobs/uploads/?mount={DIGEST}&from=acme/app"
            assert (await client.post(mount)).status_code == 202
    foreign = {"mediaType": "x/y", "digest": DIGEST, "size": len(SECRET)}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [foreign]}
    response = await writer.put_manifest("acme/app", "back", document)
    refused(response, 404, "MANIFEST_BLOB_UNKNOWN", DIGEST)


async def test_wildcards_of_sql_are_letters_here(world: World) -> None:
    """CVE-2026-110697: `_` in a namespace matched other tenants."""
    writer = world.client()
    for name in ("acme/a_b", "acme/axb", "acme/a__b"):
        await writer.push_image(name, "v_1")
    listed = await writer.get("/v2/_catalog", params={"last": "acme/a_"})
    assert listed.json()["repositories"] == ["acme/a__b", "acme/a_b", "acme/axb"]
    for last in ("%", "_", "\\", "'", '"', "acme/%"):
        assert (await writer.get("/v2/_catalog", params={"last": last})).status_code == 200
        tags = await writer.get("/v2/acme/a_b/tags/list", params={"last": last})
        assert tags.status_code == 200
    refused(await writer.get("/v2/acme/a_b/manifests/v%1"), 400, "TAG_INVALID")
    refused(await writer.get("/v2/acme/a_b/manifests/v11"), 404, "MANIFEST_UNKNOWN")


# Text that ends up in headers, paths and logs


BREAKS = ("a\r\nSet-Cookie: x=y", "a\nb", "a\0b", "\x1b[31mred", "a\u2028b", "\x7f")


async def test_control_characters_reach_no_header_and_no_database(
    world: World, writer: Client
) -> None:
    await writer.push_image("acme/app", "v1")
    sha = digest_of(b"x")
    for text in BREAKS:
        requests: list[tuple[str, str, dict[str, str]]] = [
            ("GET", "/v2/_catalog", {"last": text}),
            ("GET", "/v2/acme/app/tags/list", {"last": text}),
            ("GET", f"/v2/acme/app/referrers/{sha}", {"artifactType": text}),
            ("POST", "/v2/acme/app/blobs/uploads/", {"digest": f"{sha}{text}"}),
            ("POST", "/v2/acme/app/blobs/uploads/", {"digest-algorithm": text}),
            ("POST", "/v2/acme/app/blobs/uploads/", {"mount": f"{sha}{text}"}),
            ("POST", "/v2/acme/app/blobs/uploads/", {"mount": sha, "from": text}),
            ("PUT", "/v2/acme/app/manifests/v1", {"tag": text}),
            ("GET", "/token", {"scope": f"repository:{text}:pull", "service": text}),
        ]
        for method, path, params in requests:
            response = await writer.request(method, path, params=params)
            assert response.status_code < 500, (path, text)
            assert "set-cookie" not in response.headers
            for value in response.headers.values():
                assert value.isprintable()
            assert (
                response.status_code < 300 or response.json()["errors"][0]["message"].isprintable()
            )


HOSTS = ("evil.example/x", 'a"b', "a b", "a,b", "a@b", "a\\b", "a#b", "a?b", "[::1", "a" * 300, "")


async def test_a_hostile_host_header_is_refused(world: World, anonymous: Client) -> None:
    """It would become the realm that clients send their password to."""
    for host in HOSTS:
        response = await anonymous.get("/v2/acme/app/manifests/v1", headers={"Host": host})
        refused(response, 400, "UNSUPPORTED", "Host header")
        assert "www-authenticate" not in response.headers


async def test_a_host_header_reaches_its_own_answer_alone(world: World, anonymous: Client) -> None:
    evil = await anonymous.get("/v2/", headers={"Host": "evil.example"})
    assert Challenge.of(evil).realm == "http://evil.example/token"
    assert evil.headers["cache-control"] == "no-store"
    assert Challenge.of(await anonymous.get("/v2/")).realm == "http://registry.test/token"
    for host in ("[::1]:5000", "localhost:5000", "127.0.0.1"):
        response = await anonymous.get("/v2/", headers={"Host": host})
        assert Challenge.of(response).realm == f"http://{host}/token"


async def test_forwarded_headers_are_not_believed(anonymous: Client) -> None:
    headers = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example;proto=https",
        "X-Original-URL": "/v2/acme/app/manifests/v1",
        "X-Rewrite-URL": "/",
        "X-HTTP-Method-Override": "DELETE",
    }
    response = await anonymous.get("/v2/", headers=headers)
    assert Challenge.of(response).realm == "http://registry.test/token"


async def test_a_cookie_or_a_query_is_no_credential(world: World, anonymous: Client) -> None:
    await world.client().push_image("acme/app", "v1")
    token = world.tokens["writer"]
    for params in ({"token": token}, {"access_token": token}, {"account": "writer"}):
        response = await anonymous.get(
            "/v2/acme/app/manifests/v1", params=params, headers={"Cookie": f"token={token}"}
        )
        refused(response, 401, "UNAUTHORIZED")


SEPARATORS = ("/", "//", ";", "%2f", "%2F", "%252f", "\\", "%5c", "/.", "/%2e", "/..", "%00", "\0")


async def test_no_spelling_of_a_path_gets_around_the_door(world: World) -> None:
    """CVE-2026-42018: a trailing slash skipped the check."""
    image = await world.client().push_image("acme/app", "v1", SECRET)
    paths = ("manifests/v1", f"manifests/{image.digest}", f"blobs/{DIGEST}", "tags/list")
    clients = [world.client(""), world.client("stranger"), await world.client("").bearer()]
    for path, separator, client in itertools.product(paths, SEPARATORS, clients):
        for target in (
            f"/v2/acme/app/{path}{separator}",
            f"/v2{separator}acme/app/{path}",
            f"/v2/acme{separator}app/{path}",
            f"/v2/acme/app{separator}{path}",
            f"{separator}v2/acme/app/{path}",
            f"/v2/stranger/x{separator}/../../acme/app/{path}",
        ):
            response = await client.raw("GET", target)
            assert response.status_code in (400, 401, 404), (target, response.text)
            assert SECRET not in response.content


# What goes wrong on our side


class Broken:
    """A store whose disk fails: the error is ours, and no client may see it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("a secret of the disk at /srv/data")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_our_own_failure_shows_a_number_and_no_trace(
    world: World, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    await world.client().push_blob("acme/app", SECRET)
    services = wire(world.config, world.services.database, Broken(), world.clock)
    client = Client(build_surface(services), world.client().authorization)
    path = f"/v2/acme/app/blobs/{DIGEST}"
    if method == "POST":
        path = f"/v2/acme/b/blobs/uploads/?mount={DIGEST}&from=acme/app"
    with caplog.at_level(logging.ERROR):
        response = await client.request(method, path)
    assert response.status_code == 500
    assert "secret of the disk" in caplog.text
    for text in (response.text, str(response.headers)):
        assert "secret" not in text
        assert "Traceback" not in text
    if method != "HEAD":
        (error,) = response.json()["errors"]
        assert error["code"] == "UNKNOWN"
        assert response.headers["x-request-id"] in caplog.text
        assert response.headers["x-request-id"] in error["message"]


async def test_no_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2025-48374: zot wrote secrets to its log."""
    token, wrong = world.tokens["writer"], "phu_" + "x" * 36
    with caplog.at_level(logging.DEBUG):
        await world.client().push_image("acme/app", "v1")
        bearer = await world.signed_in("writer").bearer("repository:acme/app:pull")
        await bearer.get("/v2/acme/app/manifests/v1")
        await Client(world, f"Bearer {wrong}").get("/v2/")
        await Client(world, f"Basic {wrong}").get("/v2/")
    for secret in (token, token[4:], wrong, "correct horse", bearer.authorization[7:]):
        assert secret not in caplog.text
