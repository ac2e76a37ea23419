"""Bearer tokens of `/token`: JWTs signed with ES256 by keys that are rows.

Only our own `kid` and algorithm are accepted; `jwk`, `jku` and `x5u` headers are never read. A
bearer says who signed in and which names it was fetched for: an upper bound, never a grant.
"""

import base64
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.errors import NotSignedIn
from auth.principals import FORGIVEN_SECONDS, Principal
from storage.clock import SECOND, Clock
from storage.database import Database, Transaction

ALGORITHM = "ES256"
ISSUER = "packhouse"
AUDIENCE = "packhouse"
REMEMBERED = 1024 * 1024
"""Bytes of the tokens whose signatures are known to be good: some 2,000 ordinary ones."""

# scan: a handful of rows, read at the start of a worker and for an unknown key id
LOAD_KEYS = """
select kid, purpose, secret, created_at, retired_at from signing_keys order by created_at, kid
"""
INSERT_KEY = "insert into signing_keys (kid, purpose, secret, created_at) values ($1, $2, $3, $4)"
# scan: a handful of rows
COUNT_KEYS = "select count(*) as keys from signing_keys"


@dataclass(frozen=True, slots=True)
class Key:
    """One signing key; `public` None marks the shared secret that signs upload ids."""

    kid: str
    secret: ec.EllipticCurvePrivateKey | bytes


async def make_keys(tx: Transaction, at: int) -> None:
    """Make the first signing keys, unless there are some."""
    row = await tx.fetch_one(COUNT_KEYS)
    if row is not None and row["keys"]:
        return
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )
    await tx.execute(INSERT_KEY, secrets.token_hex(8), "bearer", pem, at)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    await tx.execute(INSERT_KEY, secrets.token_hex(8), "upload", secret, at)


class SigningKeys:
    """The keys of the database, read once and again when a key id is unknown."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, tuple[str, Key]] = {}

    async def load(self) -> None:
        """Read all keys."""
        for row in await self._database.fetch(LOAD_KEYS):
            self._keys[row["kid"]] = (row["purpose"], _load_key(row["purpose"], row))

    async def current(self, purpose: str) -> Key:
        """Return the newest key for a purpose."""
        if not self._keys:
            await self.load()
        return [key for kind, key in self._keys.values() if kind == purpose][-1]

    async def find(self, kid: str, purpose: str) -> Key | None:
        """Return a key by its id, reading the rows again for one made since."""
        if kid not in self._keys:
            await self.load()
        kind, key = self._keys.get(kid, ("", None))
        return key if kind == purpose else None


def _load_key(purpose: str, row: Any) -> Key:
    if purpose == "bearer":
        secret = serialization.load_pem_private_key(row["secret"].encode(), None)
        if not isinstance(secret, ec.EllipticCurvePrivateKey):
            raise RuntimeError(f"signing key {row['kid']} is not an elliptic curve key")
        return Key(row["kid"], secret)
    return Key(row["kid"], base64.b64decode(row["secret"]))


class Bearers:
    """Issues and verifies; a good signature is remembered until newer tokens need its room."""

    def __init__(self, keys: SigningKeys, clock: Clock, lifetime: int) -> None:
        self._keys = keys
        self._clock = clock
        self.lifetime = lifetime
        self._verified: OrderedDict[str, tuple[int, Principal]] = OrderedDict()
        self._verified_bytes = 0

    async def issue(self, who: Principal, access: dict[str, frozenset[str]]) -> str:
        """Sign a token for `who`, bounded to `access` ("repository:NAME" to actions)."""
        key = await self._keys.current("bearer")
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
        expires, who = self._verified.get(text) or self._remember(
            text, await self._check_signature(text)
        )
        seconds = self._clock() // SECOND
        if expires + (FORGIVEN_SECONDS if forgive_expiry else 0) <= seconds:
            raise NotSignedIn("the bearer token has expired: fetch a new one")
        return who

    def _remember(self, text: str, claims: dict[str, Any]) -> tuple[int, Principal]:
        found = claims["exp"], _principal(claims)
        if text not in self._verified:  # another request may have been first
            self._verified[text] = found
            self._verified_bytes += len(text)
        while self._verified_bytes > REMEMBERED:
            oldest, _ = self._verified.popitem(last=False)
            self._verified_bytes -= len(oldest)
        return found

    async def _check_signature(self, text: str) -> dict[str, Any]:
        try:
            kid = jwt.get_unverified_header(text).get("kid")
            key = await self._keys.find(kid, "bearer") if isinstance(kid, str) else None
            if key is None or isinstance(key.secret, bytes):
                raise NotSignedIn("the bearer token was not signed by this registry")
            return jwt.decode(
                text,
                key.secret.public_key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "access", "packhouse"],
                    "verify_exp": False,
                    "verify_iat": False,  # a replica's clock may be ahead; `nbf` allows for it
                },
            )
        except jwt.PyJWTError as error:
            raise NotSignedIn("the bearer token is not valid: fetch a new one") from error


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
