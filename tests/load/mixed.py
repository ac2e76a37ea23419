"""A client that does a little of everything, and never the same thing twice."""

import json
from random import Random
from typing import Any

from tests.load.raw import Connection, with_digest
from tests.registry.client import OCI_MANIFEST, descriptor, digest_of, image_manifest

REPOSITORIES = 2000


async def one_round(connection: Connection, owner: str, rng: Random) -> None:
    """Sign in for a repository, push an image and a referrer, read and list them, delete some."""
    repository = f"{owner}/mixed-{rng.randrange(REPOSITORIES)}"
    signed_in, tag = connection.authorization, f"v{rng.randrange(10**9)}"
    scope = f"repository:{repository}:pull,push,delete"
    answer = json.loads(await _ask(connection, "GET", f"/token?service=packhouse&scope={scope}"))
    connection.authorization = f"Bearer {answer['token']}"
    base, layer = f"/v2/{repository}", rng.randbytes(rng.randrange(100, 20_000))
    begun = await connection.ask("POST", f"{base}/blobs/uploads/")
    assert begun.status == 202, begun
    await _ask(connection, "PUT", with_digest(begun.location, layer), layer)
    image = json.dumps(image_manifest(layer, annotations={"tag": tag})).encode()
    await _ask(connection, "PUT", f"{base}/manifests/{tag}", image)
    fields: dict[str, Any] = {"subject": descriptor(image, OCI_MANIFEST)}
    note = json.dumps(image_manifest(layer, artifactType=f"application/{tag}", **fields)).encode()
    await _ask(connection, "PUT", f"{base}/manifests/{digest_of(note)}", note)
    assert await _ask(connection, "GET", f"{base}/manifests/{tag}") == image
    assert await _ask(connection, "GET", f"{base}/blobs/{digest_of(layer)}") == layer
    assert tag.encode() in await _ask(connection, "GET", f"{base}/tags/list")
    listed = await _ask(connection, "GET", f"{base}/referrers/{digest_of(image)}")
    assert digest_of(note).encode() in listed
    if rng.random() < 0.5:
        await _ask(connection, "DELETE", f"{base}/manifests/{tag}")
    connection.authorization = signed_in


async def _ask(connection: Connection, method: str, target: str, body: bytes = b"") -> bytes:
    answer = await connection.ask(method, target, body, content_type=OCI_MANIFEST)
    read = await connection.read(answer.length)
    assert answer.status in {200, 201, 202}, (method, target, answer, read)
    return read
