"""ID tokens: forged, borrowed, old and misread ones are refused, each for its reason."""

import base64
import hashlib
import hmac
import json
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from auth.id_tokens import (
    MAX_BYTES,
    IdTokenRefused,
    KeyUnknown,
    check_claims,
    parse_keys,
    verify_id_token,
)
from tests.registry.providers import EC_KEY, KEYS, RSA_KEY, public_keys, sign

ISSUER, CLIENT, NONCE, NOW = "https://login.example.com", "packhouse", "nonce", 1_700_000_000
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": "u-1",
    "nonce": NONCE,
    "iat": NOW,
    "exp": NOW + 300,
}
PUBLISHED = parse_keys({"keys": public_keys()})


def check(**changed: Any) -> None:
    claims = {**GOOD, **changed}
    kept = {name: value for name, value in claims.items() if value is not ...}
    check_claims(kept, ISSUER, CLIENT, NONCE, NOW)


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_a_provider_signs_with_its_keys_is_read(algorithm: str) -> None:
    assert verify_id_token(sign(GOOD, algorithm), PUBLISHED) == GOOD


def segment(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def by_hand(header: dict[str, Any], key: bytes | None = None) -> str:
    """A token that no library would make."""
    text = f"{segment(header)}.{segment(GOOD)}"
    signature = hmac.digest(key, text.encode(), hashlib.sha256) if key is not None else b""
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def pem() -> bytes:
    encoding = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return RSA_KEY.public_key().public_bytes(*encoding)


def own_key() -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(FORGER.public_key(), as_dict=True)


FORGER = rsa.generate_private_key(65537, 2048)
FORGED = {
    "none": by_hand({"alg": "none", "kid": "RS256"}),
    "None": by_hand({"alg": "None"}),
    "HS256 with the public key": by_hand({"alg": "HS256", "kid": "RS256"}, pem()),
    "HS256 with the published key": by_hand(
        {"alg": "HS256", "kid": "RS256"}, json.dumps(public_keys()[0]).encode()
    ),
    "HS256 with nothing": by_hand({"alg": "HS256", "kid": ""}, b""),
    "no algorithm": by_hand({"kid": "RS256"}),
    "an algorithm of another type": by_hand({"alg": ["RS256"], "kid": "RS256"}),
    "another key's id": jwt.encode(GOOD, FORGER, "RS256", headers={"kid": "RS256"}),
    "no id, and two keys": jwt.encode(GOOD, FORGER, "RS256"),
    "a key of its own": jwt.encode(
        GOOD, FORGER, "RS256", headers={"kid": "RS256", "jwk": own_key()}
    ),
    "a place for keys": jwt.encode(
        GOOD, FORGER, "RS256", headers={"kid": "RS256", "jku": "https://evil.example.com/keys"}
    ),
    "RS512": jwt.encode(GOOD, RSA_KEY, "RS512", headers={"kid": "RS256"}),
    "PS256": jwt.encode(GOOD, RSA_KEY, "PS256", headers={"kid": "RS256"}),
    "the id of a key of another type": jwt.encode(GOOD, FORGER, "RS256", headers={"kid": "ES256"}),
    "what must be understood": jwt.encode(
        GOOD, RSA_KEY, "RS256", headers={"kid": "RS256", "crit": ["x"], "x": 1}
    ),
    "no signature": sign(GOOD).rpartition(".")[0] + ".",
    "no token": "x",
    "nothing": "",
    "too many parts": sign(GOOD) + ".x",
    "other claims": ".".join(
        [*sign(GOOD).split(".")[:1], segment({**GOOD, "sub": "admin"}), sign(GOOD).split(".")[2]]
    ),
    "too large": sign({**GOOD, "x": "x" * MAX_BYTES}),
    "nested": segment({"alg": "RS256", "kid": "RS256"}) + "." + "[" * 5000 + ".x",
    "not ASCII": "ü.ü.ü",
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_what_a_provider_did_not_sign_is_refused(text: str) -> None:
    with pytest.raises(IdTokenRefused):
        verify_id_token(text, PUBLISHED)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "PS256", "", None, 5])
def test_no_key_is_looked_for_where_the_algorithm_is_not_ours(algorithm: object) -> None:
    with pytest.raises(IdTokenRefused, match="in a way that is not accepted") as raised:
        verify_id_token(by_hand({"alg": algorithm, "kid": "next"}), PUBLISHED)
    assert not isinstance(raised.value, KeyUnknown)


def test_a_key_that_is_not_known_may_be_a_new_one() -> None:
    with pytest.raises(KeyUnknown):
        verify_id_token(sign(GOOD, kid="next"), PUBLISHED)


