"""The keys that sign bearer tokens and upload ids: rows, read again every few seconds.

A rotation makes new keys and gives the old ones an end, after everything they signed has expired.
A worker signs with a new key from its next look on, and looks at once when it meets an unknown key
id: so no request is refused while the workers learn of it one after the other.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.audit import note
from auth.principals import FORGIVEN_SECONDS, Principal
from storage.clock import SECOND, Clock, now, rfc3339
from storage.database import Database, Row, Transaction

BEARER, UPLOAD = PURPOSES = ("bearer", "upload")
LOOK_SECONDS = 5
"""How long a worker goes on with the keys it knows before it looks again."""
SLACK_SECONDS = 600
"""How much longer an old key verifies than what it signed lives: clocks differ."""

# scan: a handful of rows, read every few seconds and for an unknown key id
LOAD_KEYS = """
select kid, purpose, secret, created_at, retired_at from signing_keys order by created_at, kid
"""
# scan: a handful of rows
LIST_KEYS = """
select kid, purpose, created_at, retired_at from signing_keys order by created_at, kid
"""
INSERT_KEY = "insert into signing_keys (kid, purpose, secret, created_at) values ($1, $2, $3, $4)"
# scan: a handful of rows
SIGNING_PURPOSES = "select distinct purpose from signing_keys where retired_at is null"
# scan: a handful of rows
RETIRE_KEYS = """
update signing_keys set retired_at = $1 where retired_at is null or retired_at > $1
"""
# scan: a handful of rows
DELETE_ENDED = "delete from signing_keys where retired_at <= $1"


@dataclass(frozen=True, slots=True)
class Key:
    """One signing key; bytes are the shared secret that signs upload ids.

    `ends_at` (µs UTC) is set for one that only verifies any more, until then.
    """

    kid: str
    secret: ec.EllipticCurvePrivateKey | bytes
    purpose: str = BEARER
    ends_at: int | None = None


async def make_keys(tx: Transaction, at: int) -> None:
    """Make a key for each purpose that has none to sign with."""
    there = {row["purpose"] for row in await tx.fetch(SIGNING_PURPOSES)}
    for purpose in PURPOSES:
        if purpose not in there:
            await tx.execute(INSERT_KEY, secrets.token_hex(8), purpose, _new_secret(purpose), at)


async def rotate_keys(tx: Transaction, at: int, ends_at: int) -> None:
    """Make new keys; the old ones verify until `ends_at`, those of earlier rotations no longer.

    Keys that have ended are deleted.
    """
    await tx.execute(RETIRE_KEYS, ends_at)
    await tx.execute(DELETE_ENDED, at)
    await make_keys(tx, at)


def lifetime_seconds(bearer_seconds: int, upload_seconds: int) -> int:
    """Return how long an old key verifies: for the last bearer, and its forgiven day, or upload."""
    return bearer_seconds + max(FORGIVEN_SECONDS, upload_seconds) + SLACK_SECONDS


class SigningKeys:
    """The keys of the database, as of a few seconds ago."""

    def __init__(self, database: Database, clock: Clock = now) -> None:
        self._database = database
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._looked_at: int | None = None

    async def load(self) -> None:
        """Read all keys."""
        looked_at = self._clock()
        rows = await self._database.fetch(LOAD_KEYS)
        self._keys = {row["kid"]: self._read(row) for row in rows}
        self._looked_at = looked_at

    async def rotate(self, who: Principal, keep_seconds: int) -> int:
        """Sign with new keys from now on; the old ones verify for `keep_seconds`.

        Returns when they end (µs UTC).
        """
        at = self._clock()
        ends_at = at + keep_seconds * SECOND

        async def work(tx: Transaction) -> None:
            await rotate_keys(tx, at, ends_at)
            await note(tx, who, "key.rotate", None, "", at, f"old ones end {rfc3339(ends_at)}")

        await self._database.write(work)
        await self.load()
        return ends_at

    async def rows(self) -> Sequence[Row]:
        """Return all keys, oldest first, without their secrets."""
        return await self._database.fetch(LIST_KEYS)

    async def current(self, purpose: str) -> Key:
        """Return the newest key that signs for a purpose."""
        await self._look()
        found = [key for key in self._keys.values() if key.purpose == purpose]
        return ([key for key in found if key.ends_at is None] or found)[-1]

    async def find(self, kid: str, purpose: str) -> Key | None:
        """Return a key that verifies by its id, looking at once for one made since."""
        await self._look()
        if kid not in self._keys:
            await self.load()
        key = self._keys.get(kid)
        return key if key is not None and key.purpose == purpose and self._verifies(key) else None

    async def verifying(self, purpose: str) -> list[Key]:
        """Return all keys that verify for a purpose, newest first."""
        await self._look()
        found = [key for key in self._keys.values() if key.purpose == purpose]
        return [key for key in reversed(found) if self._verifies(key)]

    async def _look(self) -> None:
        at, looked_at = self._clock(), self._looked_at
        if looked_at is None or not 0 <= at - looked_at < LOOK_SECONDS * SECOND:
            # Those who come while one looks go on with what is known, unless that is nothing.
            self._looked_at = at if self._keys else None
            await self.load()

    def _verifies(self, key: Key) -> bool:
        return key.ends_at is None or self._clock() < key.ends_at

    def _read(self, row: Row) -> Key:
        known = self._keys.get(row["kid"])
        secret = known.secret if known is not None else _load_secret(row)
        return Key(row["kid"], secret, row["purpose"], row["retired_at"])


def _new_secret(purpose: str) -> str:
    if purpose == UPLOAD:
        return base64.b64encode(secrets.token_bytes(32)).decode()
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


def _load_secret(row: Any) -> ec.EllipticCurvePrivateKey | bytes:
    if row["purpose"] == UPLOAD:
        return base64.b64decode(row["secret"])
    secret = serialization.load_pem_private_key(row["secret"].encode(), None)
    if not isinstance(secret, ec.EllipticCurvePrivateKey):
        raise RuntimeError(f"signing key {row['kid']} is not an elliptic curve key")
    return secret
