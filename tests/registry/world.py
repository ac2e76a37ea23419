"""A registry in this process, its clock, and the people who use it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.accounts import OWNER, insert_user
from auth.audit import OPERATOR
from auth.passwords import hash_password
from auth.principals import Role, Visibility
from auth.principals import Scope as TokenScope
from auth.signing_keys import make_keys
from registry.app import FORMATS, Services, build_surface, open_services
from registry.config import Config
from registry.packaging.formats import Formats
from registry.sockets import listen
from storage import migrations
from storage.clock import SECOND
from storage.database import Row, Transaction
from tests.registry.client import Client, basic

PASSWORD = "correct horse battery"
OWNER_NAME = "acme"
ROLES = {"owner": Role.ADMIN, "writer": Role.WRITE, "reader": Role.READ}
"""Users and their roles at acme; `admin` is the site's, `stranger` has none."""

TABLES = (
    *("packages", "blobs", "repository_blobs", "manifest_contents", "manifests", "manifest_blobs"),
    *("manifest_children", "tags", "tag_history", "deletions", "deleted_tags", "uploads"),
    *("upload_segments", "trash", "events", "package_versions", "version_files"),
    "version_fragments",
)


class SetClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.at

    def advance(self, seconds: int) -> None:
        self.at += seconds * SECOND


class World:
    """Services over one data directory and database; `restart` opens them anew."""

    def __init__(self, config: Config, clock: SetClock, formats: Formats = FORMATS) -> None:
        self.config = config
        self.formats = formats
        self.clock = clock
        self.tokens: dict[str, str] = {}
        self.damaged = False
        """Whether a test spoiled files on purpose: their rows are then wrong."""
        self.services: Services
        self._surface: ASGIApp
        self._stack = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._surface(scope, receive, send)

    async def open(self) -> None:
        self.services = await self._stack.enter_async_context(
            open_services(self.config, self.clock, formats=self.formats)
        )
        self._surface = build_surface(self.services)

    async def close(self) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        """End the process, as it were, and start it again on the same data."""
        await self.close()
        await self.open()

    @asynccontextmanager
    async def another_worker(self) -> AsyncIterator["World"]:
        """A second application over the same data and database."""
        other = World(self.config, self.clock, self.formats)
        await other.open()
        try:
            other.tokens = self.tokens
            yield other
        finally:
            await other.close()

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Served"]:
        """Serve on a real socket, as a worker does."""
        served, sockets = Served(self), listen(("127.0.0.1",), 0)
        serving = asyncio.create_task(served.serve(sockets))
        try:
            await served.started_event.wait()
            served.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
            yield served
        finally:
            served.should_exit = True
            await serving

    async def reconfigure(self, **settings: object) -> None:
        self.config = replace(self.config, **settings)  # type: ignore[arg-type]
        await self.restart()

    def client(self, name: str = "writer") -> Client:
        """A person with a token that may do all the person may; "" is nobody."""
        return Client(self, basic(name, self.tokens[name]) if name else "")

    def signed_in(self, name: str) -> Client:
        """A person with the password, which opens /token only."""
        return Client(self, basic(name, PASSWORD))

    async def populate(self) -> None:
        await self.services.database.migrate(migrations.load())
        at = self.clock()

        async def work(tx: Transaction) -> None:
            await make_keys(tx, at)
            for name in ("admin", "stranger", *ROLES):
                await insert_user(tx, name, _password_hash(), at, admin=name == "admin")

        await self.services.database.write(work)
        organization = await self.services.accounts.create_organization(OPERATOR, OWNER_NAME)
        for name, role in ROLES.items():
            await self.services.accounts.grant(OPERATOR, OWNER, organization, name, role)
        for name in ("admin", "stranger", *ROLES):
            self.tokens[name] = await self.mint(name)

    async def mint(
        self, name: str, scopes: TokenScope = TokenScope.ALL, expires_in: int | None = None
    ) -> str:
        """Make a token; `expires_in` is seconds."""
        account = await self.services.accounts.get(name)
        expires_at = None if expires_in is None else self.clock() + expires_in * SECOND
        made = await self.services.tokens.create(
            OPERATOR, account.id, "user", "", scopes, expires_at
        )
        return made.text

    async def revoke(self, text: str) -> None:
        who = await self.services.tokens.find(text)
        assert who is not None
        await self.services.tokens.revoke(OPERATOR, who.token_id)

    async def set_role(self, name: str, role: Role) -> None:
        account = await self.services.accounts.get(OWNER_NAME)
        await self.services.accounts.grant(OPERATOR, OWNER, account.id, name, role)

    async def publish(self, repository: str, visibility: Visibility = Visibility.PUBLIC) -> None:
        await self.services.packages.set_visibility(OPERATOR, repository, visibility)

    async def rows(self, sql: str) -> list[Row]:
        return list(await self.services.database.fetch(sql))

    async def keys(self) -> set[str]:
        """The keys of all objects in the store."""
        return {stored.key async for stored in self.services.store.list()}

    async def footprint(self) -> dict[str, int]:
        """How many rows and objects there are: what a refused request may not change."""
        counts = {"objects": len(await self.keys())}
        for table in TABLES:
            (row,) = await self.rows(f"select count(*) as n from {table}")
            counts[table] = row["n"]
        return counts

    def file_of(self, key: str) -> Path:
        path = self.services.store.path(key)
        assert path is not None
        return path

    async def file_of_blob(self, digest: str) -> Path:
        """The file of a blob, to be spoiled."""
        self.damaged = True
        (row,) = await self.rows(f"select key from blobs where digest = '{digest}'")
        return self.file_of(row["key"])

    async def check(self) -> None:
        """Every object is named by a row, every row's object is whole, no draft is left."""
        assert list((self.config.directory / "incoming").glob("*")) == []
        sizes = {stored.key: stored.size async for stored in self.services.store.list()}
        named = {
            row["key"]: row["size"]
            for table in ("blobs", "upload_segments")
            for row in await self.rows(f"select key, size from {table}")
        }
        trash = {row["key"] for row in await self.rows("select key from trash")}
        assert trash.isdisjoint(named), "a row names an object that gc will remove"
        assert set(sizes) == set(named) | trash
        assert {key: sizes[key] for key in named} == named


class Served(uvicorn.Server):
    """A server that says when it listens, what it has received, and which requests have ended."""

    def __init__(self, app: ASGIApp) -> None:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer(scope, receive, send)

        super().__init__(
            uvicorn.Config(answer, http="httptools", ws="none", lifespan="off", log_config=None)
        )
        self._app = app
        self.url = ""
        self.started_event = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self._received: asyncio.Queue[int] = asyncio.Queue()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.started_event.set()

    async def received(self, size: int) -> None:
        """Wait until bodies of `size` bytes in all have reached the application."""
        while size > 0:
            size -= await self._received.get()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            message = await receive()
            self._received.put_nowait(len(message.get("body", b"")))
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self.ended.put_nowait(scope["method"])


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)
