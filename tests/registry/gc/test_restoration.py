"""What was deleted comes back as one, unless something took its place; or ends at once."""

from collections.abc import Awaitable, Callable

import pytest

from auth.audit import OPERATOR
from registry.app import FORMATS
from registry.package_deletion import HIDE_PACKAGE, delete_package
from registry.purging import Purging
from registry.restoration import Restoration
from registry.undoing import Undoing
from registry.watched import WatchedDatabase
from storage.database import Database, T, Work
from storage.digest import Digest
from storage.errors import Conflict, NotFound
from tests.registry.gc.depot import APP, DAY, Depot, image, index

MONTH = 30 * DAY


async def restore(depot: Depot, deletion: int) -> tuple[int, int, dict[str, str]]:
    restored = await depot.services.restoration.restore(OPERATOR, APP, deletion)
    return restored.manifests, restored.tags, restored.conflicts


async def test_an_index_comes_back_with_children_signature_tags_and_bytes(depot: Depot) -> None:
    await depot.push_image(b"amd64", tag="")
    await depot.push_image(b"arm64", tag="")
    top = index([image([b"amd64"]), image([b"arm64"])])
    digest = await depot.push(top, "v1", "latest")
    signature = f"sha256-{digest.hex}.sig"
    await depot.push(image([b"amd64"], subject=top), signature)
    deletion = await depot.delete(digest)
    assert not await depot.has_blob(Digest.of(b"amd64"))
    depot.clock.advance(MONTH - 1)
    await depot.gc()
    assert await restore(depot, deletion) == (4, 3, {})
    assert await depot.read("latest") == top
    assert await depot.has(signature)
    assert await depot.read_blob(Digest.of(b"arm64")) == b"arm64"
    assert await depot.count("deletions") == 0
    depot.clock.advance(MONTH)
    await depot.gc()
    assert await depot.read("v1") == top


async def test_a_tag_that_exists_again_is_left_alone_and_reported(depot: Depot) -> None:
    await depot.push_image(b"old")
    deletion = await depot.delete("v1")
    new = await depot.push_image(b"new")
    manifests, tags, conflicts = await restore(depot, deletion)
    assert (manifests, tags) == (0, 0)
    assert conflicts == {"v1": f"it exists again and names {new}"}
    assert await depot.read("v1") == image([b"new"])
    assert await depot.services.restoration.list(APP) == []


async def test_a_tag_that_names_the_same_again_is_no_conflict(depot: Depot) -> None:
    await depot.push_image(b"layer")
    deletion = await depot.delete("v1")
    await depot.push_image(b"layer")
    assert await restore(depot, deletion) == (0, 0, {})


