"""Bearer tokens of `/token`: JWTs signed with ES256 by keys that are rows.

Only our own `kid` and algorithm are accepted; `jwk`, `jku` and `x5u` headers are never read. A
bearer says who signed in and which names it was fetched for: an upper bound, never a grant.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt

from auth.errors import NotSignedIn
from auth.principals import FORGIVEN_SECONDS, Principal
from auth.signing_keys import BEARER, SigningKeys
from storage.clock import SECOND, Clock

ALGORITHM = "ES256"
ISSUER = "packhouse"
AUDIENCE = "packhouse"
REMEMBERED = 1024 * 1024
"""Bytes of the tokens whose signatures are known to be good: some 2,000 ordinary ones."""


class Bearers:
    """Issues and verifies; a good signature is remembered until newer tokens need its room."""

    def __init__(self, keys: SigningKeys, clock: Clock, lifetime: int) -> None:
        self._keys = keys
        self._clock = clock
        self.lifetime = lifetime
        self._verified: OrderedDict[str, _Good] = OrderedDict()
        self._verified_bytes = 0

    async def issue(self, who: Principal, access: dict[str, frozenset[str]]) -> str:
        """Sign a token for `who`, bounded to `access` ("repository:NAME" to actions)."""
        key = await self._keys.current(BEARER)
        issued = self._clock() // SECOND
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": who.name,
            "iat": issued,
            "nbf": issued - 10,
            "exp": issued + self.lifetime,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": kind, "name": name, "actions": sorted(actions)}
                for (kind, _, name), actions in (
                    (resource.partition(":"), actions) for resource, actions in access.items()
                )
            ],
            "packhouse": [who.account_id, who.kind, who.token_id, who.password_version],
        }
        return jwt.encode(claims, key.secret, ALGORITHM, headers={"kid": key.kid})

    async def verify(self, text: str, *, forgive_expiry: bool = False) -> Principal:
        """Return the principal of a bearer token.

        With `forgive_expiry` one that expired in the last 24 hours is good.
        Raises NotSignedIn.
        """
        found = self._verified.get(text)
        # A key that was taken away takes along what it signed, remembered or not.
        if found is None or await self._keys.find(found.kid, BEARER) is None:
            found = self._remember(text, *await self._check(text))
        seconds = self._clock() // SECOND
        if found.expires + (FORGIVEN_SECONDS if forgive_expiry else 0) <= seconds:
            raise NotSignedIn("the bearer token has expired: fetch a new one")
        return found.who

    def _remember(self, text: str, kid: str, claims: dict[str, Any]) -> "_Good":
        found = _Good(kid, claims["exp"], _principal(claims))
        if text not in self._verified:  # another request may have been first
            self._verified[text] = found
            self._verified_bytes += len(text)
        while self._verified_bytes > REMEMBERED:
            oldest, _ = self._verified.popitem(last=False)
            self._verified_bytes -= len(oldest)
        return found

    async def _check(self, text: str) -> tuple[str, dict[str, Any]]:
        required = ["exp", "iat", "sub", "access", "packhouse"]
        return await check_signature(self._keys, text, AUDIENCE, required, ISSUER)


async def check_signature(
    keys: SigningKeys, text: str, audience: str, required: list[str], issuer: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the key id and the claims of what we signed; `exp` is the caller's to judge.

    Raises NotSignedIn.
    """
    try:
        kid = jwt.get_unverified_header(text).get("kid")
        key = await keys.find(kid, BEARER) if isinstance(kid, str) else None
        if key is None or isinstance(key.secret, bytes):
            raise NotSignedIn("the bearer token was not signed by this registry")
        claims = jwt.decode(
            text,
            key.secret.public_key(),
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=issuer,
            options={
                "require": required,
                "verify_exp": False,
                "verify_iat": False,  # a replica's clock may be ahead; `nbf` allows for it
            },
        )
    except jwt.PyJWTError as error:
        raise NotSignedIn("the bearer token is not valid: fetch a new one") from error
    return key.kid, claims


class _Good(NamedTuple):
    """A token whose signature is good: the key's id, its end in seconds, and whose it is."""

    kid: str
    expires: int
    who: Principal


def _principal(claims: Mapping[str, Any]) -> Principal:
    account_id, kind, token_id, password_version = claims["packhouse"]
    return Principal(
        account_id=account_id,
        name=claims["sub"],
        kind=kind,
        token_id=token_id,
        password_version=password_version,
        access={
            f"{entry['type']}:{entry['name']}": frozenset(entry["actions"])
            for entry in claims["access"]
        },
    )
