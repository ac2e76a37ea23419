"""Publishing, deleting and looking at packages of the generic format, in few words."""

import json
from collections.abc import AsyncIterator, Sequence

from auth.principals import Principal
from registry.packaging.format import StoredFile
from registry.packaging.formats import Formats
from registry.packaging.publishing import Published
from registry.packaging.services import Packaging
from storage.digest import Digest
from storage.names import Tag, component_of, parse_repository, parse_tag
from tests.registry.packaging.generic import BIN, Generic, facts
from tests.registry.world import World

PAD = "acme/generic/pad"
FORMATS = Formats([Generic()])
HOUR, DAY = 3600, 86400


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Shelf:
    """Packages of acme, as somebody who may write there."""

    def __init__(self, world: World, who: Principal) -> None:
        self.world = world
        self.who = who

    @property
    def packaging(self) -> Packaging:
        return self.world.services.packaging

    async def file(self, version: str, name: str = "pad", more: bytes = b"") -> StoredFile:
        """Bring the file of a version into the store."""
        data = f"{version}\n".encode() + more
        return await self.packaging.files.add(f"{name}-{version}.bin", BIN, once(data))

    async def publish(
        self, version: str, *aliases: str, name: str = "pad", more: bytes = b"", **said: str
    ) -> Published:
        """Publish a version; `said` are further words of its metadata."""
        repository = parse_repository(f"acme/generic/{component_of(name)}")
        document = {"package": f"acme:{name}", "version": version, **said}
        return await self.packaging.publishing.publish(
            self.who,
            repository,
            name,
            facts(document),
            [await self.file(version, name, more)],
            [parse_tag(alias) for alias in aliases],
        )

    async def id(self, repository: str = PAD) -> int:
        (row,) = await self.world.rows(f"select id from packages where repository = '{repository}'")
        found: int = row["id"]
        return found

    async def versions(self, kind: str = "short") -> list[str]:
        """The parts of a document, oldest version first."""
        parts = (await self.packaging.versions.parts(await self.id(), kind)).fragments
        return [part.bytes.decode() for part in parts]

    async def aliases(self) -> dict[str, str]:
        return await self.packaging.versions.aliases(await self.id())

    async def tags(self) -> dict[str, str]:
        """Every tag of the package, with the digest it names."""
        rows = await self.world.services.packages.tags(await self.id())
        return {row["name"]: row["digest"] for row in rows}

    async def revision(self) -> int:
        (row,) = await self.world.rows(f"select revision from packages where repository = '{PAD}'")
        found: int = row["revision"]
        return found

    async def digest(self, version: str) -> Digest:
        found = await self.packaging.versions.find(await self.id(), version)
        assert found is not None
        return found.digest

    async def delete(self, version: str) -> None:
        """Delete a version by its tag."""
        repository, tag = parse_repository(PAD), FORMATS[0].tag(version)
        await self.world.services.deletion.delete_tag(self.who, repository, tag)

    async def deletions(self) -> Sequence[int]:
        return [found.id for found in await self.world.services.restoration.list(PAD)]

    async def restore(self) -> dict[str, str]:
        """Undo the newest deletion; return the tags that did not come back, and why."""
        newest = (await self.deletions())[-1]
        restored = await self.world.services.restoration.restore(self.who, PAD, newest)
        return restored.conflicts

    async def gc(self, days: int = 0) -> None:
        """Let days pass, then run gc until nothing is due."""
        self.world.clock.advance(days * DAY)
        services = self.world.services
        term = await services.leases.acquire("gc", HOUR, steal=True)
        assert term is not None
        finished = False
        while not finished:
            finished = (await services.collector.round(term)).finished

    async def events(self) -> list[tuple[str, str, str]]:
        rows = await self.world.rows("select kind, subject, detail from events order by id")
        return [(row["kind"], row["subject"], row["detail"]) for row in rows]


def document(part: str) -> dict[str, object]:
    """Read a full part."""
    found: dict[str, object] = json.loads(part)
    return found


__all__ = ["DAY", "FORMATS", "PAD", "Shelf", "Tag", "document", "once"]
