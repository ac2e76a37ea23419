"""Documents: rendered once a revision, under the URL each was asked for, and never half a one."""

import asyncio
import itertools
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import ASGIApp

from auth.principals import Visibility
from registry.app import build_surface
from registry.open_files import OpenFiles
from registry.packaging.addressed import put_in
from registry.packaging.bases import ENOUGH, MOST, TOP, Bases
from registry.packaging.document import ROOT, Streamed
from registry.packaging.document_files import DRAFT, HEAD_BYTES, STALE_SECONDS, DocumentFiles, sweep
from registry.packaging.documents import (
    PLACEHOLDER,
    SMALL,
    Document,
    DocumentKey,
    Documents,
    respond,
)
from tests.registry.client import Client, basic
from tests.registry.packaging.routes import GenericRoutes
from tests.registry.packaging.test_surface import make as make_package
from tests.registry.world import World

BASE, EVIL = "https://packages.test/generic", "https://evil.test/generic"
KEY = DocumentKey(7, "full", 1, BASE, "/acme/pad")
MANY = 300_000


class Kitchen:
    """Documents of a worker, and how often one was rendered."""

    def __init__(
        self,
        directory: Path,
        *,
        limit: int = 10**9,
        configured: str = BASE,
        room: int = 10**9,
    ) -> None:
        self.directory = directory
        self.files = OpenFiles()
        self.documents = Documents(
            DocumentFiles(directory, limit, self.files, lambda: room), Bases(configured)
        )
        self.rendered = 0
        self.size = 100

    async def render(self) -> bytes:
        self.rendered += 1
        await asyncio.sleep(0)
        return PLACEHOLDER + b" is mine " + os.urandom(self.size // 2).hex().encode()

    async def get(self, key: DocumentKey = KEY) -> bytes:
        document = await self.document(key)
        if isinstance(document.plain, Streamed):
            data = b"".join([chunk async for chunk in document.plain.chunks])
            assert len(data) == document.plain.size
            return data
        return body(document)

    async def document(self, key: DocumentKey = KEY) -> Document:
        return await self.documents.get(key, self.render)

    def kept(self) -> list[Path]:
        return sorted(self.directory.glob("*"))


def body(document: Document) -> bytes:
    if isinstance(document.plain, bytes):
        return document.plain
    start, stop = document.plain
    assert document.file is not None
    with document.file as file:
        return os.pread(file.fileno(), stop - start, start)


@pytest.fixture
async def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path / "cache" / "documents")


@pytest.mark.parametrize("size", [100, MANY])
async def test_a_revision_is_rendered_once(kitchen: Kitchen, size: int) -> None:
    kitchen.size = size
    first = await asyncio.gather(*(kitchen.get() for _ in range(20)))
    again = [await kitchen.get() for _ in range(3)]
    assert len({*first, *again}) == 1
    assert first[0].startswith(b"https://packages.test/generic/acme/pad is mine ")
    assert kitchen.rendered == 1
    newer = await kitchen.get(replace(KEY, revision=2))
    assert (newer != first[0], kitchen.rendered) == (True, 2)
    assert len(kitchen.kept()) == (size == MANY), "the newer one takes the older one's place"


async def test_what_failed_to_render_is_rendered_by_the_next(kitchen: Kitchen) -> None:
    async def fail() -> bytes:
        raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows"):
        await kitchen.documents.get(KEY, fail)
    assert await kitchen.get()


@pytest.mark.parametrize("size", [100, MANY])
async def test_each_host_gets_its_own_name_and_nobody_elses(tmp_path: Path, size: int) -> None:
    kitchen = Kitchen(tmp_path, configured="")
    kitchen.size = size
    for base in (BASE, EVIL, BASE, *[EVIL] * (ENOUGH + 2), *[BASE] * (ENOUGH + 2), EVIL, BASE):
        data = await kitchen.get(replace(KEY, base=base))
        assert data.startswith(f"{base}/acme/pad is mine".encode())
        assert data.count(b"https://") == 1


async def test_made_up_hosts_write_nothing(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, configured="")
    kitchen.size = MANY
    for number in range(50):
        await kitchen.get(replace(KEY, base=f"https://x{number}.test"))
    assert kitchen.rendered == 1
    assert len(kitchen.kept()) == 1, "the one without anybody's name in it"


