"""npm's tarballs: those of real clients are read, what two readers see differently is refused."""

import base64
import gzip
import io
import json
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.npm.tarball import MAX_README, Inspection, inspect
from storage.errors import Invalid
from tests.formats.archives import EOF, entry, pax, tgz

RECORDED = Path(__file__).parent / "recorded"
JSON = b'{"name":"@acme/pad","version":"1.0.0"}'
PACKAGE_JSON = entry("package/package.json", JSON)


def read(*parts: bytes) -> Inspection:
    return inspect(io.BytesIO(tgz(*parts)))


def refused(data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        inspect(io.BytesIO(data))


@pytest.mark.parametrize("client", ["npm-11", "pnpm-12", "yarn-1", "yarn-4"])
def test_what_clients_pack_is_read(client: str) -> None:
    """Recorded of one folder: a README, a shrinkwrap, a long name and one beyond ASCII."""
    body = json.loads((RECORDED / f"{client}.json").read_text("utf-8"))
    packed = base64.b64decode(body["_attachments"]["@acme/pad-1.0.0.tgz"]["data"])
    found = inspect(io.BytesIO(packed))
    assert json.loads(found.package_json)["name"] == "@acme/pad"
    assert found.readme == b"# pad\n"
    assert found.has_shrinkwrap
    assert not found.has_install_script
    assert found.file_count == 6
    assert found.unpacked_size == len(found.package_json) + 118


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_are_read_in_both_dialects(style: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=style) as tar:
        for name in ("pad/package.json", "pad/" + "ä" * 120, "pad/" + "d/" * 200 + "x"):
            info = tarfile.TarInfo(name)
            info.size = len(JSON)
            tar.addfile(info, io.BytesIO(JSON))
    assert inspect(packed).file_count == 3


@pytest.mark.parametrize("style", ["posix", "gnu", "ustar", "v7", "oldgnu"])
def test_what_gnu_tar_packs_is_read(style: str, tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("there is no tar")
    (tmp_path / "pad" / "lib").mkdir(parents=True)
    (tmp_path / "pad" / "package.json").write_bytes(JSON)
    (tmp_path / "pad" / "lib" / "index.js").write_bytes(b"1")
    command = [tar, f"--format={style}", "-czf", "pad.tgz", "pad"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with (tmp_path / "pad.tgz").open("rb") as file:
        found = inspect(file)
    assert (found.file_count, found.unpacked_size) == (2, len(JSON) + 1)


def test_the_same_file_may_come_by_two_spellings_of_its_path() -> None:
    """As rollup's plugins are published, with a bundle in two lists of files."""
    twice = entry("package/./dist/index.js", b"x" * 700), entry("package/dist/index.js", b"x" * 700)
    assert read(PACKAGE_JSON, *twice, entry("package/dist/more.js", b"y")).file_count == 4


def test_the_root_may_have_any_name_and_each_file_its_own() -> None:
    found = read(entry("one/package.json", JSON), entry("two/index.js", b"x"), entry("./x", b""))
    assert (found.package_json, found.file_count) == (JSON, 3)


def test_a_name_is_the_same_with_dots_and_slashes_that_mean_nothing() -> None:
    """Bundlers in use write 'package/./dist/index.js'."""
    found = read(entry("package/./package.json", JSON), entry("package//./lib//index.js", b""))
    assert (found.package_json, found.file_count) == (JSON, 2)
    for name in ("package/./package.json", "package//package.json", "package/././/package.json"):
        refused(tgz(PACKAGE_JSON, entry(name, JSON)), "twice")
        refused(tgz(entry(name, JSON), PACKAGE_JSON), "twice")


def test_only_the_roots_package_json_counts() -> None:
    nested = entry("package/node_modules/x/package.json", b"{}")
    found = read(nested, PACKAGE_JSON, entry("package/lib/Package.json", b"{}"))
    assert found.package_json == JSON


def test_what_is_said_of_the_root() -> None:
    found = read(
        entry("package/README", b"plain"),
        entry("package/docs/README.md", b"not this"),
        entry("package/Readme.md", b"#" * (MAX_README + 1)),
        entry("package/README.txt", b"nor this"),
        entry("package/binding.gyp", b"{}"),
        PACKAGE_JSON,
    )
    assert found.readme == b"#" * MAX_README
    assert found.has_install_script
    assert not found.has_shrinkwrap
    assert read(PACKAGE_JSON).readme is None


def test_an_archive_without_an_end_mark_is_whole_when_its_gzip_is() -> None:
    assert inspect(io.BytesIO(gzip.compress(PACKAGE_JSON))).file_count == 1
    assert inspect(io.BytesIO(gzip.compress(PACKAGE_JSON + bytes(20 * 512)))).file_count == 1


def test_a_file_is_read_from_its_beginning_wherever_it_stands() -> None:
    file = io.BytesIO(tgz(PACKAGE_JSON))
    file.seek(0, 2)
    assert inspect(file) == inspect(file)


HOSTILE_NAMES = [
    "/package/package.json",
    "../package.json",
    "package/../../etc/passwd",
    "package/..",
    "C:/package.json",
    "package\\package.json",
    "package/..\\..\\x",
    "",
    "/",
    "..",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("way", ["header", "pax", "gnu"])
def test_names_that_lead_out_or_are_read_in_two_ways_are_refused(name: str, way: str) -> None:
    if way == "pax":
        parts = (pax({"path": name}), entry("package/x", b""))
    elif way == "gnu":
        parts = (entry("././@LongLink", name.encode() + b"\0", b"L"), entry("package/x", b""))
    else:
        parts = (entry(name, b""),)
    refused(tgz(PACKAGE_JSON, *parts), "holds the name")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([entry("package/a", b"", b"2", link="/etc/passwd")], "a symbolic link"),
        ([entry("package/a", b"", b"1", link="package/b")], "a hard link"),
        ([entry("package/a", b"", b"0", link="b")], "a file that is also a link"),
        ([entry("package/a", b"", b"3")], "a device"),
        ([entry("package/a", b"", b"4")], "a device"),
        ([entry("package/a", b"", b"6")], "a named pipe"),
        ([entry("package/a", b"", b"S")], "a sparse file"),
        ([entry("package/a", b"", b"7")], "an unknown kind"),
        ([entry("././@LongLink", b"b\0", b"K"), entry("package/a", b"")], "a link"),
        ([entry("package/a/", b"bytes", b"5")], "a directory that has bytes"),
        ([entry("package/a/", b"bytes", b"0")], "a directory that has bytes"),
        ([entry("a", b"")], "beside the package's directory"),
        ([entry("package.json", JSON)], "beside the package's directory"),
        ([PACKAGE_JSON], "twice"),
        ([entry("other/package.json", JSON)], "twice"),
        ([entry("package/a", b""), entry("package/a", b"")], "twice"),
        ([entry("package/a", b""), entry("other/a/", b"", b"5")], "twice"),
        ([entry("package/a/", b"", b"5"), entry("other/a", b"")], "twice"),
        ([entry("package/d/a", b"1"), entry("package/d/a", b"2")], "twice"),
        ([entry("package/d/a", b"1"), entry("other/./d/a", b"12")], "twice"),
        ([entry("package/d/a", b""), entry("package/d/a/", b"", b"5")], "twice"),
        ([entry("package/Package.json", JSON)], "take for package.json"),
        ([entry("package/PACKAGE.JSON", JSON)], "take for package.json"),
        ([entry("package/package.j\u017fon", JSON)], "take for package.json"),
        ([entry("package/package.json/x", JSON)], "take for package.json"),
        ([entry("package/package.json/", b"", b"5")], "take for package.json"),
        ([pax({"path": "package/a\0b"}), entry("package/a", b"")], "holds the name"),
        ([pax({"path": "package/" + "a" * 4090}), entry("package/a", b"")], "more than 4096"),
        ([entry(b"package/\xff", b"")], "not UTF-8"),
        ([pax({"size": "0"}), entry("package/a", b"bytes")], "two sizes"),
        ([pax({"size": "512"}), entry("package/a", b"")], "two sizes"),
        ([pax({"size": "-1"}), entry("package/a", b"")], "no number"),
        ([pax({"size": "1e3"}), entry("package/a", b"")], "no number"),
        ([pax({"linkpath": "b"}), entry("package/a", b"")], "read differently"),
        ([pax({"type": "File"}), entry("package/a", b"")], "read differently"),
        ([pax({"GNU.sparse.name": "b"}), entry("package/a", b"")], "read differently"),
        ([pax({"comment": "x\n30 path=package/package.json"}), entry("package/a", b"")], "read d"),
        ([pax({"path": "package/a"}, b"g")], "one name or size"),
        ([pax({"size": "9"}, b"g")], "one name or size"),
        ([pax({"path": "p/b"}), pax({"path": "p/c"}), entry("p/a", b"")], "two names"),
        ([pax({"size": "0"}), pax({"size": "0"}), entry("p/a", b"")], "two names or sizes"),
        ([entry("././@LongLink", b"p/b", b"L"), pax({"path": "p/c"}), entry("p/a", b"")], "two n"),
        ([pax({"path": "package/a"})], "cut short"),
        ([entry("PaxHeader", b"12 path=a", b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"8 path=a", b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"7 path\n", b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"-5 path=a\n", b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"999999 path=a\n", b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"12 path=a\n" * 2, b"x"), entry("p/a", b"")], "cannot be read"),
        ([entry("PaxHeader", b"10 path=a\n" * 2, b"x"), entry("p/a", b"")], "read differently"),
        ([entry("PaxHeader", b"x" * (1024 * 1024 + 1), b"x"), entry("p/a", b"")], "too large"),
        ([entry("package/a", b"", size=b"\xff" * 12)], "no number"),
        ([entry("package/a", b"", size=b"-0000000512\0")], "no number"),
        ([entry("package/a", b"", size=b"            ")], "no number"),
        ([entry("package/a", b"", size=b"\x80" + b"\xff" * 11)], "cut short"),
        ([entry("package/a", b"", size=b"77777777777\0")], "cut short"),
        ([entry("package/a", b"", magic=b"ustar\x0099")], "unknown kind"),
        ([entry("package/a", b"")[:-512] + b"x" * 512], "checksum"),
        ([entry("package/a", b"", sum_off_by=1)], "checksum"),
        ([bytes(512), entry("package/a", b"")], "goes on after the end"),
    ],
)
def test_what_readers_see_differently_is_refused(parts: list[bytes], words: str) -> None:
    refused(tgz(PACKAGE_JSON, *parts), words)


def test_a_tarball_without_a_package_json_is_refused() -> None:
    refused(tgz(entry("package/index.js", b"")), "no package/package.json")
    refused(tgz(), "no package/package.json")
    refused(tgz(entry("package/package.json", b" " * (1024 * 1024 + 1))), "larger than 1048576")


def test_what_is_no_whole_gzip_member_is_refused() -> None:
    good = tgz(PACKAGE_JSON)
    refused(b"", "cut short")
    refused(b"no gzip at all", "not gzip")
    refused(PACKAGE_JSON + EOF, "not gzip")
    refused(zlib.compress(PACKAGE_JSON), "not gzip")
    refused(gzip.compress(PACKAGE_JSON + b"\1" * 100), "cut short")
    refused(gzip.compress(PACKAGE_JSON[:520]), "cut short")
    for length in (5, 30, len(good) - 1):
        refused(good[:length], "cut short")
    refused(good + b"\0", "goes on after the end")
    refused(good + good, "goes on after the end")
    refused(good + b"garbage", "goes on after the end")
    wrong = bytearray(good)
    wrong[-8] ^= 1
    refused(bytes(wrong), "damaged")


def test_a_tarball_that_is_a_zip_archive_too_is_refused() -> None:
    """One reader sees the tar, the other a directory at the end, here of a file that is stored."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("package.json", b"{}")
    tail = entry("package/data", inner.getvalue())
    both = gzip.compress(PACKAGE_JSON + tail, compresslevel=0)
    assert zipfile.is_zipfile(io.BytesIO(both))
    refused(both, "a zip archive at the same time")
    assert inspect(io.BytesIO(gzip.compress(PACKAGE_JSON + tail))).file_count == 2


def test_a_zip_is_found_by_any_way_to_its_directory() -> None:
    directory, end = b"PK\x01\x02" + bytes(60), b"PK\x05\x06" + bytes(8)
    plain = gzip.compress(PACKAGE_JSON + entry("package/d", directory), compresslevel=0)
    by_offset = struct.pack("<II", 0, plain.index(directory))
    by_size = struct.pack("<II", len(directory), 0)
    locator = b"PK\x06\x07" + bytes(16)
    for tail in (end + by_offset, end + by_size, locator + end + b"\xff" * 8):
        both = PACKAGE_JSON + entry("package/d", directory + tail)
        refused(gzip.compress(both, compresslevel=0), "a zip archive at the same time")
    assert inspect(io.BytesIO(plain)).file_count == 2


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    zeros = io.BytesIO()
    with gzip.open(zeros, "wb", compresslevel=1) as packing:
        packing.write(PACKAGE_JSON + entry("package/zeros", b"", size=b"10000000000\0"))
        for _ in range(80):
            packing.write(bytes(1024 * 1024))
    assert zeros.tell() < 1024 * 1024
    refused(zeros.getvalue(), "more than 100 times its size")
    with pytest.raises(Invalid, match="more than 1000000 bytes"):
        inspect(zeros, most=1_000_000)


def test_a_tarball_of_very_many_files_is_refused() -> None:
    data = tgz(entry("package/", b"", b"5"), PACKAGE_JSON)
    assert inspect(io.BytesIO(data), most_entries=2).file_count == 1
    with pytest.raises(Invalid, match="too many entries"):
        inspect(io.BytesIO(data), most_entries=1)


SOUND = b"".join(
    [
        pax({"path": "package/" + "d/" * 60 + "x", "mtime": "1.5"}),
        entry("package/short", b"x" * 700),
        entry("././@LongLink", b"package/" + b"e" * 120 + b"\0", b"L"),
        entry("package/short", b""),
        entry("package/", b"", b"5"),
        PACKAGE_JSON,
        EOF,
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.binary(max_size=3)), max_size=4))
def test_a_damaged_archive_is_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SOUND)
    for at, value in changes:
        data[at : at + len(value)] = value
    for start in range(0, len(data) - 511, 512):  # so that damage is not found by the checksum
        block = data[start : start + 512]
        if block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 256
            data[start + 148 : start + 156] = b"%06o\0 " % total
    _read_or_refuse(gzip.compress(bytes(data), compresslevel=0))


@given(st.integers(0, 2**32), st.binary(max_size=6))
def test_a_damaged_gzip_is_read_or_refused(at: int, value: bytes) -> None:
    good = tgz(SOUND)
    at %= len(good)
    _read_or_refuse(good[:at] + value + good[at + len(value) :])


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _read_or_refuse(data)
    _read_or_refuse(tgz(data))


def _read_or_refuse(data: bytes) -> None:
    try:
        found = inspect(io.BytesIO(data))
    except Invalid:
        return
    assert found.package_json is not None
