"""Sigstore bundles: what they attest, and of which version.

Reading list: sigstore's bundle format; in-toto's Statement v1; pacote, lib/registry.js (how npm
verifies them). A bundle is about a version where the first subject of its statement, which is the
one that npm looks at, has the version's name and its tarball's sha512. A signature of the manifest,
which comes in a bundle as well, attests nothing of it.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

BUNDLES = "application/vnd.dev.sigstore.bundle"
"""How the types of all versions of the format begin."""
MAX_PREDICATE = 256
"""Characters of what names the type of an attestation."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """A bundle, byte for byte, and its statement: which type, about which package URL and sha512.

    Nothing of it is verified.
    """

    predicate_type: str
    name: str
    sha512: str
    bundle: msgspec.Raw

    def is_about(self, package: str, version: str, hashes: Iterable[str]) -> bool:
        """Whether it is about a version with a file of these sha512s, in hex."""
        named = unquote(self.name.partition("?")[0])
        return named == f"pkg:npm/{package}@{version}" and self.sha512 in hashes


def parse_bundle(data: bytes) -> Attestation | None:
    """Return what a bundle attests; None for what is no attestation."""
    try:
        envelope = msgspec.json.decode(data, type=_Bundle).envelope
        payload = base64.b64decode(envelope.payload, validate=True)
        said = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not said.subject or not _is_type(said.type):
        return None
    first = said.subject[0]
    return Attestation(said.type, first.name, first.digest.get("sha512", ""), msgspec.Raw(data))


def _is_type(text: str) -> bool:
    return 0 < len(text) <= MAX_PREDICATE and text.isprintable()


class _Envelope(msgspec.Struct, frozen=True):
    payload: str


class _Bundle(msgspec.Struct, frozen=True):
    envelope: _Envelope = msgspec.field(name="dsseEnvelope")


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str = ""


class _Statement(msgspec.Struct, frozen=True):
    subject: list[_Subject]
    type: str = msgspec.field(name="predicateType")
