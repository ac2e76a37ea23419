"""The REST API as commands use it: a server's, far away, or this machine's own database.

On this machine the same operations run inside the command, for the operator; over the network, for
whoever the token belongs to. So there is one way of doing things, and one set of answers.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx
from starlette.types import ASGIApp

from storage.errors import Invalid, PackhouseError

_LOCAL = "http://packhouse"
_SECONDS = 60.0


class Refused(PackhouseError):
    """The server said no; the message is its own."""


class Api:
    """Asks, and raises what was refused in the server's words."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def local(cls, app: ASGIApp) -> AsyncIterator[Self]:
        """Work on an application of this process, which must answer the operator alone."""
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=_LOCAL) as http:
            yield cls(http)

    @classmethod
    @asynccontextmanager
    async def remote(cls, url: str, token: str) -> AsyncIterator[Self]:
        """Work on a server with a token. Redirects are not followed: they would take it along."""
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_SECONDS) as http:
            yield cls(http)

    async def get(self, template: str, *names: str, **query: str | int | None) -> Any:
        """Return the JSON of one thing. Names fill the `{}` of the template, encoded."""
        return await self._ask("GET", template, names, query=query)

    async def put(self, template: str, *names: str, body: Mapping[str, Any]) -> Any:
        """Make a thing what `body` says."""
        return await self._ask("PUT", template, names, body=body)

    async def post(self, template: str, *names: str, body: Mapping[str, Any]) -> Any:
        """Make a new thing, or have something done."""
        return await self._ask("POST", template, names, body=body)

    async def patch(self, template: str, *names: str, body: Mapping[str, Any]) -> Any:
        """Change what `body` names."""
        return await self._ask("PATCH", template, names, body=body)

    async def delete(self, template: str, *names: str) -> Any:
        """End a thing."""
        return await self._ask("DELETE", template, names)

    async def all(
        self, template: str, *names: str, **query: str | int | None
    ) -> list[dict[str, Any]]:
        """Return the items of every page of a list."""
        return [item async for item in self.each(template, *names, **query)]

    async def each(
        self, template: str, *names: str, **query: str | int | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the items of a list, page by page."""
        after: str | None = ""
        while after is not None:
            asked: dict[str, str | int | None] = {
                **query,
                "n": 1000,
                **({"after": after} if after else {}),
            }
            page = await self.get(template, *names, **asked)
            for item in page["items"]:
                yield item
            after = page["next"]

    async def _ask(
        self,
        method: str,
        template: str,
        names: tuple[str, ...],
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        path = "/api/v1" + template.format(*(quote(name, safe="") for name in names))
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(method, path, params=given, json=body)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Refused(f"{self._http.base_url} does not answer: {why}") from error
        if response.is_success:
            return response.json() if response.content else None
        raise _refusal(response)


def _refusal(response: httpx.Response) -> PackhouseError:
    try:
        said = response.json()
        message = f"{said['detail']}"
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        message = f"{response.url} answered {response.status_code}: is it a Packhouse?"
    return (Invalid if response.status_code == 400 else Refused)(message)
