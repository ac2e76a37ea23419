"""The account side of npm's API in this process, people at it, and packages of acme."""

import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp

from auth.principals import Principal, Visibility
from formats.npm.account_routes import account_routes
from formats.npm.adapter import TARBALL_TYPE, Npm
from formats.npm.names import parse_name
from formats.npm.routes import NpmRoutes
from registry.app import Services, build_surface
from registry.debts import Counts
from registry.packaging.publishing import Published
from registry.packaging.route import AdapterRoutes
from registry.sign_in_limits import SignInLimits
from tests.registry.client import Client, basic
from tests.registry.world import World


def adapters(services: Services, limits: SignInLimits) -> list[AdapterRoutes]:
    """npm's account side alone."""
    found = account_routes(services, limits)
    return [NpmRoutes(found.parts, found.at_root)]


def application(services: Services, counts: Counts | None = None) -> ASGIApp:
    return build_surface(services, counts, adapters=adapters)


class Shop:
    """A registry, and whoever comes to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = application(world.services)

    def person(self, name: str = "") -> Client:
        """Somebody with a token that may do all the person may; "" is nobody."""
        return self.holder(self.world.tokens[name]) if name else Client(self.app)

    def holder(self, token: str) -> Client:
        """Whoever has a token."""
        return Client(self.app, f"Bearer {token}")

    def basic(self, name: str, password: str) -> Client:
        return Client(self.app, basic(name, password))

    async def who(self, name: str) -> Principal:
        found = await self.world.services.tokens.find(self.world.tokens[name])
        assert found is not None
        return found

    async def publish(
        self,
        name: str = "@acme/pad",
        version: str = "1.0.0",
        by: str = "writer",
        visibility: Visibility | None = None,
        **said: Any,
    ) -> Published:
        """Publish a version; `said` are further words of its package.json."""
        package = parse_name(name)
        document = {"name": name, "version": version, **said}
        tarball = packed(document)
        metadata = json.dumps(document).encode()
        file = package.file(version)
        facts = Npm().read(name, metadata, {file: io.BytesIO(tarball)})
        packaging = self.world.services.packaging
        stored = await packaging.files.add(file, TARBALL_TYPE, _once(tarball))
        who = await self.who(by)
        made = await packaging.publishing.publish(
            who, package.repository, package.name, facts, [stored]
        )
        if visibility is not None:
            await self.world.publish(str(package.repository), visibility)
        return made


def packed(document: dict[str, Any]) -> bytes:
    """A tarball with a package.json, as npm packs it."""
    data, plain = json.dumps(document).encode(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def told(response: httpx.Response, status: int, *words: str) -> str:
    """Check an error as npm reads it; return what it says."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in body["error"]
    said: str = body["error"]
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert (response.headers.get("npm-notice") == said) == (status == 401)
    return said


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
