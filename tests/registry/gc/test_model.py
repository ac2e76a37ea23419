"""Pushes, deletions, restores, purges, time and gc in any order, beside a simple model.

After every step: what the model says is readable is readable byte for byte, and what was deleted
is not. At the end everything is deleted, time passes, and nothing is left.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from auth.audit import OPERATOR
from auth.principals import ANONYMOUS
from storage.connect import open_database
from storage.digest import Digest
from storage.errors import NotAllowed, PackhouseError
from storage.names import parse_repository
from tests.postgres import PostgresServer
from tests.registry.gc.depot import Depot, SetClock, image, index
from tests.registry.gc.model import DAY, Held, Shelf

SOAK = bool(os.environ.get("SOAK"))
EXAMPLES = {"sqlite": 400 if SOAK else 25, "postgresql": 100 if SOAK else 8}
GRACE = DAY
YES = 600_000_000
"""A yes is renewed only after ten minutes, so it holds that much less than the grace."""

REPOSITORIES = ("admin/one", "admin/two")
LAYERS = (b"a", b"bb", b"ccc", b"dddd")
repositories = st.sampled_from(REPOSITORIES)
layers = st.sampled_from(LAYERS)
tags = st.sampled_from(("v1", "v2", "latest"))
hours = st.sampled_from((0.5, 5, 23, 25, 7 * 24, 31 * 24))


class Registry(RuleBasedStateMachine):
    """The real thing and its model, driven by the same rules."""

    url = ""
    server: PostgresServer | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="packhouse-model-"))
        self.clock = SetClock()
        self.shelves = {name: Shelf() for name in REPOSITORIES}
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def _open(self) -> None:
        self.url = "" if self.server is None else await self.server.create_database()
        self.database = await open_database(self.url, self.directory)
        self.depot = Depot(self.database, self.directory / "data", self.clock)
        await self.depot.populate()
        await self.database.execute("update accounts set default_visibility = 2 where id > 0")

    def teardown(self) -> None:
        try:
            self.run(self._empty())
        finally:
            self.run(self._close())
            self.runner.close()
            shutil.rmtree(self.directory)

    async def _close(self) -> None:
        await self.depot.close()
        await self.database.close()
        if self.server is not None:
            await self.server.drop_database(self.url)

    async def _empty(self) -> None:
        """Delete everything, let time pass, and find nothing."""
        for repository, shelf in self.shelves.items():
            if not shelf.hidden:
                await self.depot.push_blob(b"so that the package exists", repository)
                await self.depot.services.packages.delete(OPERATOR, repository)
        for days in (31, 1.1, 1.1, 1.1):
            self.clock.advance(days * 86400)
            await self.depot.gc()
        assert self.depot.objects() == []
        for table in (
            *("blobs", "repository_blobs", "manifests", "manifest_contents", "manifest_blobs"),
            *("manifest_children", "tags", "deleted_tags", "deletions", "uploads"),
            *("upload_segments", "trash"),
        ):
            assert await self.depot.count(table) == 0, table

    @initialize()
    def begin(self) -> None:
        """Both repositories exist."""
        for repository in REPOSITORIES:
            self.push_blob(repository, b"a")

    # What people do.

    @rule(repository=repositories, layer=layers)
    def push_blob(self, repository: str, layer: bytes) -> None:
        self.run(self.depot.push_blob(layer, repository))
        shelf = self.shelves[repository]
        shelf.touch()
        shelf.uploaded[layer] = self.clock()

    @rule(layer=layers, source=repositories, into=repositories)
    def mount(self, layer: bytes, source: str, into: str) -> None:
        mounted = self.run(self.depot.mount(Digest.of(layer), into, source))
        must = self._must_show(source, layer)
        assert must is None or mounted == must
        if mounted:
            self.shelves[into].touch()
            self.shelves[into].uploaded[layer] = self.clock()

    @rule(
        repository=repositories,
        chosen=st.sets(layers, max_size=3),
        tagged=st.sets(tags, max_size=2),
        note=st.sampled_from("xy"),
        hours=st.sampled_from((0, 1, 23.5)),
        collecting=st.booleans(),
    )
    def push_image(
        self,
        repository: str,
        chosen: set[bytes],
        tagged: set[str],
        note: str,
        hours: float,
        collecting: bool,
    ) -> None:
        """As docker does: ask for each layer, push what is missing, and then the manifest.

        However long the push takes, short of the grace, what it was told of is there at its end.
        """
        for layer in sorted(chosen):
            if not self.run(self.depot.has_blob(Digest.of(layer), repository)):
                self.push_blob(repository, layer)
            elif layer in self.shelves[repository].uploaded:
                self._say_yes(repository, layer)
        self.clock.advance(hours * 3600)
        if collecting:
            self.collect()
        data = image(sorted(chosen), note=note)
        self.run(self.depot.push(data, *sorted(tagged), repository=repository))
        held = Held(data, frozenset(chosen))
        self.shelves[repository].put(Digest.of(data), held, tuple(tagged))

    @rule(repository=repositories, data=st.data(), tagged=st.sets(tags, max_size=1))
    def push_index(self, repository: str, data: st.DataObject, tagged: set[str]) -> None:
        live = sorted(self.shelves[repository].live())
        if not live:
            return
        chosen = data.draw(st.lists(st.sampled_from(live), min_size=1, max_size=3, unique=True))
        children = [self.shelves[repository].manifests[digest].data for digest in sorted(chosen)]
        made = index(children)
        self.run(self.depot.push(made, *tagged, repository=repository))
        held = Held(made, children=frozenset(chosen))
        self.shelves[repository].put(Digest.of(made), held, tuple(tagged))

    @rule(repository=repositories, data=st.data())
    def push_signature(self, repository: str, data: st.DataObject) -> None:
        live = sorted(
            digest
            for digest, held in self.shelves[repository].live().items()
            if held.layers and held.subject is None
        )
        if not live:
            return
        subject = data.draw(st.sampled_from(live))
        made = image([], subject=self.shelves[repository].manifests[subject].data)
        self.run(self.depot.push(made, repository=repository))
        self.shelves[repository].put(Digest.of(made), Held(made, subject=subject), ())

    @rule(repository=repositories, data=st.data())
    def delete_manifest(self, repository: str, data: st.DataObject) -> None:
        shelf = self.shelves[repository]
        if not shelf.live():
            return
        digest = data.draw(st.sampled_from(sorted(shelf.live())))
        if any(parent.live for parent in shelf.parents(digest)):
            with pytest.raises(NotAllowed):
                self.run(self.depot.delete(digest, repository))
            return
        deletion = self.run(self.depot.delete(digest, repository))
        shelf.hide(deletion, shelf.closure(digest), self.clock())

    @rule(repository=repositories, data=st.data())
    def delete_tag(self, repository: str, data: st.DataObject) -> None:
        shelf = self.shelves[repository]
        if shelf.hidden or not shelf.tags:
            return
        tag = data.draw(st.sampled_from(sorted(shelf.tags)))
        deletion = self.run(self.depot.delete(tag, repository))
        shelf.hide(deletion, set(), self.clock())
        shelf.deletions[deletion].tags[tag] = shelf.tags.pop(tag)

    @rule(repository=repositories)
    def delete_package(self, repository: str) -> None:
        shelf = self.shelves[repository]
        if not shelf.hidden:
            deleted = self.run(self.depot.services.packages.delete(OPERATOR, repository))
            shelf.hide_package(deleted.id, self.clock())

    @precondition(lambda self: any(shelf.deletions for shelf in self.shelves.values()))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        repository, deletion = self._draw_deletion(data)
        shelf = self.shelves[repository]
        restoring = self.depot.services.restoration.restore(OPERATOR, repository, deletion)
        if shelf.restorable(deletion, self.clock()):
            assert set(self.run(restoring).conflicts) == shelf.restore(deletion)
        else:
            with pytest.raises(PackhouseError):
                self.run(restoring)

    @precondition(lambda self: any(shelf.deletions for shelf in self.shelves.values()))
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        repository, deletion = self._draw_deletion(data)
        shelf, links = self.shelves[repository], self.run(self._links(repository))
        listed = self.run(self.depot.services.restoration.list(repository))
        whole = any(one.id == deletion and one.reason == "package" for one in listed)
        before = set(LAYERS) if whole else shelf.kept()
        self.run(self.depot.services.restoration.purge(OPERATOR, repository, deletion))
        shelf.purge(deletion)
        self.run(self._check_purged(repository, before - shelf.kept(), links))

    async def _check_purged(
        self, repository: str, gone: set[bytes], before: dict[str, str]
    ) -> None:
        """What only this deletion held is gone with its bytes, before any time has passed."""
        links, objects = await self._links(repository), self.depot.objects()
        elsewhere = {digest for other in REPOSITORIES for digest in await self._links(other)}
        for digest in {Digest.of(layer) for layer in gone} & before.keys():
            assert digest not in links
            assert digest in elsewhere or before[digest] not in objects

    async def _links(self, repository: str) -> dict[str, str]:
        """The objects of the blobs that a repository links, by digest."""
        rows = await self.database.fetch(
            "select b.digest, b.key from repository_blobs rb join blobs b on b.id = rb.blob_id "
            "join packages p on p.id = rb.repository_id where p.repository = $1",
            repository,
        )
        return {row["digest"]: row["key"] for row in rows}

    def _draw_deletion(self, data: st.DataObject) -> tuple[str, int]:
        found = [
            (name, number) for name, shelf in self.shelves.items() for number in shelf.deletions
        ]
        return data.draw(st.sampled_from(sorted(found)))

    # What happens by itself.

    @rule(repository=repositories)
    def leave_an_upload(self, repository: str) -> None:
        upload = self.run(self.depot.begin(repository))
        self.run(self.depot.append(upload, b"half", repository))

    @rule()
    def crash_before_the_row(self) -> None:
        async def write() -> None:
            async def pieces() -> Any:
                yield b"left"

            await self.depot.store.write(pieces())

        self.run(write())

    @rule(hours=hours)
    def advance(self, hours: float) -> None:
        self.clock.advance(hours * 3600)

    @rule()
    def collect(self) -> None:
        self.run(self.depot.gc())
        for shelf in self.shelves.values():
            shelf.collect(self.clock())

    # What must hold.

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for repository, shelf in self.shelves.items():
            for digest, held in shelf.manifests.items():
                shown = held.data if digest in shelf.live() else None
                assert self._read(repository, digest) == shown
            for tag in ("v1", "v2", "latest"):
                wanted = None if shelf.hidden else shelf.tags.get(tag)
                shown = None if wanted is None else shelf.manifests[wanted].data
                assert self._read(repository, tag) == shown
            for layer in LAYERS:
                must, shown = self._must_show(repository, layer), self._bytes(repository, layer)
                assert shown in (layer, None)
                assert must is None or (shown is not None) == must
                if shown is None:
                    shelf.uploaded.pop(layer, None)

    def _must_show(self, repository: str, layer: bytes) -> bool | None:
        """Whether a layer is readable; None where that is gc's to decide."""
        shelf = self.shelves[repository]
        if shelf.hidden:
            return False
        if layer in shelf.named():
            return True
        if layer not in shelf.uploaded:
            return False
        return True if self.clock() - shelf.uploaded[layer] < GRACE - YES else None

    def _say_yes(self, repository: str, layer: bytes) -> None:
        uploaded = self.shelves[repository].uploaded
        if self.clock() - uploaded[layer] > YES:
            uploaded[layer] = self.clock()

    def _read(self, repository: str, reference: str) -> bytes | None:
        """Read a manifest as anybody may: that renews nothing."""
        pusher, self.depot.who = self.depot.who, ANONYMOUS
        try:
            data: bytes | None = self.run(self.depot.read(reference, repository))
            return data
        except PackhouseError:
            return None
        finally:
            self.depot.who = pusher

    def _bytes(self, repository: str, layer: bytes) -> bytes | None:
        async def read() -> bytes:
            find = self.depot.services.blobs.find
            blob = await find(ANONYMOUS, parse_repository(repository), Digest.of(layer))
            return b"".join([piece async for piece in self.depot.store.read(blob.key)])

        try:
            data: bytes = self.run(read())
            return data
        except PackhouseError:
            return None


def test_any_history_keeps_what_it_must_and_leaves_nothing_on_sqlite() -> None:
    check(Registry, "sqlite")


def test_any_history_keeps_what_it_must_and_leaves_nothing_on_postgresql(
    postgres_server: PostgresServer,
) -> None:
    check(type("PostgresRegistry", (Registry,), {"server": postgres_server}), "postgresql")


def check(machine: type[Registry], engine: str) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES[engine],
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
