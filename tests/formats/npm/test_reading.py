"""A version is taken as its own client published it, and refused where it says two things."""

import base64
import hashlib
import io
import json
from typing import Any

import pytest

from formats.npm.metadata import parse_publish
from formats.npm.reading import MAX_METADATA, read
from registry.packaging.format import VersionFacts
from storage.errors import Invalid
from tests.formats.archives import entry, tgz
from tests.formats.npm.packages import Odd, Real, odd, odd_one, opened, real, with_dist

PAD: dict[str, Any] = {
    "name": "@acme/pad",
    "version": "1.0.0",
    "dependencies": {"ms": "^2.1.0"},
    "scripts": {"postinstall": "node a.js"},
    "bin": {"pad": "cli.js"},
}


def packed(document: object, *more: bytes) -> bytes:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return tgz(entry("package/package.json", data), *more)


def reading(published: object, tarball: bytes, name: str = "pad-1.0.0.tgz") -> VersionFacts:
    metadata = published if isinstance(published, bytes) else json.dumps(published).encode()
    return read("@acme/pad", metadata, opened(name, tarball))


NOT_REPAIRED = {
    ("pnpm 12", "lists"): "'dependencies' is not an object",
    ("yarn 1.22", "lists"): "'dependencies' is not an object",
    ("yarn 4.18", "strings"): "version 'v1.2.3.build.7' is not valid",
}
"""What other clients repair before they publish it, and nobody could install as it is."""
ODD = [each for each in odd() if (each.client, each.package.name) not in NOT_REPAIRED]


@pytest.mark.parametrize("each", ODD, ids=lambda each: f"{each.client} {each.package.name}")
def test_what_a_client_publishes_agrees_with_what_it_packed(each: Odd) -> None:
    said = parse_publish(each.body, each.package)
    files = opened(each.package.file(said.version), each.tarball)
    facts = read(each.package.text, said.metadata, files)
    assert (facts.version, facts.metadata) == (said.version, said.metadata)
    assert said.tarball.length == len(each.tarball)
    assert facts.computed["fileCount"] > 1


@pytest.mark.parametrize(("client", "name"), NOT_REPAIRED)
def test_what_its_client_did_not_repair_is_refused(client: str, name: str) -> None:
    each = odd_one(name, client)
    with pytest.raises(Invalid, match=NOT_REPAIRED[client, name]):
        parse_publish(each.body, each.package)


SCOPED = [each for each in real() if each.name.startswith("@")]


@pytest.mark.parametrize("each", SCOPED, ids=lambda each: f"{each.client} {each.name}")
def test_known_packages_are_taken_as_they_are(each: Real) -> None:
    version = each.document["version"]
    files = opened(f"{each.name.partition('/')[2]}-{version}.tgz", each.tarball)
    facts = read(each.name, with_dist(each.metadata), files)
    assert facts.version == version
    assert facts.text.title == each.name
    assert facts.text.source.startswith("https://")


def test_they_are_more_than_thirty() -> None:
    assert len({each.name for each in real()}) > 45
    assert len({each.name for each in SCOPED}) >= 30


OTHERS: dict[str, object] = {
    "dependencies": {"ms": "^3.0.0"},
    "optionalDependencies": {"evil": "1"},
    "peerDependencies": {"react": "*"},
    "peerDependenciesMeta": {"react": {"optional": True}},
    "bundleDependencies": ["ms"],
    "bin": {"npm": "cli.js"},
    "scripts": {"postinstall": "node b.js"},
    "engines": {"node": ">=99"},
    "os": ["!linux"],
    "cpu": ["arm64"],
    "libc": ["musl"],
}


@pytest.mark.parametrize("field", OTHERS)
@pytest.mark.parametrize("hidden", ["published", "packed"])
def test_fields_that_an_installation_acts_on_say_the_same_on_both_sides(
    field: str, hidden: str
) -> None:
    other = {**PAD, field: OTHERS[field]}
    said, found = (PAD, other) if hidden == "published" else (other, PAD)
    with pytest.raises(Invalid, match=rf"in the tarball in {field}: publish"):
        reading(said, packed(found))


@pytest.mark.parametrize("field", sorted(PAD.keys() - {"name", "version"}))
def test_what_is_packed_may_not_be_left_out_of_what_is_published(field: str) -> None:
    with pytest.raises(Invalid, match=field):
        reading({key: value for key, value in PAD.items() if key != field}, packed(PAD))


