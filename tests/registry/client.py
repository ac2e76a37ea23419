"""A small client of the OCI API: what the tests say over and over, once."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
BASE = "http://registry.test"

_RAW_PATH = b"x-raw-path"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def descriptor(data: bytes, media_type: str, /, **fields: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **fields}


def image_manifest(config: bytes, *layers: bytes, **fields: object) -> dict[str, Any]:
    """An OCI image manifest; `fields` are added, and put in the place of its own."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
    } | fields


def index_manifest(*children: "Pushed", **fields: object) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child.descriptor for child in children],
    } | fields


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that was pushed."""

    data: bytes
    media_type: str
    digest: str
    response: httpx.Response

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate header of the Docker token protocol, which clients read with a regex."""

    realm: str
    service: str
    scope: str

    @classmethod
    def of(cls, response: httpx.Response) -> "Challenge":
        values = response.headers.get_list("www-authenticate")
        assert len(values) == 1, values
        pattern = r'Bearer realm="([^"]+)",service="([^"]+)"(?:,scope="([^"]+)")?'
        found = re.fullmatch(pattern, values[0])
        assert found is not None, values[0]
        return cls(found[1], found[2], found[3] or "")


class Client:
    """Somebody at the door: an application or a URL, and an Authorization header."""

    def __init__(self, app: ASGIApp | None, authorization: str = "", url: str = BASE) -> None:
        self._app = app
        self._url = url
        self.authorization = authorization
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(_RawPaths(app)) if app else None,
            base_url=url,
            headers={"Authorization": authorization} if authorization else {},
            timeout=60,
        )
        self.get, self.head, self.delete = self.http.get, self.http.head, self.http.delete
        self.put, self.post, self.patch = self.http.put, self.http.post, self.http.patch
        self.request = self.http.request

    def with_authorization(self, authorization: str) -> "Client":
        return Client(self._app, authorization, self._url)

    async def token(self, *scopes: str) -> str:
        """Sign in at /token for a bearer with these scopes."""
        response = await self.get("/token", params={"service": "packhouse", "scope": list(scopes)})
        assert response.status_code == 200, response.text
        text: str = response.json()["token"]
        return text

    async def bearer(self, *scopes: str) -> "Client":
        """The same person with a bearer token of these scopes."""
        return self.with_authorization(f"Bearer {await self.token(*scopes)}")

    async def raw(self, method: str, target: str, **options: Any) -> httpx.Response:
        """Send a path exactly as it is written, which httpx would mend."""
        given = [
            (name.encode(), value.encode()) for name, value in options.pop("headers", {}).items()
        ]
        headers = [*given, (_RAW_PATH, target.encode("latin-1"))]
        return await self.request(method, "/", headers=headers, **options)

    async def cut(self, method: str, path: str, *chunks: bytes, **headers: str) -> None:
        """Send a request whose connection breaks after `chunks`; nobody hears the answer."""
        assert self._app is not None
        request = self.http.build_request(method, path, headers=headers)
        await self._app(_scope(request), _broken(chunks), _unheard)

    async def push_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        digest = digest_of(data, algorithm)
        response = await self.post(
            f"/v2/{repository}/blobs/uploads/", params={"digest": digest}, content=data
        )
        assert response.status_code == 201, response.text
        return digest

    async def start(self, repository: str, **params: str) -> str:
        """Begin an upload and return its location."""
        response = await self.post(f"/v2/{repository}/blobs/uploads/", params=params)
        assert response.status_code == 202, response.text
        location: str = response.headers["location"]
        return location

    async def put_manifest(
        self,
        repository: str,
        reference: str,
        document: Mapping[str, Any] | bytes,
        media_type: str = "",
        tags: Iterable[str] = (),
    ) -> httpx.Response:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        if not media_type and isinstance(document, Mapping):
            media_type = document.get("mediaType", OCI_MANIFEST)
        return await self.put(
            f"/v2/{repository}/manifests/{reference}",
            params={"tag": list(tags)},
            content=data,
            headers={"Content-Type": media_type} if media_type else {},
        )

    async def push_manifest(
        self,
        repository: str,
        reference: str,
        document: Mapping[str, Any] | bytes,
        media_type: str = "",
        tags: Iterable[str] = (),
    ) -> Pushed:
        """Push a manifest; an empty reference pushes it by its digest."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        if not media_type and isinstance(document, Mapping):
            media_type = document.get("mediaType", OCI_MANIFEST)
        where = reference or digest_of(data)
        response = await self.put_manifest(repository, where, data, media_type, tags)
        assert response.status_code == 201, response.text
        return Pushed(data, media_type, response.headers["docker-content-digest"], response)

    async def push_image(
        self, repository: str, reference: str, *layers: bytes, **fields: object
    ) -> Pushed:
        """Push blobs and manifest of an image; without layers it gets one of its own."""
        layers = layers or (f"layer of {repository}".encode(),)
        config = f'{{"image": "{repository}:{reference}"}}'.encode()
        for data in (config, *layers):
            await self.push_blob(repository, data)
        return await self.push_manifest(
            repository, reference, image_manifest(config, *layers, **fields)
        )

    async def push_artifact(
        self, repository: str, reference: str, artifact_type: str, **fields: object
    ) -> Pushed:
        """Push an artifact without layers: an empty config, and whatever `fields` say."""
        await self.push_blob(repository, b"{}")
        document = image_manifest(b"{}", artifactType=artifact_type, **fields)
        document["config"] = descriptor(b"{}", OCI_EMPTY)
        return await self.push_manifest(repository, reference, document)

    async def pages(self, path: str) -> AsyncIterator[httpx.Response]:
        """Yield a list's pages, following Link."""
        while path:
            response = await self.get(path)
            assert response.status_code == 200, response.text
            yield response
            path = response.links.get("next", {}).get("url", "")


def refused(response: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """Check an error's status, OCI code and message; return the error."""
    assert response.status_code == status, response.text
    (error,) = response.json()["errors"]
    assert set(error) == {"code", "message", "detail"}
    assert error["code"] == code
    assert len(error["message"]) > 15
    assert error["message"].isprintable()
    for word in words:
        assert word in error["message"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    checked: dict[str, Any] = error
    return checked


class _RawPaths:
    """Puts a path that a header spells out in the place of the one httpx made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if _RAW_PATH in headers:
            scope["raw_path"] = headers.pop(_RAW_PATH)
            scope["path"] = unquote(scope["raw_path"].decode("latin-1"))
            scope["headers"] = list(headers.items())
        await self._app(scope, receive, send)


def _scope(request: httpx.Request) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "headers": [
            *((name.lower(), value) for name, value in request.headers.raw),
            (b"transfer-encoding", b"chunked"),
        ],
    }


def _broken(chunks: Iterable[bytes]) -> Receive:
    messages = iter(chunks)

    async def receive() -> Message:
        chunk = next(messages, None)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": True}

    return receive


async def _unheard(message: Message) -> None:
    del message
