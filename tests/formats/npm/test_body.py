"""The body of a publish: any order, split and spelling; its tarball is never held in memory."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from formats.npm.body import MAX_TEXT, PIECE, Base64Text, PublishBody, Received
from formats.npm.body_scan import MAX_DOCUMENT
from storage.errors import Invalid, PackhouseError, TooLarge

RECORDED = Path(__file__).parent / "recorded"
CLIENTS = ["npm-11", "pnpm-12", "yarn-1", "yarn-4"]
TARBALL = b"\x1f\x8b" + bytes(range(256)) * 3
TGZ = "@acme/pad-1.0.0.tgz"
BUNDLE = (
    '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","x":"\\"\\\\ \u00e4 \U0001f600"}'
)

Kept = tuple[str, str, bytes]


async def keep(name: str, content_type: str, chunks: AsyncIterator[bytes]) -> Kept:
    return name, content_type, b"".join([chunk async for chunk in chunks])


async def each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def receive(*parts: bytes) -> Received[Kept]:
    return await PublishBody(each(parts), keep).read()


def read(*parts: bytes) -> Received[Kept]:
    return asyncio.run(receive(*parts))


def body(data: object = None, **attachment: object) -> dict[str, Any]:
    """Return a publish in npm's order."""
    encoded = base64.b64encode(TARBALL).decode() if data is None else data
    file = {"content_type": "application/octet-stream", "data": encoded, "length": len(TARBALL)}
    version = {"name": "@acme/pad", "version": "1.0.0", "_attachments": {"x": {"data": "mine"}}}
    return {
        "_id": "@acme/pad",
        "description": 'quotes " and \\ and { [ ] } , : in a text',
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": version},
        "_attachments": {TGZ: {**file, **attachment}},
    }


def dump(document: object) -> bytes:
    return json.dumps(document).encode()


def without_data(document: dict[str, Any]) -> dict[str, Any]:
    attachments = {name: {**file, "data": ""} for name, file in document["_attachments"].items()}
    return {**document, "_attachments": attachments}