SAME: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"bin": {"pad": "cli.js"}}, {"bin": "./cli.js"}),
    ({"bin": {"a.js": "bin/a.js"}}, {"bin": ["./bin/a.js"]}),
    ({"bin": {"t": "tools/t"}}, {"bin": None, "directories": {"bin": "./tools"}}),
    ({"scripts": {"install": "node-gyp rebuild"}, "gypfile": True}, {"scripts": {}}),
    ({"dependencies": {"a": "github:acme/a"}}, {"dependencies": {"a": "acme/a"}}),
    (
        {"dependencies": {"a": "git+ssh://git@gitlab.com/x/y.git#v1"}},
        {"dependencies": {"a": "git@gitlab.com:x/y#v1"}},
    ),
    (
        {"dependencies": {"ms": "2"}, "bundleDependencies": ["ms"]},
        {"dependencies": {"ms": "2"}, "bundledDependencies": True},
    ),
    (
        {"dependencies": {"ms": "2", "o": "1"}, "optionalDependencies": {"o": "1"}},
        {"dependencies": {"ms": "2"}, "optionalDependencies": {"o": "1"}},
    ),
    (
        {"dependencies": {"ms": "*"}, "bundleDependencies": ["ms"]},
        {"bundleDependencies": {"ms": "2"}},
    ),
    ({"os": ["linux"], "engines": {}}, {"os": "linux", "engines": []}),
    ({"dependencies": {}, "scripts": {}, "bin": {}}, {"dependencies": None, "scripts": 7}),
]


@pytest.mark.parametrize(("said", "found"), SAME)
def test_spellings_of_one_thing_are_no_difference(
    said: dict[str, object], found: dict[str, object]
) -> None:
    plain = {"name": "@acme/pad", "version": "1.0.0"}
    assert reading({**plain, **said}, packed({**plain, **found})).version == "1.0.0"


NOT_SAME: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"dependencies": {"a": "evil/a"}}, {"dependencies": {"a": "github:acme/a"}}),
    ({"dependencies": {"a": "acme/a#v2"}}, {"dependencies": {"a": "acme/a#v1"}}),
    ({"dependencies": {"a": "https://evil.com/acme/a"}}, {"dependencies": {"a": "acme/a"}}),
    ({"bin": {"t": "other/t"}}, {"directories": {"bin": "./tools"}}),
    ({"bin": {"ls": "tools/t"}}, {"directories": {"bin": "./tools"}}),
    ({"scripts": {"install": "node-gyp rebuild"}}, {"scripts": {"preinstall": "x"}}),
    (
        {"scripts": {"install": "node-gyp rebuild", "preinstall": "x"}},
        {"scripts": {"preinstall": "x"}},
    ),
    ({"scripts": {}}, {"scripts": {"install": "node-gyp rebuild"}}),
    ({"optionalDependencies": {"o": "1"}}, {"dependencies": {"o": "1"}}),
]


