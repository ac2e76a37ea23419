"""ID tokens: what a provider signed about somebody, and whether that is meant for us, now.

Reading list: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; RFC 8725 (JWT best practices); RFC
7517 (keys). Nothing in a token says how it is verified: keys are the provider's, each for the one
algorithm of its type, and `jwk`, `jku`, `x5u` are never read.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import jwt
from jwt.algorithms import AllowedPublicKeys

from storage.errors import PackhouseError

SLACK_SECONDS = 60
"""How far a provider's clock may be from ours."""
MAX_BYTES = 64 * 1024
MAX_SUBJECT = 255
MIN_RSA_BITS = 2048

_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""By type and curve of a key: the one algorithm it verifies."""


class IdTokenRefused(PackhouseError):
    """A provider sent an ID token that cannot be believed."""

    status = 502


class KeyUnknown(IdTokenRefused):
    """Signed with a key that the provider does not publish, as far as is known here."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key that a provider publishes."""

    kid: str
    algorithm: str
    key: AllowedPublicKeys


def parse_keys(document: object) -> list[VerifyingKey]:
    """Read a JSON Web Key Set; what cannot verify an ID token is left out."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        return []
    return [key for item in keys[:100] if (key := _parse_key(item)) is not None]


def verify_id_token(text: str, keys: Sequence[VerifyingKey]) -> dict[str, Any]:
    """Return the claims of a token that one of `keys` has signed.

    Raises IdTokenRefused, KeyUnknown.
    """
    if len(text) > MAX_BYTES:
        raise IdTokenRefused("the provider's ID token is too large")
    try:
        header = jwt.get_unverified_header(text)
        key = _choose(header, keys)
        return jwt.decode(text, key.key, algorithms=[key.algorithm], options=_SIGNATURE_ALONE)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise IdTokenRefused("the provider's ID token is not signed as it should be") from error


def check_claims(
    claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now: int
) -> None:
    """Refuse a token that is not of `issuer`, for us, for this sign-in and for now (seconds UTC).

    Raises IdTokenRefused.
    """
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    given = claims.get("nonce")
    if claims.get("iss") != issuer:
        raise IdTokenRefused("the ID token is of another issuer")
    if not isinstance(audiences, list) or client_id not in audiences:
        raise IdTokenRefused("the ID token is for another client")
    if ("azp" in claims or len(audiences) > 1) and claims.get("azp") != client_id:
        raise IdTokenRefused("the ID token was given to another client")
    if not isinstance(given, str) or not hmac.compare_digest(_bytes(given), _bytes(nonce)):
        raise IdTokenRefused("the ID token is of another sign-in")
    if _time(claims, "exp") <= now - SLACK_SECONDS:
        raise IdTokenRefused("the ID token has expired: are the clocks right?")
    for name in ("iat", *(["nbf"] if "nbf" in claims else [])):
        if _time(claims, name) > now + SLACK_SECONDS:
            raise IdTokenRefused("the ID token is from the future: are the clocks right?")
    subject_of(claims)


def subject_of(claims: Mapping[str, Any]) -> str:
    """Return whom the claims are about. Raises IdTokenRefused."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise IdTokenRefused("the provider does not say whom it means")
    if not subject.isprintable():
        raise IdTokenRefused("the provider does not say whom it means")
    return subject


_SIGNATURE_ALONE: Any = {
    "verify_signature": True,
    **{f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}
"""Claims are judged by `check_claims`, with our clock."""


def _choose(header: Mapping[str, Any], keys: Sequence[VerifyingKey]) -> VerifyingKey:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in _ALGORITHMS.values() or "crit" in header:
        raise IdTokenRefused("the ID token is signed in a way that is not accepted")
    fitting = [key for key in keys if key.algorithm == algorithm]
    if kid is None and len(fitting) == 1:
        return fitting[0]
    for key in fitting:
        if isinstance(kid, str) and key.kid == kid:
            return key
    raise KeyUnknown("the ID token is signed with a key that the provider does not publish")


def _parse_key(item: object) -> VerifyingKey | None:
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    curve = item.get("crv")
    algorithm = _ALGORITHMS.get((str(item.get("kty")), curve if curve is None else str(curve)))
    if algorithm is None or item.get("alg", algorithm) != algorithm:
        return None
    public = {name: item[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in item}
    try:
        key = jwt.PyJWK(public, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and key.key_size < MIN_RSA_BITS:
        return None
    kid = item.get("kid", "")
    return VerifyingKey(kid if isinstance(kid, str) else "", algorithm, key)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise IdTokenRefused(f"the ID token says no {name!r}")
    return value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
