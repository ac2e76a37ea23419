"""Digests: `algorithm:hex`, the only name content has.

Reading list: OCI image-spec, descriptor.md, "Digests"; OCI distribution-spec, "Referrers Tag
Schema".
"""

import hashlib
import re
from functools import lru_cache
from typing import Self

from storage.errors import DigestInvalid

ALGORITHMS = ("sha256", "sha512")
"""The algorithms we compute; each is also its name in hashlib."""

_HEX_LENGTHS = {"sha256": 64, "sha512": 128}
_ALGORITHM = re.compile(r"[a-z0-9]++(?:[+._-][a-z0-9]++)*+")
_HEX = re.compile(r"[0-9a-f]++")
_TAG_ALGORITHM_LENGTH = 32
_TAG_HEX_LENGTH = 64


class Digest(str):
    """A digest that `parse` accepted: `sha256:` + 64 or `sha512:` + 128 lower-case hex digits.

    Compares and hashes as its text. Calling the class itself checks nothing: for rows, which
    hold only what was parsed.
    """

    __slots__ = ()

    @classmethod
    @lru_cache(4000)
    def parse(cls, text: str) -> Self:
        """Accept exactly what ALGORITHMS spell. Raises DigestInvalid."""
        algorithm, separator, encoded = text.partition(":")
        if not separator or not _ALGORITHM.fullmatch(algorithm):
            raise DigestInvalid(f"{quoted(text)} is not a digest: write sha256:<64 lower-case hex>")
        length = _HEX_LENGTHS.get(algorithm)
        if length is None:
            raise DigestInvalid(
                f"digest algorithm {quoted(algorithm)} is not supported: "
                f"use {' or '.join(ALGORITHMS)}"
            )
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise DigestInvalid(
                f"digest {quoted(text)} is not valid: {algorithm} is followed by {length} digits "
                "of lower-case hex"
            )
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Digest bytes that are in memory."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """The part before the colon."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part after the colon."""
        return self.partition(":")[2]

    @property
    def fallback_tag(self) -> str:
        """The tag of the referrers tag schema: algorithm cut at 32 characters, hex at 64."""
        return f"{self.algorithm[:_TAG_ALGORITHM_LENGTH]}-{self.hex[:_TAG_HEX_LENGTH]}"

    @classmethod
    def from_fallback_tag(cls, tag: str) -> Self | None:
        """Return the digest a fallback tag spells in full, or None.

        The tag of a sha512 digest holds half of it: compare `fallback_tag` there.
        """
        algorithm, _, encoded = tag.partition("-")
        if len(encoded) != _HEX_LENGTHS.get(algorithm) or not _HEX.fullmatch(encoded):
            return None
        digest = cls(f"{algorithm}:{encoded}")
        return digest if digest.fallback_tag == tag else None


def quoted(text: str) -> str:
    """Show what a client sent: in quotes, ASCII, and short enough for a message."""
    shown = ascii(text[:161])
    return shown if len(shown) <= 162 else f"{shown[:159]}...'"
