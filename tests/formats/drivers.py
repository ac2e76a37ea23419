"""What a client of each package format does, in the words that all formats share."""

import base64
from collections.abc import Sequence
from typing import Protocol

import httpx

from formats.npm.names import parse_name
from tests.formats.npm.shop import packed
from tests.registry.client import Client


class Driver(Protocol):
    """A client of one format, whose packages are acme's."""

    format: str
    accepted: int
    """The status of a publish that was taken."""
    taken: Sequence[int]
    """The statuses of one that was published before."""

    def file(self, name: str, version: str) -> bytes:
        """Return the bytes of a version's file."""

    async def publish(
        self, client: Client, name: str, version: str, *, more: str = ""
    ) -> httpx.Response:
        """Publish a version; `more` makes other bytes of it."""

    async def download(
        self, client: Client, name: str, version: str, *, always: bool = False
    ) -> httpx.Response:
        """Fetch its file; `always` where the feed asks everybody who he is."""

    async def look(self, client: Client, name: str) -> httpx.Response:
        """Fetch the document that lists versions."""

    def versions(self, response: httpx.Response) -> list[str]:
        """Return the versions that it lists."""

    async def remove(self, client: Client, name: str, version: str) -> httpx.Response:
        """Unpublish a version, in as many requests as the client makes."""

    def words(self, response: httpx.Response) -> str:
        """Return what the client shows of an error."""


class NpmDriver:
    """npm."""

    format = "npm"
    accepted = 201
    taken = (403,)

    def file(self, name: str, version: str, *, more: str = "", owner: str = "acme") -> bytes:
        return packed(_document(f"@{owner}/{name}", version, more))

    async def publish(
        self,
        client: Client | httpx.AsyncClient,
        name: str,
        version: str,
        *,
        more: str = "",
        owner: str = "acme",
    ) -> httpx.Response:
        tarball, full = self.file(name, version, more=more, owner=owner), f"@{owner}/{name}"
        body = {
            "_id": full,
            "name": full,
            "dist-tags": {"latest": version},
            "versions": {version: {**_document(full, version, more), "_id": f"{full}@{version}"}},
            "access": None,
            "_attachments": {
                f"{full}-{version}.tgz": {
                    "content_type": "application/octet-stream",
                    "data": base64.b64encode(tarball).decode(),
                    "length": len(tarball),
                }
            },
        }
        return await client.put(f"/npm/@{owner}%2f{name}", json=body)

    async def download(
        self, client: Client, name: str, version: str, *, always: bool = False
    ) -> httpx.Response:
        mount = "/auth/npm" if always else "/npm"
        return await client.get(f"{mount}/@acme/{name}/-/{name}-{version}.tgz")

    async def look(self, client: Client, name: str) -> httpx.Response:
        return await client.get(f"/npm/@acme%2f{name}")

    def versions(self, response: httpx.Response) -> list[str]:
        return list(response.json()["versions"])

    async def remove(self, client: Client, name: str, version: str) -> httpx.Response:
        path = f"/npm/@acme%2f{name}"
        read = await client.get(f"{path}?write=true")
        if read.status_code != 200:
            return read
        document = read.json()
        if set(document["versions"]) == {version}:
            return await client.delete(f"{path}/-rev/{document['_rev']}")
        document["versions"].pop(version, None)
        document["dist-tags"] = {
            tag: named for tag, named in document["dist-tags"].items() if named != version
        } or {"latest": max(document["versions"])}
        changed = await client.put(f"{path}/-rev/{document['_rev']}", json=document)
        if changed.status_code >= 300:
            return changed
        revision = (await client.get(f"{path}?write=true")).json()["_rev"]
        tarball = f"/npm/@acme/{name}/-/{name}-{version}.tgz"
        return await client.delete(f"{tarball}/-rev/{revision}")

    def words(self, response: httpx.Response) -> str:
        said: str = response.json()["error"]
        return said


def _document(name: str, version: str, more: str) -> dict[str, object]:
    said = {"description": more} if more else {}
    return {"name": parse_name(name).text, "version": version, **said}


DRIVERS: list[Driver] = [NpmDriver()]

__all__ = ["DRIVERS", "Driver"]
