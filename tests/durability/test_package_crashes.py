"""A package that was acknowledged survives SIGKILL, whole and at both doors."""

import asyncio
import json
import random
from itertools import count
from pathlib import Path

import httpx

from tests.durability.harness import Killable
from tests.durability.site import make_token
from tests.formats.drivers import NpmDriver
from tests.registry.processes import run

ROUNDS = 4
PUBLISHERS = 6
NPM = NpmDriver()


class Publisher:
    """Publishes versions of two packages of admin's until the server is gone."""

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}
        self.numbers = count()
        self.acknowledged: set[tuple[str, str]] = set()

    async def publish(self, url: str) -> None:
        async with httpx.AsyncClient(base_url=url, headers=self.headers, timeout=60) as http:
            while True:
                number = next(self.numbers)
                name, version = f"pad-{number % 2}", f"1.{number}.0"
                try:
                    answer = await NPM.publish(http, name, version, owner="admin")
                except httpx.HTTPError:
                    return
                if answer.status_code == 201:
                    self.acknowledged.add((name, version))

    async def check(self, url: str) -> None:
        """Everything acknowledged is listed, whole, and an artifact; what is listed is whole."""
        async with httpx.AsyncClient(base_url=url, headers=self.headers, timeout=60) as http:
            listed = set()
            for name in {name for name, _ in self.acknowledged}:
                document = (await http.get(f"/npm/@admin%2f{name}")).json()
                assert document["dist-tags"]["latest"] in document["versions"]
                listed |= {(name, version) for version in document["versions"]}
            assert self.acknowledged <= listed
            for name, version in listed:
                got = await http.get(f"/npm/@admin/{name}/-/{name}-{version}.tgz")
                assert got.content == NPM.file(name, version, owner="admin")
                tagged = await http.get(f"/v2/admin/npm/{name}/manifests/{version}")
                assert tagged.status_code == 200


async def test_what_was_published_survives_every_crash(database_url: str, tmp_path: Path) -> None:
    data, publisher = tmp_path / "data", None
    settings = {"PACKHOUSE_DATABASE": database_url} if database_url else {}
    for _ in range(ROUNDS):
        with Killable(data, "--workers", 2, **settings) as server:
            publisher = publisher or Publisher(make_token(data, **settings))
            publishing = [
                asyncio.create_task(publisher.publish(server.url)) for _ in range(PUBLISHERS)
            ]
            wanted = len(publisher.acknowledged) + random.randint(3, 30)  # when does not matter
            while len(publisher.acknowledged) < wanted:
                await asyncio.wait(publishing, timeout=0.01)
            server.kill()
            server.wait()
            await asyncio.gather(*publishing)
        with Killable(data, "--workers", 2, **settings) as server:
            await publisher.check(server.url)
            done = run("fsck", "--json", "--data", data, **settings)
            kinds = {finding["kind"] for finding in json.loads(done.stdout)["findings"]}
            assert kinds <= {"orphaned"}, done.stdout  # gc comes to what a crash left
