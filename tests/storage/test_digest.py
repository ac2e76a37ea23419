"""Digests: exactly two spellings, and the tags that stand for them."""

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import ALGORITHMS, Digest
from storage.errors import DigestInvalid, Invalid

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HEX_LENGTHS = {"sha256": 64, "sha512": 128}


@given(st.binary(), st.sampled_from(ALGORITHMS))
def test_the_digest_of_bytes_parses_to_itself(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest == f"{algorithm}:{digest.hex}"
    assert digest.algorithm == algorithm
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert len(digest.hex) == HEX_LENGTHS[algorithm]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        f":{EMPTY}",
        EMPTY,
        "sha256:baddigeststring",
        f"sha256:{EMPTY}0",
        f"sha256:{EMPTY[1:]}",
        f"sha256:{EMPTY}\n",
        f"sha256:{EMPTY[:-1]}\n",
        f" sha256:{EMPTY}",
        f"sha256:{EMPTY.upper()}",
        f"SHA256:{EMPTY}",
        f"sha256::{EMPTY[1:]}",
        f"sha512:{EMPTY}",
        f"sha256:{chr(0x660) * 64}",
        f"sha256:{EMPTY[:-1]}\0",
        "sha256:" + "0" * 1_000_000,
        "\ud800:00",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(DigestInvalid) as refused:
        Digest.parse(text)
    assert len(refused.value.message) < 300
    assert refused.value.message.isascii()


def test_an_unknown_algorithm_is_told_from_a_malformed_digest() -> None:
    with pytest.raises(DigestInvalid, match="'md5' is not supported: use sha256 or sha512"):
        Digest.parse("md5:d41d8cd98f00b204e9800998ecf8427e")
    with pytest.raises(DigestInvalid, match="sha256 is followed by 64 digits"):
        Digest.parse("sha256:d41d8cd98f00b204e9800998ecf8427e")
    assert issubclass(DigestInvalid, Invalid)


@given(st.one_of(st.text(), st.from_regex(r"sha(256|512):[0-9a-fA-F]{62,130}")))
def test_parse_accepts_the_two_spellings_and_raises_nothing_unexpected(text: str) -> None:
    algorithm, _, encoded = text.partition(":")
    spelled = HEX_LENGTHS.get(algorithm) == len(encoded) and set(encoded) <= set("0123456789abcdef")
    try:
        assert Digest.parse(text) == text
    except DigestInvalid:
        assert not spelled
    else:
        assert spelled


def test_a_fallback_tag_is_the_algorithm_and_at_most_64_of_the_hex() -> None:
    assert Digest.of(b"").fallback_tag == f"sha256-{EMPTY}"
    long = Digest.of(b"", "sha512")
    assert long.fallback_tag == f"sha512-{long.hex[:64]}"
    assert Digest.from_fallback_tag(long.fallback_tag) is None
    assert Digest.from_fallback_tag(f"sha512-{long.hex}") is None


@given(st.binary())
def test_a_sha256_fallback_tag_leads_back_to_its_digest(data: bytes) -> None:
    digest = Digest.of(data)
    assert Digest.from_fallback_tag(digest.fallback_tag) == digest


@pytest.mark.parametrize(
    "tag",
    ["", "-", "latest", "sha256-", f"sha256-{EMPTY}.sig", f"sha256-{EMPTY}\n", f"md5-{EMPTY}"],
)
def test_other_tags_are_no_fallback_tags(tag: str) -> None:
    assert Digest.from_fallback_tag(tag) is None


def test_a_digest_compares_hashes_and_travels_as_its_text() -> None:
    digest = Digest.of(b"x")
    assert {digest: 1}[str(digest)] == 1
    assert pickle.loads(pickle.dumps(digest)) == digest
    with pytest.raises(AttributeError):
        digest.algorithm = "sha512"  # type: ignore[misc]