async def test_a_tag_waits_for_the_deletion_that_hid_its_manifest(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    of_tag = await depot.delete("v1")
    of_manifest = await depot.delete(digest)
    reason = f"its manifest was deleted too: restore deletion {of_manifest} first"
    assert await restore(depot, of_tag) == (0, 0, {"v1": reason})
    assert await restore(depot, of_manifest) == (1, 0, {})
    assert await restore(depot, of_tag) == (0, 1, {})
    assert await depot.has("v1")


async def test_a_child_that_was_deleted_again_comes_back_with_its_index(depot: Depot) -> None:
    child = image([], note="child")
    await depot.push(child)
    top = index([child])
    of_index = await depot.delete(await depot.push(top, "v1"))
    await depot.push(child)
    of_child = await depot.delete(Digest.of(child))
    assert await restore(depot, of_index) == (2, 1, {})
    assert await depot.has(Digest.of(child))
    assert await restore(depot, of_child) == (0, 0, {})


async def test_a_manifest_pushed_again_belongs_to_no_deletion(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    deletion = await depot.delete(digest)
    await depot.push_image(b"layer", tag="v2")
    assert await restore(depot, deletion) == (0, 1, {})
    assert await depot.read("v1") == await depot.read("v2")


async def test_what_cannot_be_restored_says_why(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    deletion = await depot.delete(digest)
    await depot.push_image(b"other", repository="admin/other")
    with pytest.raises(NotFound, match="has no deletion 77"):
        await restore(depot, 77)
    with pytest.raises(NotFound, match="has no deletion"):
        await depot.services.restoration.restore(OPERATOR, "admin/other", deletion)
    with pytest.raises(NotFound, match="no package"):
        await depot.services.restoration.restore(OPERATOR, "admin/nothing", deletion)
    depot.clock.advance(MONTH + 1)
    with pytest.raises(Conflict, match="its time is up"):
        await restore(depot, deletion)
    await depot.gc()
    with pytest.raises(NotFound):
        await restore(depot, deletion)


async def test_a_purge_ends_the_window_at_once(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    deletion = await depot.delete(digest)
    await depot.services.restoration.purge(OPERATOR, APP, deletion)
    with pytest.raises(NotFound):
        await restore(depot, deletion)
    assert await depot.services.restoration.list(APP) == []
    assert await depot.count("manifest_contents") == 0
    assert await depot.gc() == {}


async def test_a_purge_of_a_tag_leaves_its_manifest(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    await depot.services.restoration.purge(OPERATOR, APP, await depot.delete("v1"))
    assert await depot.services.restoration.list(APP) == []
    assert await depot.has(digest)


async def test_a_package_is_deleted_and_restored_as_one(depot: Depot) -> None:
    await depot.push_image(b"one", tag="v1")
    await depot.push_image(b"two", tag="v2")
    await depot.push_blob(b"never named")
    await depot.push_image(b"two", repository="admin/other")
    deleted = await depot.services.packages.delete(depot.who, APP)
    assert (deleted.manifests, deleted.tags, deleted.complete) == (2, 2, True)
    assert not await depot.has("v1")
    assert not await depot.has_blob(Digest.of(b"never named"))
    with pytest.raises(NotFound, match="deleted already"):
        await depot.services.packages.delete(OPERATOR, APP)
    (listed,) = await depot.services.restoration.list(APP)
    assert (listed.reason, listed.deleted_by, listed.manifests) == ("package", "admin", 2)
    depot.clock.advance(MONTH - 1)
    await depot.gc()
    assert await restore(depot, deleted.id) == (2, 2, {})
    assert await depot.read("v2") == image([b"two"])
    assert await depot.read_blob(Digest.of(b"one")) == b"one"


async def test_a_package_of_more_than_a_chunk_is_deleted_restored_and_purged(
    depot: Depot,
) -> None:
    images = [image([], note=str(number)) for number in range(5)]
    for number, data in enumerate(images):
        await depot.push(data, f"v{number}")
    await depot.database.execute(
        "insert into manifest_contents (digest, size, bytes) "
        "select 'sha256:' || value, 1, $2 from json_each(cast($1 as text)) where 1 = 1",
        str(list(range(1200))),
        b"x",
    )
    await depot.database.execute(
        "insert into manifests (repository_id, content_id, media_type, created_at) "
        "select p.id, c.id, 'x', 0 from packages p, manifest_contents c where c.size = 1"
    )
    await depot.database.execute(
        "insert into tags (repository_id, name, manifest_id, created_at, updated_at) "
        "select repository_id, 'n' || id, id, 0, 0 from manifests where media_type = 'x'"
    )
    deleted = await depot.services.packages.delete(OPERATOR, APP)
    assert (deleted.manifests, deleted.tags) == (1205, 1205)
    assert await restore(depot, deleted.id) == (1205, 1205, {})
    again = await depot.services.packages.delete(OPERATOR, APP)
    await depot.services.restoration.purge(OPERATOR, APP, again.id)
    for table in ("manifests", "manifest_contents", "tags", "deleted_tags", "deletions"):
        assert await depot.count(table) == 0, table


async def test_a_push_brings_a_deleted_package_back_without_what_was_deleted(
    depot: Depot,
) -> None:
    old = await depot.push_image(b"old", tag="v1")
    deleted = await depot.services.packages.delete(OPERATOR, APP)
    await depot.push_image(b"new", tag="v1")
    assert await depot.read("v1") == image([b"new"])
    assert not await depot.has(old)
    assert not await depot.has_blob(Digest.of(b"old"))
    manifests, tags, conflicts = await restore(depot, deleted.id)
    assert (manifests, tags, list(conflicts)) == (1, 0, ["v1"])
    assert await depot.has(old)


async def test_a_push_in_the_middle_ends_the_deletion_where_it_stands(depot: Depot) -> None:
    await depot.push_image(b"old", tag="v1")
    transactions = 0

    async def write(work: Work[object]) -> object:
        nonlocal transactions
        transactions += 1
        if transactions == 3:
            await depot.push_image(b"new", tag="v2")
        return await depot.database.write(work)

    (package,) = (await depot.rows("packages"))["packages"]
    deleted = await delete_package(write, OPERATOR, int(str(package[0])), depot.clock())
    assert not deleted.complete
    assert (deleted.manifests, deleted.tags) == (0, 1)
    assert await depot.has("v2")
    assert await restore(depot, deleted.id) == (0, 1, {})
    assert await depot.has("v1")


async def test_parts_of_a_deleted_package_wait_for_the_package(depot: Depot) -> None:
    digest = await depot.push_image(b"layer")
    part = await depot.delete(digest)
    whole = (await depot.services.packages.delete(OPERATOR, APP)).id
    with pytest.raises(Conflict, match=f"restore deletion {whole} first"):
        await restore(depot, part)
    await restore(depot, whole)
    assert not await depot.has("v1")
    await restore(depot, part)
    assert await depot.has("v1")


async def test_a_package_whose_deletions_are_all_purged_keeps_its_name(depot: Depot) -> None:
    await depot.push_image(b"layer")
    await depot.delete("v1")
    await depot.services.packages.delete(OPERATOR, APP)
    for deletion in await depot.services.restoration.list(APP):
        await depot.services.restoration.purge(OPERATOR, APP, deletion.id)
    await depot.gc()
    (package,) = (await depot.rows("packages"))["packages"]
    assert package[2] is not None, "the name stays taken"
    assert package[3] is None
    await depot.push_image(b"layer")
    assert await depot.has("v1")


async def test_deletion_restoration_and_purge_are_events(depot: Depot) -> None:
    await depot.push_image(b"layer")
    deleted = await depot.services.packages.delete(OPERATOR, APP)
    await depot.services.restoration.restore(OPERATOR, APP, deleted.id)
    deleted = await depot.services.packages.delete(OPERATOR, APP)
    await depot.services.restoration.purge(OPERATOR, APP, deleted.id)
    kinds = [row[1] for row in (await depot.rows("events"))["events"]]
    assert kinds[-4:] == ["package.delete", "deletion.restore", "package.delete", "deletion.purge"]


async def test_every_write_to_a_package_tells_caches(depot: Depot) -> None:
    """`revision` is what cached documents are keyed by."""

    async def revision() -> int:
        return int(str((await depot.rows("packages"))["packages"][0][1]))

    await depot.push_image(b"layer")
    before = await revision()
    deleted = await depot.services.packages.delete(OPERATOR, APP)
    hidden = await revision()
    await depot.services.restoration.restore(OPERATOR, APP, deleted.id)
    assert before < hidden < await revision()
    assert "revision = revision + 1" in HIDE_PACKAGE


class Interrupted(Exception):
    """A process that died after its first transaction."""


class Between(WatchedDatabase):
    """A database on which a deletion that was under way goes on before a restoration's end."""

    def __init__(self, inner: Database, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self._meanwhile = meanwhile

    async def write(self, work: Work[T]) -> T:
        if getattr(work, "__name__", "") == Undoing.finish.__name__:
            await self._meanwhile()
        return await super().write(work)


async def test_a_package_restored_while_it_is_being_deleted_is_whole(depot: Depot) -> None:
    await depot.push_image(b"layer")
    services, at = depot.services, depot.clock()
    package_id = (await services.packages.get(APP))["id"]
    began = False

    async def once(work: Work[T]) -> T:
        nonlocal began
        if began:
            raise Interrupted
        began = True
        return await services.database.write(work)

    async def go_on() -> None:
        await delete_package(services.database.write, OPERATOR, package_id, at)

    with pytest.raises(Interrupted):
        await delete_package(once, OPERATOR, package_id, at)
    (deletion,) = await services.restoration.list(APP)
    between = Between(services.database, go_on)
    purging = Purging(services.collector, services.leases)
    restoration = Restoration(between, purging, FORMATS, depot.clock)
    restored = await restoration.restore(OPERATOR, APP, deletion.id)
    assert (restored.manifests, restored.tags, restored.conflicts) == (1, 1, {})
    assert await depot.read("v1") == image([b"layer"])
    assert await services.restoration.list(APP) == []