def refused(data: bytes, words: str, kind: type[PackhouseError] = Invalid) -> None:
    with pytest.raises(kind, match=words):
        read(data)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_clients_send_is_split_into_its_parts(client: str) -> None:
    sent = (RECORDED / f"{client}.json").read_bytes()
    document = json.loads(sent)
    received = read(sent)
    attached = received.attached[TGZ]
    assert json.loads(received.document) == without_data(document)
    assert attached.kept is not None
    assert attached.kept[2] == base64.b64decode(document["_attachments"][TGZ]["data"])
    assert attached.size == document["_attachments"][TGZ]["length"]
    assert list(received.attached) == [TGZ]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_body_that_comes_byte_by_byte_is_the_same(client: str) -> None:
    sent = (RECORDED / f"{client}.json").read_bytes()
    assert read(*(sent[at : at + 1] for at in range(len(sent)))) == read(sent)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A publish with its keys in any order, any bytes in it, spelled in any way that is JSON."""
    data = draw(st.one_of(st.just(TARBALL), st.binary(max_size=40)))
    document = body(base64.b64encode(data).decode())
    if draw(st.booleans()):
        document["_attachments"]["@acme/pad-1.0.0.sigstore"] = {"data": BUNDLE, "length": 1}
    document["readme"] = draw(st.text(max_size=20))
    text = json.dumps(shuffled(draw, document), ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("/", "\\/")
    if draw(st.booleans()):
        text = text.replace("=", "\\u003d").replace("+", "\\u002B").replace("data", "d\\u0061ta")
    return text.encode("utf-8", "surrogatepass")


def shuffled(draw: st.DrawFn, value: object) -> object:
    if not isinstance(value, dict):
        return value
    keys = draw(st.permutations(sorted(value)))
    return {key: shuffled(draw, value[key]) for key in keys}


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(bodies(), st.lists(st.integers(0, 10_000), max_size=30))
def test_it_does_not_matter_where_a_body_is_cut(sent: bytes, places: list[int]) -> None:
    try:
        sent.decode()
    except UnicodeDecodeError:
        return
    document = json.loads(sent)
    received = read(*cut(sent, places), b"")
    assert received.attached.keys() == document["_attachments"].keys()
    for name, file in document["_attachments"].items():
        attached = received.attached[name]
        if attached.text is None:
            assert attached.kept is not None
            assert attached.kept[2] == base64.b64decode(file["data"])
            assert attached.size == len(attached.kept[2])
        else:
            assert attached.text.decode() == file["data"]
    assert json.loads(received.document) == without_data(document)


def test_a_type_is_told_where_it_came_first() -> None:
    early, late = body(), body()
    late["_attachments"][TGZ] = dict(reversed(late["_attachments"][TGZ].items()))
    assert read(dump(early)).attached[TGZ].kept == (TGZ, "application/octet-stream", TARBALL)
    assert read(dump(late)).attached[TGZ].kept == (TGZ, "", TARBALL)


def test_a_type_is_told_of_its_own_attachment_only() -> None:
    document = body()
    document["_attachments"]["b"] = {"data": ""}
    assert read(dump(document)).attached["b"].kept == ("b", "", b"")


def test_a_type_that_is_no_text_is_not_told() -> None:
    sent = b'{"_attachments":{"a":{"content_type":["image/png"],"data":"QUJD"}}}'
    for parts in ([sent], [sent[at : at + 1] for at in range(len(sent))]):
        assert read(*parts).attached["a"].kept == ("a", "", b"ABC")


def test_a_bundle_is_text_whatever_its_type_says() -> None:
    document = body(BUNDLE)
    attached = read(dump(document)).attached[TGZ]
    assert (attached.kept, attached.text) == (None, BUNDLE.encode())


def test_numbers_and_order_stay_as_they_were_written() -> None:
    sent = (
        b'{"versions":{"1.0.0":{"b":1e2,"a":1.10,"a2":1}}, "_attachments":{"a":{"data":"QUJD"}} }'
    )
    assert read(sent).document == sent.replace(b"QUJD", b"")


def test_a_body_without_attachments_is_its_document() -> None:
    for sent in (b"{}", b' {"a": [{"_attachments": {"b": {"data": "QUJD"}}}]}\n'):
        received = read(sent)
        assert (received.document, received.attached) == (sent, {})


def test_only_attachments_of_the_body_are_taken_for_such() -> None:
    sent = dump({"data": "a", "_attachments": {"data": "b", "x": ["data", {"data": "c"}], "y": 1}})
    assert read(sent).document == sent


NO_BASE64 = [
    "QUJ",
    "QUJD=",
    "Q===",
    "====",
    "QQ==QQ==",
    "QU-_",
    "ä",
    "Q",
    "=",
    "\0",
    "[1]",
    "QUJDQ",
]


@pytest.mark.parametrize("data", [*NO_BASE64, 'Q"JD', "Q\\JD", "QQ= =", "QU\nJD", " QUJD", "QUJD "])
def test_data_that_is_no_strict_base64_is_refused(data: str) -> None:
    refused(dump(body(data)), "is not base64")
    refused(json.dumps(body(data), ensure_ascii=False).encode(), "is not base64")
    with pytest.raises(Invalid, match="is not base64"):
        read(*(dump(body(data))[at : at + 1] for at in range(len(dump(body(data))))))


@pytest.mark.parametrize("escape", ["\\u00", "\\u", "\\", "\\x41", "\\uD83D", "\\u00zz"])
def test_an_escape_that_is_none_is_refused(escape: str) -> None:
    sent = dump(body("QUJDHERE")).replace(b"HERE", escape.encode())
    with pytest.raises(Invalid):
        read(sent)


def test_an_escape_that_is_none_is_refused_at_once() -> None:
    """Held until its end came, it would gather the tarball in memory."""
    decoder = Base64Text("x")
    assert decoder.decode(b"QUJD\\u00") == b"ABC"
    with pytest.raises(Invalid, match="x is not base64"):
        decoder.decode(b"zz" + b"A" * 100)


@pytest.mark.parametrize("length", [0, 1, 20, 300, -2, -1])
def test_a_body_that_is_cut_short_is_refused(length: int) -> None:
    refused(dump(body())[:length], "publish again")


async def test_a_body_that_ends_inside_its_tarball_ends_the_sink_with_an_error() -> None:
    seen = []

    async def sink(name: str, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for _ in chunks:
                pass
        except Invalid as error:
            seen.append(error.message)
            raise

    sent = dump(body())
    with pytest.raises(Invalid):
        await PublishBody(each([sent[: sent.rindex(b"data") + 100]]), sink).read()
    assert seen == ["the body ends before its JSON does: publish again"]


async def test_what_a_sink_raises_is_what_reading_raises() -> None:
    async def sink(name: str, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        async for _ in chunks:
            raise TooLarge("enough")

    with pytest.raises(TooLarge, match="enough"):
        await PublishBody(each([dump(body())]), sink).read()


async def test_a_sink_may_not_leave_its_attachment_half_read() -> None:
    async def sink(name: str, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        return None

    with pytest.raises(RuntimeError, match="did not read"):
        await PublishBody(each([dump(body())]), sink).read()


def test_attachments_are_few_and_each_is_there_once() -> None:
    twice = dump(body()).replace(b'"length"', b'"data": "QUJD", "length"')
    refused(twice, "is there twice")
    refused(b'{"_attachments":{"a":{"data":""},"\\u0061":{"data":""}}}', "is there twice")
    many = {str(n): {"data": ""} for n in range(5)}
    refused(dump({"_attachments": many}), "at most 4")


def test_a_document_is_small() -> None:
    document = {"a": "x" * (MAX_DOCUMENT - 100), "_attachments": {"t": {"data": "QUJD" * 100_000}}}
    assert len(read(dump(document)).document) < MAX_DOCUMENT
    document["a"] += "x" * 100
    refused(dump(document), "shorten its metadata", TooLarge)
    refused(dump(dict(reversed(document.items()))), "shorten its metadata", TooLarge)


@pytest.mark.parametrize(("value", "times"), [(b"1", 900), (b'{"a":[]}', 400), (b"[[[[]]]]", 200)])
async def test_a_document_holds_few_values(value: bytes, times: int) -> None:
    sent = b'{"a":[' + b",".join([value] * times) + b"]}"
    assert (await PublishBody(each([sent]), keep, 1 << 16).read()).document == sent
    with pytest.raises(TooLarge, match="at most 600 values"):
        await PublishBody(each([sent]), keep, 9600).read()


def test_a_text_is_small() -> None:
    text = "{" + "x" * MAX_TEXT
    refused(dump(body(text)), "larger than 4194304 bytes", TooLarge)


def test_a_text_is_text() -> None:
    for text in ("{\\ud800", "{\\x", "{\n"):
        refused(dump(body("HERE")).replace(b"HERE", text.encode()), "is no text")
    refused(dump(body("HERE")).replace(b"HERE", b"{\xff"), "is no text")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"_attachments":{"a":{"b":'])
def test_a_document_is_flat(opening: bytes) -> None:
    with pytest.raises(Invalid, match="in each other"):
        read(b'{"a":' + opening * 100_000)
    refused(b'{"a":' + b"[" * 64, "more than 64 objects and lists in each other")
    assert read(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}").attached == {}


@pytest.mark.parametrize("sent", [b"", b" ", b"[]", b"null", b'"text"', b'["{}"]'])
def test_what_is_no_object_is_refused(sent: bytes) -> None:
    refused(sent, "no JSON object")


async def test_a_tarball_passes_through_in_pieces() -> None:
    """However large the chunks that a server gives are."""
    sizes = []

    async def sink(name: str, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            sizes.append(len(chunk))

    tarball = os.urandom(1_000_000)
    sent = dump(body(base64.b64encode(tarball).decode()))
    await PublishBody(each([sent]), sink).read()
    assert sum(sizes) == len(tarball)
    assert max(sizes) <= PIECE


SEED = dump(body("QUJDRA==", extra={"a": [1, {"b": '\\"'}]}))
pieces = st.sampled_from(
    [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"data"',
        b'"_attachments":{',
        b"\\u",
        b"=",
        b"A",
    ]
)


@given(st.lists(st.one_of(pieces, st.binary(max_size=3)), max_size=30))
@example([b'{"_attachments":{', b'"a":{"data":', b'"', b"QUJD"])
@example([b'{"_attachments":{', b'"a":{"data":', b'"', b"QUJD", b'"', b"}", b"}", b"}"])
def test_any_bytes_are_read_or_refused(parts: list[bytes]) -> None:
    _read_or_refuse(parts)


@given(st.integers(0, len(SEED)), st.one_of(pieces, st.binary(max_size=4)), st.integers(0, 3))
@settings(max_examples=300)
def test_a_damaged_body_is_read_or_refused(at: int, put: bytes, drop: int) -> None:
    _read_or_refuse([SEED[:at], put, SEED[at + drop :]])


def _read_or_refuse(parts: list[bytes]) -> None:
    """What is read is JSON only if what was sent is: nothing is made good on the way."""
    try:
        received = read(*parts)
    except PackhouseError:
        return
    sent = b"".join(parts)
    assert _is_json(sent) == _is_json(received.document)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
