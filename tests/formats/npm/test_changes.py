"""What npm means by sending a document back, and what it cannot mean."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.npm.changes import Changes, check_message, read_changes
from storage.errors import Conflict, Invalid, PackhouseError, TooLarge
from tests.formats.npm.packages import changed, shelf, shelf_document

NOTHING = Changes()
Document = dict[str, Any]


def changes(command: str, *, removing: bool = False) -> Changes:
    return read_changes(shelf(), changed(command), removing=removing)


def after(change: Callable[[Document], object], *, removing: bool = False) -> Changes:
    document = json.loads(shelf_document("http://localhost:4873"))
    change(document)
    return read_changes(shelf(), json.dumps(document).encode(), removing=removing)


def test_npm_deprecate_is_a_message_for_each_version() -> None:
    message = 'use "pad2" ä'
    assert changes("deprecate") == Changes({"1.0.0": message, "1.1.0": message})


def test_npm_undeprecate_takes_back_what_was_said() -> None:
    assert changes("undeprecate") == NOTHING  # nothing was
    now = shelf()
    first, *others = now.fragments
    deprecated = replace(first, bytes=first.bytes[:-1] + b',"deprecated":"old"}')
    before = replace(now, fragments=[deprecated, *others])
    said = changed("undeprecate")
    assert read_changes(before, said, removing=False) == Changes({"1.0.0": ""})


@pytest.mark.parametrize("command", ["star", "unchanged"])
def test_stars_are_taken_and_forgotten(command: str) -> None:
    said = shelf_document("http://other") if command == "unchanged" else changed(command)
    assert read_changes(shelf(), said, removing=False) == NOTHING


def test_npm_owner_names_all_maintainers() -> None:
    assert changes("owner", removing=True) == Changes(maintainers=("alice", "bob"))


def test_npm_unpublish_leaves_a_version_out() -> None:
    """Its tags, and where latest goes from it, are the registry's to move."""
    assert changes("unpublish", removing=True) == Changes(unpublished=("1.1.0",))
    prerelease = changes("unpublish prerelease", removing=True)
    assert prerelease == Changes(unpublished=("2.0.0-rc.1",))


def test_a_version_is_removed_only_where_that_is_asked_for() -> None:
    """A document read before another publish lacks a version, and says nothing by that."""
    with pytest.raises(Invalid, match=r"lacks version 1\.1\.0: 'npm unpublish' removes it"):
        changes("unpublish")


def test_a_document_of_another_revision_is_a_conflict() -> None:
    for before in (replace(shelf(), revision=8), replace(shelf(), revision=6)):
        with pytest.raises(Conflict, match="was changed meanwhile: do it again"):
            read_changes(before, changed("deprecate"), removing=False)


def test_tags_are_set_and_taken_away() -> None:
    moved = after(lambda it: it["dist-tags"].update(latest="1.0.0", beta="2.0.0-rc.1"))
    assert moved == Changes(tagged={"latest": "1.0.0", "beta": "2.0.0-rc.1"})
    assert after(lambda it: it["dist-tags"].pop("old")) == Changes(untagged=("old",))
    with pytest.raises(Invalid, match="'latest' cannot be taken away"):
        after(lambda it: it["dist-tags"].pop("latest"))


def version(**fields: object) -> Callable[[Document], object]:
    return lambda it: it["versions"]["1.0.0"].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (version(dependencies={"evil": "*"}), "'dependencies' of version 1.0.0 cannot be changed"),
        (version(scripts={"postinstall": "x"}), "'scripts' of version 1.0.0 cannot be"),
        (version(config={}), "'config' of version 1.0.0"),
        (version(version="3.0.0"), "'version' of version 1.0.0"),
        (lambda it: it["versions"]["1.0.0"].pop("config"), "'config' of version 1.0.0"),
        (lambda it: it["versions"]["1.0.0"]["config"].update(a="1"), "'config' of version"),
        (lambda it: it["versions"].update({"1.0.0": 7}), "version 1.0.0 is not a JSON object"),
        (lambda it: it.update(versions=[]), "'versions' is not an object"),
        (version(deprecated=True), "a deprecation is a text"),
        (version(deprecated={"a": 1}), "a deprecation is a text"),
        (version(deprecated="x" * 1025), "at most 1024"),
        (version(deprecated="a\nb"), "one line"),
        (version(deprecated="\x1b[2J"), "without control"),
        (lambda it: it.update(name="@acme/pad"), "another name"),
        (lambda it: it.update(_id="@acme/pad"), "another _id"),
        (lambda it: it.update(_rev="undefined"), "read the package again"),
        (lambda it: it.update(_rev=7), "'_rev' is no text"),
        (lambda it: it["dist-tags"].update(x="9.9.9"), "'x' names a version that is not"),
        (lambda it: it["dist-tags"].update({"1.x": "1.0.0"}), "tag '1.x' is not valid"),
        (lambda it: it["dist-tags"].update(next=[]), "'next' names a version that is not"),
        (lambda it: it.update({"dist-tags": 1}), "'dist-tags' is not an object"),
        (lambda it: it.update(maintainers={}), "'maintainers' is not a list"),
        (lambda it: it.update(maintainers=[{"email": "a"}]), "each with a name"),
    ],
)
def test_what_cannot_change_is_refused(change: Callable[[Document], object], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        after(change)


def test_a_version_that_is_not_there_is_not_published_by_naming_it() -> None:
    with pytest.raises(Invalid, match=r"version 9\.0\.0 is not published: 'npm publish' adds it"):
        after(lambda it: it["versions"].update({"9.0.0": {}}))


def test_fields_of_the_registry_are_not_compared() -> None:
    """Nor kept: a client that sends other ones changes nothing."""
    forged = version(dist={}, _npmUser={"name": "root"}, hasInstallScript=False, readme="x")
    assert after(forged) == NOTHING


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":1e999}'])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="JSON"):
        read_changes(shelf(), data, removing=False)


@pytest.mark.parametrize("value", ["[]", "{}", "1"])
def test_a_document_that_would_become_millions_of_objects_is_not_decoded(value: str) -> None:
    values = ",".join([value] * 600_000)
    with pytest.raises(TooLarge, match="values"):
        read_changes(shelf(), f'{{"x":[{values}]}}'.encode(), removing=True)


def test_messages_may_be_in_any_language() -> None:
    assert check_message("使って 👩‍🚀 pad2") == "使って 👩‍🚀 pad2"
    assert check_message(None) == check_message(False) == check_message("") == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["name", "_id", "_rev", "versions", "dist-tags", "maintainers", "users"])


@given(st.dictionaries(KEYS, JSON), st.booleans())
def test_no_document_raises_anything_but_a_refusal(odd: Document, removing: bool) -> None:
    with suppress(PackhouseError):
        read_changes(shelf(), json.dumps(odd).encode(), removing=removing)
