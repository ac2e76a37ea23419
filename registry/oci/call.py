"""One request to the OCI surface, and the headers all of its answers share."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from auth.principals import Principal
from registry.body import Body
from registry.queries import query_number, query_text
from storage.errors import Invalid
from storage.names import RepositoryName

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REMEMBERED = 1000
"""Blobs and manifests."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request after its path was read and its caller found."""

    method: str
    repository: RepositoryName
    reference: str
    headers: Headers
    query: QueryParams
    who: Principal
    body: Body
    client: str = ""

    @property
    def head(self) -> bool:
        """Whether no body is wanted."""
        return self.method == "HEAD"

    def text(self, name: str, default: str = "") -> str:
        """Return a query parameter. Raises Invalid for control characters."""
        return query_text(self.query, name, default)

    def number(self, name: str) -> int | None:
        """Return a query parameter as a whole number, clamped. Raises Invalid."""
        return query_number(self.query, name)


Handler = Callable[[Call], Awaitable[Response]]
"""Answers the calls of one endpoint."""


def base_url(public_url: str, scheme: str, host: str) -> str:
    """Return the base of this server's URLs: configured, else this request's own host."""
    if public_url:
        return public_url
    if not _HOST.fullmatch(host):
        raise Invalid("the Host header is not a host name")
    return f"{scheme}://{host}"


@lru_cache(_REMEMBERED)
def content_headers(media_type: str, digest: str, *, public: bool) -> Mapping[str, str]:
    """Return the headers of stored bytes: cacheable by digest, never run on our origin."""
    headers = {
        "Content-Type": media_type,
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": "public, max-age=31536000, immutable" if public else "private",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return MappingProxyType(headers)  # all callers share it


def next_link(path: str, **query: str | int) -> dict[str, str]:
    """Return the Link header of the next page (RFC 5988)."""
    return {"Link": f'<{quote(path)}?{urlencode(query)}>; rel="next"'}