@pytest.mark.parametrize(("said", "found"), NOT_SAME)
def test_no_spelling_hides_a_difference(said: dict[str, object], found: dict[str, object]) -> None:
    plain = {"name": "@acme/pad", "version": "1.0.0"}
    with pytest.raises(Invalid, match="differs"):
        reading({**plain, **said}, packed({**plain, **found}))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({**PAD, "name": "@acme/pad2"}, "is of '@acme/pad2', not of @acme/pad"),
        ({**PAD, "name": None}, "is of 'None'"),
        ({**PAD, "version": "1.0.1"}, "has version '1.0.1', not 1.0.0"),
        (b"[]", "package.json in the tarball is not a JSON object"),
        (b"{", "package.json in the tarball is not JSON"),
        (b"[" * 100_000, "package.json in the tarball is not JSON"),
    ],
)
def test_a_tarball_of_another_package_is_refused(found: object, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        reading(PAD, packed(found))


def test_a_package_json_is_read_as_node_reads_it() -> None:
    """With a byte order mark, and of a key that stands twice the last."""
    text = b'\xef\xbb\xbf{"name":"x","version":" =v1.0.0+build.7","name":"@acme/pad"}'
    assert reading({"name": "@acme/pad", "version": "1.0.0"}, packed(text)).version == "1.0.0"


def sri(algorithm: str, data: bytes) -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def test_hashes_that_are_the_tarballs_are_taken() -> None:
    tarball = packed(PAD)
    several = f"{sri('sha512', tarball)} {sri('sha512', b'x')}?opt {sri('sha1', tarball)}"
    dist = {"integrity": several, "shasum": hashlib.sha1(tarball).hexdigest().upper()}
    assert reading({**PAD, "dist": dist}, tarball).version == "1.0.0"


@pytest.mark.parametrize(
    ("dist", "words"),
    [
        ({"integrity": sri("sha512", b"other")}, "the tarball's sha512 is sha512-"),
        ({"integrity": sri("sha256", b"other")}, "the tarball's sha256 is"),
        ({"shasum": hashlib.sha1(b"other").hexdigest()}, "the tarball's sha1 is"),
        ({"integrity": "md5-abcd"}, "'md5-abcd' is not one: write sha512"),
        ({"integrity": "sha512-abc"}, "is not base64"),
        ({"integrity": 7}, "dist.integrity is missing, or no text"),
        ({"shasum": "zz"}, "'zz' is not a sha1"),
        ({"integrity": sri("sha1", b"x"), "shasum": "0" * 40}, "name different sha1"),
        ([], None),
        ("sha512-", "'dist' is not an object"),
    ],
)
def test_hashes_that_are_not_the_tarballs_are_refused(dist: object, words: str | None) -> None:
    if words is None:
        assert reading({**PAD, "dist": dist}, packed(PAD)).version == "1.0.0"
        return
    with pytest.raises(Invalid, match=words):
        reading({**PAD, "dist": dist}, packed(PAD))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (
            b'{"name":"@acme/pad","version":"1.0.0","version":"2.0.0"}',
            "holds the key 'version' twi",
        ),
        (b'{"name":"@acme/pad","version":"1.0.0","a":{"b":1,"b":2}}', "holds the key 'b' twice"),
        (b'{"name":"@acme/pad","version":"1.0.0","a":1e999}', "too large"),
        (b'{"name":"@acme/pad","version":"1.0.0","a":NaN}', "NaN"),
        (b'{"name":"@acme/pad","version":"1.0.0","a":"\\u0000"}', "NUL"),
        (b'{"name":"@acme/pad","version":"1.0.0","\\ud800":1}', "surrogate"),
        (b'{"name":"@acme/pad","version":"1.0.0","a":' + b"[" * 64 + b"]" * 64 + b"}", "more than"),
        (b"[" * 200_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "not a JSON object"),
        (b" " * (MAX_METADATA + 1), "larger than"),
        (b'{"version":"1.0.0"}', "'name' is missing"),
        (b'{"name":"@acme/pad"}', "'version' is missing"),
        (b'{"name":"@acme/pad","version":"v1.0.0"}', "version 'v1.0.0' is not valid"),
        (b'{"name":"@acme/other","version":"1.0.0"}', "calls itself '@acme/other@1.0.0'"),
        (b'{"name":"@acme/pad","version":"1.0.0","_id":"x"}', "another _id"),
        (b'{"name":"@acme/pad","version":"1.0.0","dependencies":["a"]}', "'dependencies' is not"),
        (b'{"name":"@acme/pad","version":"1.0.0","peerDependencies":{"a":1}}', "'peerDepende"),
    ],
)
def test_metadata_that_parsers_could_read_differently_is_refused(
    metadata: bytes, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        reading(metadata, packed(PAD))


@pytest.mark.parametrize("names", [[], ["pad-1.0.1.tgz"], ["pad-1.0.0.tgz", "x.tgz"]])
def test_a_version_is_one_file_under_its_own_name(names: list[str]) -> None:
    files = {name: io.BytesIO(packed(PAD)) for name in names}
    with pytest.raises(Invalid, match=r"a version has one file, pad-1\.0\.0\.tgz"):
        read("@acme/pad", json.dumps(PAD).encode(), files)


def test_what_is_found_in_the_tarball_is_kept() -> None:
    plain = {"name": "@acme/pad", "version": "1.0.0"}
    more = entry("package/npm-shrinkwrap.json", b"{}"), entry("package/binding.gyp", b"{}")
    assert reading(plain, packed(plain, *more)).computed == {
        "fileCount": 3,
        "unpackedSize": len(json.dumps(plain)) + 4,
        "hasInstallScript": True,
        "_hasShrinkwrap": True,
    }
    plain["gypfile"] = False  # type: ignore[assignment]
    assert "hasInstallScript" not in reading(plain, packed(plain, *more)).computed


def test_the_texts_of_a_package_are_for_people() -> None:
    said = {
        "name": "@acme/pad",
        "version": "1.0.0",
        "description": "Pads\x1b[2J\nstrings",
        "licenses": [{"type": "MIT"}, "ISC", 7],
        "repository": {"type": "git", "url": "git+ssh://git:secret@github.com/acme/pad.git#main"},
    }
    text = reading(said, packed(said)).text
    assert (text.title, text.licenses) == ("@acme/pad", "MIT OR ISC")
    assert text.source == "https://github.com/acme/pad"
    assert text.description == "Pads [2J strings"