async def test_who_made_up_a_host_and_reads_slowly_holds_little(tmp_path: Path) -> None:
    kitchen, readers = Kitchen(tmp_path, configured=""), []
    kitchen.size = 20 * MANY
    await kitchen.get()
    tracemalloc.start()
    try:
        for number in range(20):
            document = await kitchen.document(replace(KEY, base=f"https://x{number}.test"))
            assert isinstance(document.plain, Streamed)
            await anext(document.plain.chunks)
            readers.append(document)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * kitchen.size < 20 * kitchen.size


@given(st.data())
def test_a_placeholder_is_found_wherever_pieces_are_cut(data: st.DataObject) -> None:
    texts = [PLACEHOLDER, ROOT, b"https://", b"https://packhouse.invali", b"https://root.", b"x"]
    text = b"".join(data.draw(st.lists(st.sampled_from(texts), max_size=20)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    expected = text.replace(PLACEHOLDER, b"P").replace(ROOT, b"R")
    found = list(put_in(iter(pieces), b"P", b"R"))
    assert (b"".join(found), b"" in found) == (expected, False)


async def test_the_entity_tag_is_that_of_the_bytes_wherever_they_were_kept(tmp_path: Path) -> None:
    async def render() -> bytes:
        return PLACEHOLDER + b"/x" * MANY

    kitchens = [Kitchen(tmp_path / "a"), Kitchen(tmp_path / "b", configured="")]
    tags = [
        {(await each.documents.get(replace(KEY, base=base), render)).etag for each in kitchens}
        for base in (BASE, EVIL)
    ]
    assert [len(found) for found in tags] == [1, 1]
    assert tags[0] != tags[1]
    moved = await kitchens[0].documents.get(replace(KEY, path="/acme/pad2"), render)
    assert {moved.etag} != tags[0]


def test_a_base_that_most_ask_under_stays_known() -> None:
    bases = Bases()
    made_up = (f"https://x{number}.test" for number in itertools.count())
    for _ in range(2000):
        bases.known(BASE)
        for _ in range(5):
            assert not bases.known(next(made_up))
    assert bases.known(BASE)
    for _ in range(TOP * MOST + 1000):
        bases.known(next(made_up))
    assert not bases.known(BASE), "nobody asked under it for long"
    assert len(bases._counts) <= MOST
    assert Bases("https://packages.test").known("https://packages.test/npm")


async def test_another_worker_finds_what_one_has_kept(tmp_path: Path) -> None:
    first, second = Kitchen(tmp_path), Kitchen(tmp_path)
    first.size = MANY
    assert await first.get() == await second.get()
    assert (first.rendered, second.rendered) == (1, 0)


async def test_of_what_is_small_no_file_is_looked_for(tmp_path: Path) -> None:
    async def small() -> bool:
        return True

    async def large() -> bool:
        return False

    first, second = Kitchen(tmp_path), Kitchen(tmp_path)
    first.size = MANY
    whole = await first.get()
    assert body(await second.documents.get(KEY, second.render, large)) == whole
    other = Kitchen(tmp_path)
    assert body(await other.documents.get(KEY, other.render, small)) != whole
    assert (second.rendered, other.rendered) == (0, 1)


def cut(data: bytes) -> bytes:
    return data[:-1]


def longer(data: bytes) -> bytes:
    return data + b"x"


def empty(data: bytes) -> bytes:
    return b""


def zeroes(data: bytes) -> bytes:
    return bytes(len(data))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def anothers(data: bytes) -> bytes:
    return data.replace(b'"kind":"full"', b'"kind":"fool"')


def not_json(data: bytes) -> bytes:
    return b"[" * HEAD_BYTES + data[HEAD_BYTES:]


SPOILED = [cut, longer, empty, zeroes, flipped, anothers, not_json]


@pytest.mark.parametrize("spoil", SPOILED)
async def test_a_file_that_is_not_what_it_says_is_never_sent(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    first, second = Kitchen(tmp_path), Kitchen(tmp_path)
    first.size = second.size = MANY
    await first.get()
    (file,) = first.kept()
    whole = file.read_bytes()
    file.write_bytes(spoil(whole))
    assert file.read_bytes() != whole
    found = await second.get()
    assert (second.rendered, len(found)) == (1, len(BASE) + len("/acme/pad is mine ") + MANY)
    assert await second.get() == found


async def test_a_file_that_was_good_is_looked_at_again(kitchen: Kitchen) -> None:
    """Not hashed again, for only a crash of the machine spoils it, and no worker survives that."""
    kitchen.size = MANY
    whole = [await kitchen.get() for _ in range(2)][-1]
    await kitchen.files.close()
    assert await kitchen.get() == whole
    await kitchen.files.close()
    (file,) = kitchen.kept()
    file.write_bytes(cut(file.read_bytes()))
    assert len(await kitchen.get()) == len(whole)
    assert kitchen.rendered == 2


async def test_what_is_larger_than_all_room_puts_nothing_out(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, limit=2 * MANY)
    for size in (MANY, 3 * MANY):
        kitchen.size = size
        await kitchen.get(replace(KEY, package_id=size))
    assert [file.stat().st_size < 2 * MANY for file in kitchen.kept()] == [True]


async def test_the_directory_may_vanish(kitchen: Kitchen) -> None:
    kitchen.size = MANY
    before = await kitchen.get()
    await kitchen.get()
    for file in kitchen.kept():
        file.unlink()
    kitchen.directory.rmdir()
    after = await kitchen.get()
    assert (before != after, kitchen.rendered) == (True, 2)
    assert await kitchen.get() == after
    assert len(kitchen.kept()) == 1


async def test_who_reads_a_file_reads_it_to_its_end(kitchen: Kitchen) -> None:
    kitchen.size = MANY
    whole = await kitchen.get()
    reading = await kitchen.document()
    assert reading.file is not None
    for file in kitchen.kept():
        file.unlink()
    await kitchen.files.close()
    assert body(reading) == whole


async def test_where_nothing_can_be_kept_all_is_rendered(tmp_path: Path) -> None:
    blocked = tmp_path / "documents"
    blocked.write_bytes(b"")
    none, full = tmp_path / "none", tmp_path / "full"
    for kitchen in (Kitchen(blocked), Kitchen(none, limit=0), Kitchen(full, room=MANY)):
        kitchen.size = MANY
        assert await kitchen.get() != await kitchen.get()
        assert kitchen.rendered == 2
        kitchen.size = 100
        assert await kitchen.get(replace(KEY, kind="x")) == await kitchen.get(
            replace(KEY, kind="x")
        )


async def test_the_least_used_go_when_there_are_too_many(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, limit=3 * MANY)
    kitchen.size = MANY
    keys = [replace(KEY, package_id=number) for number in range(5)]
    for age, key in enumerate(keys[:3]):
        await kitchen.get(key)
        (newest,) = [file for file in kitchen.kept() if file.stat().st_mtime > 1_000_000]
        os.utime(newest, (age, age))
    for key in keys[3:]:
        await kitchen.get(key)
    assert sum(file.stat().st_size for file in kitchen.kept()) <= 3 * MANY


async def test_what_is_read_counts_as_used(kitchen: Kitchen) -> None:
    kitchen.size = MANY
    await kitchen.get()
    (file,) = kitchen.kept()
    os.utime(file, (1, 1))
    await kitchen.get()
    async with asyncio.timeout(30):
        while file.stat().st_mtime < 1000:  # noqa: ASYNC110 - a thread does it; it sets no event
            await asyncio.sleep(0.01)


def test_drafts_of_the_killed_go_and_those_being_written_stay(tmp_path: Path) -> None:
    for name, age in ((f"{DRAFT}old", STALE_SECONDS + 1), (f"{DRAFT}new", 1), ("kept", 10**6)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (10**7 - age, 10**7 - age))
    sweep(tmp_path, 100, 10**7)
    assert {file.name for file in tmp_path.iterdir()} == {f"{DRAFT}new", "kept"}
    sweep(tmp_path, 0, 10**7)
    assert {file.name for file in tmp_path.iterdir()} == {f"{DRAFT}new"}
    sweep(tmp_path / "nothing", 0, 10**7)


async def test_nobody_else_reads_the_files(kitchen: Kitchen) -> None:
    kitchen.size = MANY
    await kitchen.get()
    (file,) = kitchen.kept()
    assert file.stat().st_mode & 0o777 == 0o600
    assert kitchen.directory.stat().st_mode & 0o777 == 0o700


async def test_memory_is_bounded(kitchen: Kitchen) -> None:
    kitchen.size = 30_000
    for number in range(1000):
        await kitchen.get(replace(KEY, package_id=number))
    assert kitchen.rendered == 1000
    await kitchen.get(replace(KEY, package_id=999))
    assert kitchen.rendered == 1000
    await kitchen.get(replace(KEY, package_id=0))
    assert kitchen.rendered == 1001
    assert kitchen.kept() == []


def answer(document: Document, **headers: str) -> Response:
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond(document, asked, "application/json", public=True)


SENT = Document("tag", b"plain", b"zipped")


def test_the_form_is_chosen_and_each_has_its_tag() -> None:
    plain, zipped = answer(SENT), answer(SENT, accept_encoding="br, gzip;q=0.5")
    assert (plain.body, plain.headers["etag"]) == (b"plain", '"tag"')
    assert "content-encoding" not in plain.headers
    assert (zipped.body, zipped.headers["etag"]) == (b"zipped", '"tag-gzip"')
    assert zipped.headers["content-encoding"] == "gzip"
    assert answer(Document("tag", b"plain", None), accept_encoding="gzip").body == b"plain"
    for response in (plain, zipped):
        assert response.headers["vary"] == "Accept, Accept-Encoding, Authorization"
        assert response.headers["cache-control"] == "public, no-cache"
        assert response.headers["content-type"] == "application/json"
    private = respond(SENT, {}, "text/plain", public=False)
    assert private.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("tag", ['"tag"', '"tag-gzip"', 'W/"tag"', '"x", "tag-gzip"', "*"])
def test_who_has_it_is_told_so(encoding: str, tag: str) -> None:
    response = answer(SENT, if_none_match=tag, accept_encoding=encoding)
    assert (response.status_code, response.body) == (304, b"")
    assert response.headers["etag"] in ('"tag"', '"tag-gzip"')
    if "tag" in tag:
        assert response.headers["etag"] in tag, "the one he has, not the one he would get"
    assert answer(SENT, if_none_match='"other"').status_code == 200


@pytest.fixture
def routes(world: World) -> GenericRoutes:
    return GenericRoutes(world.services)


@pytest.fixture
async def app(world: World, routes: GenericRoutes) -> ASGIApp:
    await make_package(world, "pad", Visibility.PUBLIC)
    return build_surface(world.services, adapters=lambda *_: [routes])


DOCUMENT = "/generic/acme/pad/document"
TOUCH = "update packages set revision = revision + 1 where repository = 'acme/generic/pad'"


@pytest.mark.parametrize("size", [100, 2 * SMALL, MANY])
async def test_a_document_over_http(
    world: World, routes: GenericRoutes, app: ASGIApp, size: int
) -> None:
    routes.size = size
    client = Client(app)
    for _ in range(ENOUGH + 3):
        plain = await client.get(DOCUMENT, headers={"Accept-Encoding": "identity"})
        assert plain.status_code == 200
        assert plain.json()["url"] == "http://registry.test/generic/acme/pad/x"
        assert plain.json()["root"] == "http://registry.test/generic"
        assert plain.headers["vary"] == "Accept, Accept-Encoding, Authorization"
        assert plain.headers["cache-control"] == "public, no-cache"
    zipped = await client.get(DOCUMENT)
    assert zipped.json() == plain.json()
    assert ("content-encoding" in zipped.headers) == (size > 1024)
    looked = await client.head(DOCUMENT)
    assert (looked.content, looked.headers["etag"]) == (b"", zipped.headers["etag"])
    assert looked.headers["content-length"] == zipped.headers["content-length"]
    fresh = await client.get(DOCUMENT, headers={"If-None-Match": zipped.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")
    assert routes.rendered <= 2, "for hosts that are not known, and for this one"
    await world.services.database.execute(TOUCH)
    newer = await client.get(DOCUMENT, headers={"If-None-Match": zipped.headers["etag"]})
    assert (newer.status_code, newer.json()["revision"]) == (200, plain.json()["revision"] + 1)


async def test_what_is_not_public_is_kept_by_nobody_else(
    world: World, routes: GenericRoutes, app: ASGIApp
) -> None:
    await make_package(world, "own", Visibility.PRIVATE)
    reader = Client(app, basic("x", world.tokens["reader"]))
    response = await reader.get("/generic/acme/own/document")
    assert response.headers["cache-control"] == "private, no-cache"
    assert (await Client(app).get("/generic/acme/own/document")).status_code == 404


async def test_a_large_document_leaves_a_real_server(world: World, routes: GenericRoutes) -> None:
    await make_package(world, "pad", Visibility.PUBLIC)
    routes.size = 4_000_000
    world._surface = build_surface(world.services, adapters=lambda *_: [routes])
    async with world.served() as served:
        client = Client(None, "", served.url)
        for _ in range(ENOUGH + 3):
            response = await client.get(DOCUMENT, headers={"Accept-Encoding": "identity"})
            assert len(response.content) == int(response.headers["content-length"])
            assert response.json()["url"] == f"{served.url}/generic/acme/pad/x"
        zipped = await client.get(DOCUMENT)
        assert zipped.json() == response.json()
        assert (await client.head(DOCUMENT)).headers["etag"] == zipped.headers["etag"]
        await client.http.aclose()
    assert routes.rendered == 2
