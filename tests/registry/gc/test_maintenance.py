"""The commands, as a person and a script use them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from registry import cli
from registry.config import Config
from registry.startup import prepare_database
from storage.clock import now
from storage.connect import open_database
from storage.digest import Digest
from tests.registry.gc.depot import APP, DAY, Depot, SetClock, image

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
    assert run("package", "purge", APP)[0] == 0
    assert "purged" in run("package", "deletions", APP)[1]
    assert json.loads(run("gc", "--json")[1]) == {"removed": {"manifests": 1}}
    assert run("package", "restore", APP)[0] == 1


@pytest.mark.parametrize("action", ["delete", "restore", "purge", "deletions"])
def test_an_unknown_package_is_an_error(run: Run, action: str) -> None:
    status, out, said = run("package", action, "admin/nothing")
    assert (status, out) == (1, "")
    assert said == "packhouse: there is no package admin/nothing\n"


def test_a_deletion_names_one_part_at_most(run: Run) -> None:
    with pytest.raises(SystemExit) as raised:
        run("package", "delete", APP, "--tag", "v1", "--digest", Digest.of(b""))
    assert raised.value.code == 2
