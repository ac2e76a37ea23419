"""The endpoints of the distribution specification: read the call, ask one service, answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from registry.blob_response import BlobResponse
from registry.blobs import Blobs
from registry.catalog import Catalog
from registry.deletion import Deletion
from registry.errors import ManifestUnknown
from registry.manifest_store import ManifestStore
from registry.manifests import OCI_INDEX
from registry.negotiation import accepts, etag_matches
from registry.oci.call import Call, content_headers, next_link
from registry.open_files import OpenFiles
from registry.ranges import parse_content_range
from registry.stored_response import StoredResponse
from registry.uploads import Uploads
from storage.blobs import BlobStore
from storage.digest import ALGORITHMS, Digest
from storage.errors import DigestInvalid, Invalid
from storage.names import RepositoryName, Tag, parse_reference, parse_tag

MAX_TAG_PARAMETERS = 100
CHUNK_MIN_LENGTH = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Handlers:
    """One method an endpoint and HTTP method; `registry.oci.surface` holds the table."""

    blobs: Blobs
    uploads: Uploads
    manifests: ManifestStore
    deletion: Deletion
    catalog: Catalog
    store: BlobStore
    files: OpenFiles
    manifest_bytes: int

    async def get_blob(self, call: Call) -> Response:
        """end-2: GET and HEAD a blob, whole or one range."""
        digest = Digest.parse(call.reference)
        find = self.blobs.find if call.head else self.blobs.locate
        blob = await find(call.who, call.repository, digest)
        headers = content_headers("application/octet-stream", digest, public=False)
        return await BlobResponse.of(
            self.files, self.store, blob, call.headers, headers, head=call.head
        )

    async def delete_blob(self, call: Call) -> Response:
        """end-10."""
        await self.blobs.delete(call.who, call.repository, Digest.parse(call.reference))
        return Response(status_code=202)

    async def start_upload(self, call: Call) -> Response:
        """end-4a, 4b, 4c and 11: begin an upload, push a whole blob, or mount one."""
        mount = call.query.get("mount")
        if mount is not None:
            digest, source = Digest.parse(mount), call.query.get("from")
            if await self.uploads.mount(call.who, call.repository, digest, source):
                return _blob_created(call, digest)
        elif "digest" in call.query:
            digest = Digest.parse(call.text("digest"))
            await self.uploads.put(call.who, call.repository, digest, call.body)
            return _blob_created(call, digest)
        algorithm = call.text("digest-algorithm", "sha256")
        if algorithm not in ALGORITHMS:
            raise DigestInvalid(
                f"digest-algorithm {algorithm[:20]!r} is not supported: use "
                + " or ".join(ALGORITHMS)
            )
        await self.uploads.require(call.who, call.repository)
        upload = await self.uploads.begin(call.who, call.repository, algorithm)
        headers = _upload_headers(call, upload.text, 0)
        headers["OCI-Chunk-Min-Length"] = str(CHUNK_MIN_LENGTH)
        return Response(status_code=202, headers=headers)

    async def append_upload(self, call: Call) -> Response:
        """end-5: one chunk, or the whole blob in one streamed PATCH."""
        size = await self.uploads.append(
            call.who, call.repository, call.reference, call.body, _content_range(call)
        )
        return Response(status_code=202, headers=_upload_headers(call, call.reference, size))

    async def finish_upload(self, call: Call) -> Response:
        """end-6: close an upload, with or without a last chunk."""
        if "digest" not in call.query:
            raise DigestInvalid("close the upload with its digest: PUT ...?digest=sha256:...")
        digest = Digest.parse(call.text("digest"))
        await self.uploads.finish(
            call.who, call.repository, call.reference, digest, call.body, _content_range(call)
        )
        return _blob_created(call, digest)

    async def get_upload(self, call: Call) -> Response:
        """end-13: where an upload stands."""
        size = await self.uploads.status(call.who, call.repository, call.reference)
        return Response(status_code=204, headers=_upload_headers(call, call.reference, size))

    async def cancel_upload(self, call: Call) -> Response:
        """end-14."""
        await self.uploads.cancel(call.who, call.repository, call.reference)
        return Response(status_code=204)

    async def get_manifest(self, call: Call) -> Response:
        """end-3: GET and HEAD a manifest by tag or digest, byte for byte as it was pushed."""
        reference = parse_reference(call.reference)
        found = await self.manifests.find(call.who, call.repository, reference)
        if not accepts(", ".join(call.headers.getlist("accept")), found.media_type):
            _require_acceptable(call, found.media_type)
        by_digest = isinstance(reference, Digest)
        headers = content_headers(found.media_type, found.digest, public=found.public and by_digest)
        if etag_matches(call.headers.get("if-none-match"), headers["ETag"]):
            return StoredResponse(status_code=304, headers=headers)
        headers = {**headers, "Content-Length": str(len(found.data))}
        return StoredResponse(found.data, headers=headers)

    async def put_manifest(self, call: Call) -> Response:
        """end-7a and 7b: push by tag, or by digest with any number of `tag` parameters."""
        reference = parse_reference(call.reference)
        await self.manifests.require(call.who, call.repository)
        digest = reference if isinstance(reference, Digest) else None
        tags = [] if isinstance(reference, Digest) else [reference]
        extra = _tag_parameters(call)
        data = await call.body.read(self.manifest_bytes)
        pushed = await self.manifests.put(
            call.who,
            call.repository,
            digest,
            [*tags, *extra],
            data,
            call.headers.get("content-type"),
        )
        response = Response(status_code=201)
        response.headers["Location"] = f"/v2/{call.repository}/manifests/{pushed.digest}"
        response.headers["Docker-Content-Digest"] = pushed.digest
        if pushed.subject is not None:
            response.headers["OCI-Subject"] = pushed.subject
        if pushed.link is not None:
            response.headers["Warning"] = f'299 - "{pushed.link.notice}"'
        for tag in extra:
            response.headers.append("OCI-Tag", tag)
        return response

    async def delete_manifest(self, call: Call) -> Response:
        """end-9: a tag alone, or a manifest with everything that names it."""
        reference = parse_reference(call.reference)
        if isinstance(reference, Digest):
            await self.deletion.delete_manifest(call.who, call.repository, reference)
        else:
            await self.deletion.delete_tag(call.who, call.repository, reference)
        return Response(status_code=202)

    async def list_tags(self, call: Call) -> Response:
        """end-8a and 8b: tags in ASCII order, in pages."""
        limit = call.number("n")
        page = await self.catalog.tags(call.who, call.repository, limit, call.text("last"))
        headers = {}
        if page.last is not None:
            path = f"/v2/{call.repository}/tags/list"
            headers = next_link(path, n=len(page.items), last=page.last)
        body = _tag_list(call.repository, page.items)
        return Response(body, media_type="application/json", headers=headers)

    async def list_referrers(self, call: Call) -> Response:
        """end-12a and 12b: an index of what refers to a digest."""
        subject = Digest.parse(call.reference)
        artifact_type = call.text("artifactType")
        after = call.number("last") or 0
        page = await self.catalog.referrers(
            call.who, call.repository, subject, artifact_type, after
        )
        headers = {}
        if page.last is not None:
            path = f"/v2/{call.repository}/referrers/{subject}"
            query = {"artifactType": artifact_type} if artifact_type else {}
            headers = next_link(path, **query, last=page.last)
        if artifact_type:
            headers["OCI-Filters-Applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(page.items)}
        return JSONResponse(index, headers=headers, media_type=OCI_INDEX)


def _content_range(call: Call) -> tuple[int, int] | None:
    header = call.headers.get("content-range")
    return None if header is None else parse_content_range(header)


def _require_acceptable(call: Call, media_type: str) -> None:
    """Answer a client that named other types, unless it refused this one by name.

    Most clients that leave a type out of Accept can read it, and a 404 for an image that is there
    has sent many of their users looking for the wrong fault.
    """
    for element in ", ".join(call.headers.getlist("accept")).split(","):
        name, _, parameters = element.partition(";")
        refused = parameters.replace(" ", "").lower() in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        if refused and name.strip().lower() == media_type:
            raise ManifestUnknown(f"this is a {media_type}, which the Accept header refuses")


def _tag_parameters(call: Call) -> list[Tag]:
    values = call.query.getlist("tag")
    if len(values) > MAX_TAG_PARAMETERS:
        raise Invalid(f"push at most {MAX_TAG_PARAMETERS} tags at once")
    return [parse_tag(value) for value in values]


def _tag_list(repository: RepositoryName, tags: Sequence[str]) -> str:
    """Render up to 10,000 tags: their grammar has nothing that JSON escapes."""
    names = ",".join([f'"{tag}"' for tag in tags])
    return f'{{"name":"{repository}","tags":[{names}]}}'


def _upload_headers(call: Call, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{call.repository}/blobs/uploads/{upload}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }


def _blob_created(call: Call, digest: Digest) -> Response:
    return Response(
        status_code=201,
        headers={
            "Location": f"/v2/{call.repository}/blobs/{digest}",
            "Docker-Content-Digest": digest,
        },
    )