def test_without_an_id_the_one_key_of_the_algorithm_is_meant() -> None:
    text = jwt.encode(GOOD, RSA_KEY, "RS256")
    assert verify_id_token(text, PUBLISHED) == GOOD
    twice = parse_keys({"keys": [*public_keys(), {**own_key(), "kid": "other"}]})
    with pytest.raises(KeyUnknown):
        verify_id_token(text, twice)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"azp": CLIENT},
        {"exp": NOW - 59},
        {"iat": NOW + 60},
        {"nbf": NOW},
        {"exp": NOW + 0.5},
        {"sub": "x" * 255},
    ],
    ids=str,
)
def test_claims_that_are_for_us_and_now_are_taken(claims: dict[str, Any]) -> None:
    check(**claims)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example.com"}, "of another issuer"),
        ({"iss": ISSUER + "/"}, "of another issuer"),
        ({"iss": ...}, "of another issuer"),
        ({"iss": [ISSUER]}, "of another issuer"),
        ({"aud": "other"}, "for another client"),
        ({"aud": ["other"]}, "for another client"),
        ({"aud": ...}, "for another client"),
        ({"aud": {CLIENT: 1}}, "for another client"),
        ({"aud": CLIENT + "2"}, "for another client"),
        ({"aud": [CLIENT, "other"]}, "given to another client"),
        ({"azp": "other"}, "given to another client"),
        ({"azp": None}, "given to another client"),
        ({"nonce": "other"}, "of another sign-in"),
        ({"nonce": ...}, "of another sign-in"),
        ({"nonce": "\ud800"}, "of another sign-in"),
        ({"nonce": [NONCE]}, "of another sign-in"),
        ({"exp": NOW - 60}, "has expired"),
        ({"exp": ...}, "says no 'exp'"),
        ({"exp": "9999999999"}, "says no 'exp'"),
        ({"exp": True}, "says no 'exp'"),
        ({"exp": float("nan")}, "says no 'exp'"),
        ({"exp": float("inf")}, "says no 'exp'"),
        ({"iat": NOW + 61}, "from the future"),
        ({"iat": ...}, "says no 'iat'"),
        ({"nbf": NOW + 61}, "from the future"),
        ({"nbf": None}, "says no 'nbf'"),
        ({"sub": ...}, "whom it means"),
        ({"sub": ""}, "whom it means"),
        ({"sub": 5}, "whom it means"),
        ({"sub": "x" * 256}, "whom it means"),
        ({"sub": "a\0b"}, "whom it means"),
        ({"sub": "\ud800"}, "whom it means"),
    ],
    ids=str,
)
def test_claims_that_are_not_are_refused_with_the_reason(claims: dict[str, Any], why: str) -> None:
    with pytest.raises(IdTokenRefused, match=why):
        check(**claims)


def test_keys_that_cannot_verify_are_left_out() -> None:
    good = public_keys()
    small = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    other = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    bad: list[Any] = [
        None,
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {**good[0], "use": "enc"},
        {**good[0], "alg": "RS512"},
        {**good[0], "n": "!"},
        {**good[1], "x": "AA"},
        {"kty": ["RSA"], "crv": {}},
        {"kty": "RSA"},
        small,
        other,
    ]
    assert parse_keys({"keys": bad}) == []
    assert [key.kid for key in parse_keys({"keys": [*bad, *good]})] == ["RS256", "ES256", "EdDSA"]
    assert parse_keys({"keys": [{**good[0], "kid": 5}]})[0].kid == ""


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, "x"])
def test_what_is_no_key_set_has_no_keys(document: object) -> None:
    assert parse_keys(document) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "azp", "nbf"]), JSON))
def test_any_claims_are_taken_or_refused(changed: dict[str, Any]) -> None:
    with suppress(IdTokenRefused):
        check(**changed)


@given(
    st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg"]), JSON)
)
def test_any_key_is_read_or_left_out(key: dict[str, Any]) -> None:
    for known in ({}, public_keys()[0], public_keys()[1]):
        parse_keys({"keys": [{**known, **key}]})


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), JSON))
def test_any_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(IdTokenRefused):
        verify_id_token(by_hand(header), PUBLISHED)


def test_the_curve_key_verifies_its_own_algorithm_only() -> None:
    assert {key.algorithm for key in PUBLISHED} == {"RS256", "ES256", "EdDSA"}
    text = jwt.encode(GOOD, EC_KEY, "ES256", headers={"kid": "RS256"})
    with pytest.raises(KeyUnknown):
        verify_id_token(text, PUBLISHED)
