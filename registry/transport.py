"""How what commands ask gets there, by httpx: over the network, or inside this process.

Commands that ask nothing, `serve` first of all, never import this.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import ASGIApp

from registry.api_client import Answer, Api, Question, Refused
from registry.server_url import ServerUrl
from registry.tables import plain
from storage.errors import Invalid

PATIENCE_SECONDS = 600.0
"""How long a server may be silent: a package of a million manifests is deleted in one request."""
CONNECT_SECONDS = 20.0
_MOST_BYTES = 64 * 1024 * 1024
_LOCAL = "http://packhouse"


@asynccontextmanager
async def local(app: ASGIApp) -> AsyncIterator[Api]:
    """Work on an application of this process, which must answer the operator alone."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=_LOCAL) as http:
        yield Api(_Sender(http, "this machine"), "this machine")


@asynccontextmanager
async def remote(
    server: ServerUrl, authorization: str = "", patience: float = PATIENCE_SECONDS
) -> AsyncIterator[Api]:
    """Work on a server. Redirects are not followed: they would take the token along."""
    async with httpx.AsyncClient(
        base_url=server.url,
        headers={"Authorization": authorization} if authorization else {},
        verify=server.trust(),
        timeout=httpx.Timeout(patience, connect=min(patience, CONNECT_SECONDS)),
        trust_env=not server.loopback,  # a proxy would see what goes to this machine itself
    ) as http:
        yield Api(_Sender(http, server.url), server.url, anonymous=not authorization)


class _Sender:
    """Sends what is asked, and returns all of the answer."""

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self._http = http
        self._name = name

    async def __call__(self, question: Question) -> Answer:
        """Raises Invalid for what fits in no request, Refused where nothing answers."""
        kind = {} if question.content is None else {"Content-Type": "application/json"}
        try:
            request = self._http.build_request(
                question.method,
                question.path,
                params=question.query,
                content=question.content,
                headers=kind,
            )
        except (UnicodeEncodeError, httpx.InvalidURL) as error:
            raise Invalid(f"what was given fits in no URL: {plain(error)}") from error
        try:
            response = await self._http.send(request, stream=True)
            try:
                data = await self._receive(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise Refused(f"{self._name} does not answer: {_why(error)}") from error
        return Answer(response.status_code, response.headers, data)

    async def _receive(self, response: httpx.Response) -> bytes:
        """Return the body; what is too large for memory is no answer of ours."""
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > _MOST_BYTES:
                raise Refused(f"{self._name} answered more than {_MOST_BYTES} bytes")
        return bytes(data)


def _why(error: BaseException) -> str:
    """Say what is wrong with a connection, in the words of whoever found it."""
    if isinstance(error, httpx.TimeoutException):
        return "nothing came from there in time"
    deeper: BaseException | None = error
    while deeper is not None:
        if isinstance(deeper, ssl.SSLCertVerificationError):
            said = deeper.verify_message
            return f"its certificate is not trusted ({said}); --ca FILE names its authority"
        if isinstance(deeper, OSError) and deeper.strerror:
            return deeper.strerror
        deeper = deeper.__cause__ or deeper.__context__
    return plain(error) or type(error).__name__
