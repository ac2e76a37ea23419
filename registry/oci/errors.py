"""Errors in the OCI dialect: {"errors": [{"code", "message", "detail"}]}.

Reading list: OCI distribution-spec, "Error Codes"; distribution's errcode register for the codes
the specification leaves open.
"""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from auth.errors import NameUnknown
from registry.errors import (
    BlobUnknown,
    ContentMissing,
    ManifestInvalid,
    ManifestUnknown,
    OutOfOrder,
    SizeInvalid,
    TransferCut,
    UploadInvalid,
    UploadUnknown,
)
from registry.requests import Exchange
from storage.errors import (
    BlobMissing,
    Conflict,
    Denied,
    DigestInvalid,
    NameInvalid,
    NoSpace,
    NotAllowed,
    NotFound,
    PackhouseError,
    RangeInvalid,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from storage.names import TagInvalid

CODES: dict[type[PackhouseError], str] = {
    NameInvalid: "NAME_INVALID",
    TagInvalid: "TAG_INVALID",
    DigestInvalid: "DIGEST_INVALID",
    ManifestInvalid: "MANIFEST_INVALID",
    SizeInvalid: "SIZE_INVALID",
    UploadInvalid: "BLOB_UPLOAD_INVALID",
    TransferCut: "BLOB_UPLOAD_INVALID",
    Unauthenticated: "UNAUTHORIZED",
    Denied: "DENIED",
    NameUnknown: "NAME_UNKNOWN",
    BlobUnknown: "BLOB_UNKNOWN",
    BlobMissing: "BLOB_UNKNOWN",
    ManifestUnknown: "MANIFEST_UNKNOWN",
    UploadUnknown: "BLOB_UPLOAD_UNKNOWN",
    ContentMissing: "MANIFEST_BLOB_UNKNOWN",
    NotFound: "NAME_UNKNOWN",
    NotAllowed: "UNSUPPORTED",
    Conflict: "DENIED",
    TooLarge: "SIZE_INVALID",
    OutOfOrder: "BLOB_UPLOAD_INVALID",
    RangeInvalid: "RANGE_INVALID",
    TooManyRequests: "TOOMANYREQUESTS",
    Unavailable: "UNAVAILABLE",
    NoSpace: "UNAVAILABLE",
    PackhouseError: "UNSUPPORTED",
}


def code_of(error: PackhouseError, method: str) -> str:
    """Return the code of the nearest class that has one.

    A push to a name that cannot be is DENIED: docker, podman and buildah go on retrying each layer
    after NAME_INVALID (goharbor/harbor#20544), podman and buildah after UNSUPPORTED too.
    """
    if isinstance(error, NameInvalid) and method in ("POST", "PUT", "PATCH"):
        return "DENIED"
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def render_error(error: PackhouseError, headers: Mapping[str, str], exchange: Exchange) -> Response:
    """Render an error. HEAD knows 404 and 401 only: containerd ends a push on anything else."""
    head = exchange.method == "HEAD"
    status = 404 if head and error.status in (400, 403, 405) else error.status
    code = code_of(error, exchange.method)
    entry = {"code": code, "message": error.message, "detail": error.detail}
    return JSONResponse(
        {"errors": [entry], "request_id": exchange.id},
        status_code=status,
        headers={**error.headers, **headers},
    )


def render_failure(exchange: Exchange) -> Response:
    """Render what went wrong on our side."""
    entry = {"code": "UNKNOWN", "message": exchange.failure, "detail": None}
    return JSONResponse({"errors": [entry], "request_id": exchange.id}, status_code=500)
