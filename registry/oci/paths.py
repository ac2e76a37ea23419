"""Paths under /v2/, read from the right: every keyword is a legal component of a name too.

The raw path is split at "/" and each segment decoded once, so an encoded slash never separates.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from storage.errors import Invalid, NotFound

BASE, CATALOG, MANIFEST, BLOB, UPLOADS, UPLOAD, TAGS, REFERRERS = (
    "base",
    "catalog",
    "manifest",
    "blob",
    "uploads",
    "upload",
    "tags",
    "referrers",
)
TEMPLATES = {
    BASE: "/v2/",
    CATALOG: "/v2/_catalog",
    MANIFEST: "/v2/{name}/manifests/{reference}",
    BLOB: "/v2/{name}/blobs/{digest}",
    UPLOADS: "/v2/{name}/blobs/uploads/",
    UPLOAD: "/v2/{name}/blobs/uploads/{upload}",
    TAGS: "/v2/{name}/tags/list",
    REFERRERS: "/v2/{name}/referrers/{digest}",
}
"""What metrics call each kind of path: names never become labels."""

_BY_KEYWORD = {"manifests": MANIFEST, "blobs": BLOB, "referrers": REFERRERS}


@dataclass(frozen=True, slots=True)
class OciPath:
    """What a path names: the kind of thing, the repository's text, and the last segment."""

    kind: str
    repository: str = ""
    reference: str = ""


_REMEMBERED = 4000
_SHORT = 512


def parse_path(raw: bytes) -> OciPath:
    """Read a raw path that begins with /v2. Raises NotFound, Invalid."""
    # The same few are asked for again and again; a long one is not worth the memory.
    return _parse(raw) if len(raw) < _SHORT else _parse.__wrapped__(raw)


@lru_cache(_REMEMBERED)
def _parse(raw: bytes) -> OciPath:
    if raw in (b"/v2", b"/v2/"):
        return OciPath(BASE)
    if not raw.startswith(b"/v2/"):
        raise NotFound("there is nothing here: the API begins at /v2/")
    segments = [_decode(segment) for segment in raw[4:].split(b"/")]
    if segments == ["_catalog"]:
        return OciPath(CATALOG)
    found = _parse_segments(segments)
    if found is None:
        raise NotFound("there is no such endpoint: see the OCI distribution specification")
    return found


def _parse_segments(segments: list[str]) -> OciPath | None:
    match segments:
        case [*name, "blobs", "uploads", ""] | [*name, "blobs", "uploads"]:
            return OciPath(UPLOADS, "/".join(name))
        case [*name, "blobs", "uploads", upload]:
            return OciPath(UPLOAD, "/".join(name), upload)
        case [*name, "tags", "list"]:
            return OciPath(TAGS, "/".join(name))
        case [*name, keyword, reference] if keyword in _BY_KEYWORD and reference:
            return OciPath(_BY_KEYWORD[keyword], "/".join(name), reference)
    return None


def _decode(segment: bytes) -> str:
    try:
        text = unquote_to_bytes(segment).decode("ascii")
    except UnicodeDecodeError as error:
        raise Invalid("the path holds characters outside ASCII") from error
    if "/" in text or "\0" in text:
        raise Invalid("the path holds an encoded '/' or NUL")
    return text
