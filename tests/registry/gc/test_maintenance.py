"""The commands, as a person and a script use them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from registry import cli
from registry.config import Config
from registry.gc import LEASE
from registry.maintenance import collect_all
from registry.manifest_push import UPSERT_TAG
from registry.startup import prepare_database
from storage import migrations
from storage.clock import now
from storage.connect import open_database
from storage.database import Database, Transaction
from storage.digest import Digest
from storage.errors import Conflict
from tests.registry.gc.depot import APP, DAY, Depot, SetClock, image, purge_behind_another

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the data of this test: its status, what it printed, what it said."""
    prepare_database(Config(data=str(tmp_path)))

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main([*words, "--data", str(tmp_path)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def given(run: Run, tmp_path: Path) -> Callable[..., Any]:
    """Do something with the same data, some days ago."""

    def given(work: Callable[[Depot], Awaitable[Any]], days: float = 0) -> Any:
        async def main() -> Any:
            async with await open_database("", tmp_path) as database:
                clock = SetClock()
                clock.at = now()
                clock.advance(-days * DAY)
                depot = Depot(database, tmp_path, clock)
                try:
                    await depot.enter()
                    return await work(depot)
                finally:
                    await depot.close()

        return asyncio.run(main())

    return given


def test_gc_says_what_it_would_do_and_then_does_it(run: Run, given: Callable[..., Any]) -> None:
    layer = given(lambda depot: depot.push_blob(b"layer"), 2)
    status, out, _ = run("gc", "--dry-run")
    assert status == 0
    kind, repository, name, why = out.strip().split("\t")
    assert (kind, repository, name) == ("link", APP, layer)
    assert why.startswith("no manifest has named it here since 20")
    assert run("gc", "--dry-run")[1] == out, "nothing changed"
    status, out, said = run("gc", "--json")
    assert (status, json.loads(out)) == (0, {"removed": {"links": 1}})
    assert said == "gc removed 1 links\n"
    assert run("gc", "--dry-run", "--json") == (0, "[]\n", "")


def test_gc_takes_the_lease_from_a_server_that_holds_it(
    run: Run, given: Callable[..., Any]
) -> None:
    given(lambda depot: depot.term())
    assert run("gc")[0] == 0


async def test_gc_that_another_gc_takes_over_ends_in_order(
    database: Database, tmp_path: Path
) -> None:
    await database.migrate(migrations.load())
    clock = SetClock()
    depot = Depot(database, tmp_path, clock)
    await depot.populate()
    await depot.push_blob(b"layer")
    clock.advance(2 * DAY)
    term = await depot.term()
    assert await depot.services.leases.acquire(LEASE, 300, steal=True)
    with pytest.raises(Conflict, match="has taken over"):
        await collect_all(depot.services, term)
    await depot.close()


def test_package_show_knows_more_tags_than_a_page_holds(
    run: Run, given: Callable[..., Any]
) -> None:
    tags = [f"t{number:04}" for number in range(1001)]

    async def fill(depot: Depot) -> None:
        await depot.push_image(b"layer", tag=tags[0])
        row = await depot.database.fetch_one("select repository_id, manifest_id from tags")

        async def work(tx: Transaction) -> None:
            for tag in tags[1:]:
                await tx.execute(UPSERT_TAG, row["repository_id"], tag, row["manifest_id"], 1, None)

        await depot.database.write(work)

    given(fill)
    lines = run("package", "show", APP)[1].splitlines()
    assert [line.split("\t")[1] for line in lines] == [APP, *tags]
    shown = json.loads(run("package", "show", APP, "--json")[1])
    assert [tag["tag"] for tag in shown["tags"]] == tags


def test_why_prints_a_sentence_for_each_holder(run: Run, given: Callable[..., Any]) -> None:
    digest = given(lambda depot: depot.push_image(b"layer"))
    layer = Digest.of(b"layer")
    status, out, _ = run("why", layer)
    assert status == 0
    text = f"manifest {digest} of {APP} names it: live, tagged v1"
    assert out.splitlines()[-1].split("\t") == ["manifest", APP, digest, text, ""]
    status, out, _ = run("why", layer, "--json")
    assert json.loads(out)["facts"][-1]["name"] == digest
    assert run("why", Digest.of(b"?"))[0] == 1
    assert run("why", "v1")[0] == 2


def test_a_tag_and_a_manifest_are_deleted_and_restored(run: Run, given: Callable[..., Any]) -> None:
    digest = given(lambda depot: depot.push_image(b"layer"))
    assert run("package", "delete", APP, "--tag", "v1")[0] == 0
    assert run("package", "delete", APP, "--digest", digest)[0] == 0
    status, out, _ = run("package", "deletions", APP, "--json")
    of_tag, of_manifest = json.loads(out)
    assert (of_tag["what"], of_tag["tags"], of_tag["by"]) == ("tag", 1, "admin")
    assert (of_manifest["what"], of_manifest["manifests"]) == ("manifest", 1)
    assert len(run("package", "deletions", APP)[1].splitlines()) == 2
    status, _, said = run("package", "restore", APP, "--deletion", str(of_tag["deletion"]))
    assert status == 1
    assert "tag v1 was left alone: its manifest was deleted too" in said
    for deletion in (of_manifest, of_tag):
        number = str(deletion["deletion"])
        assert run("package", "restore", APP, "--deletion", number)[0] == 0
    assert given(lambda depot: depot.read("v1")) == image([b"layer"])


def test_a_package_is_deleted_restored_and_purged(run: Run, given: Callable[..., Any]) -> None:
    given(lambda depot: depot.push_image(b"layer"))
    assert run("package", "restore", APP)[0] == 1
    assert run("package", "purge", APP)[0] == 1
    status, _, said = run("package", "delete", APP)
    assert status == 0
    assert said.startswith(f"{APP} deleted: 1 manifests, 1 tags")
    assert run("package", "list")[1] == ""
    assert run("package", "delete", APP)[0] == 1
    assert run("package", "restore", APP)[0] == 0
    assert given(lambda depot: depot.has("v1"))
    run("package", "delete", APP)
    status, _, said = run("package", "purge", APP)
    assert (status, said.splitlines()[-1]) == (
        0,
        "1 deletions purged: no bytes are left that they alone held",
    )
    assert run("package", "deletions", APP)[1] == ""
    assert given(_objects) == []
    assert json.loads(run("gc", "--json")[1]) == {"removed": {}}
    assert run("package", "restore", APP)[0] == 1


async def _objects(depot: Depot) -> list[str]:
    return depot.objects()


def test_a_purge_ends_well_where_one_that_died_goes_along(
    run: Run, given: Callable[..., Any]
) -> None:
    async def leave_one_marked(depot: Depot) -> None:
        deletions = [
            await depot.delete(await depot.push_image(b"layer %d" % number, tag=""))
            for number in (1, 2)
        ]
        await purge_behind_another(depot, deletions[1])

    given(leave_one_marked)
    assert run("package", "delete", APP)[0] == 0
    assert run("package", "purge", APP)[0] == 0
    assert run("package", "deletions", APP)[1] == ""
    assert given(_objects) == []


@pytest.mark.parametrize("action", ["delete", "restore", "purge", "deletions"])
def test_an_unknown_package_is_an_error(run: Run, action: str) -> None:
    status, out, said = run("package", action, "admin/nothing")
    assert (status, out) == (1, "")
    assert said == "packhouse: there is no package admin/nothing\n"


def test_a_deletion_names_one_part_at_most(run: Run) -> None:
    with pytest.raises(SystemExit) as raised:
        run("package", "delete", APP, "--tag", "v1", "--digest", Digest.of(b""))
    assert raised.value.code == 2
