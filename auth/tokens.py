"""Tokens: a prefix that says the kind, 30 random characters, and a checksum over both.

`phu_` personal, `phr_` robot, `phj_` job, `phf_` refresh; then 30 base62 characters and 6 of
CRC-32, checked before any database access. A row keeps the SHA-256; the text is shown once.
"""

import hashlib
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from auth.principals import Principal, Scope
from storage.clock import Clock
from storage.database import Database, Row
from storage.errors import NotFound

KINDS = {"user": "phu_", "robot": "phr_", "job": "phj_", "refresh": "phf_"}
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 30
_CHECK = 6
_LENGTH = 4 + _RANDOM + _CHECK

FIND_TOKEN = """
select k.id as token_id, k.expires_at, k.revoked_at, u.id as account_id, u.name, u.kind,
  u.disabled_at
from tokens k join accounts u on u.id = k.account_id
where k.hash = $1 and k.kind in ('user', 'robot', 'job')
"""
INSERT_TOKEN = """
insert into tokens (kind, account_id, hash, name, scopes, created_at, expires_at, project_id)
values ($1, $2, $3, $4, $5, $6, $7, $8) returning id
"""
LIST_TOKENS = """
select k.id, k.kind, k.name, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
  u.name as account
from accounts u join tokens k on k.account_id = u.id
where u.name = $1 and k.id > $2 order by k.id limit 1000
"""
REVOKE_TOKEN = "update tokens set revoked_at = $2 where id = $1 and revoked_at is null"


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token: its row's id, and the text that is shown this once."""

    id: int
    text: str


def mint(kind: str) -> str:
    """Return the text of a new token of `kind` (a key of KINDS)."""
    body = KINDS[kind] + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def looks_like_token(text: str) -> bool:
    """Whether `text` has a token's prefix, length and checksum."""
    if len(text) != _LENGTH or text[:4] not in KINDS.values() or not text.isascii():
        return False
    return secrets.compare_digest(text[-_CHECK:], _checksum(text[:-_CHECK]))


def hash_token(text: str) -> str:
    """Return what a row keeps of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


class Tokens:
    """Creates, finds, lists and revokes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, text: str) -> Principal | None:
        """Return the account behind a token, or None if no row holds it.

        Whether it is still good (expired, revoked, account disabled) is judged with each request.
        """
        row = await self._database.fetch_one(FIND_TOKEN, hash_token(text))
        if row is None:
            return None
        return Principal(
            account_id=row["account_id"],
            name=row["name"],
            kind=row["kind"],
            token_id=row["token_id"],
        )

    async def create(
        self,
        account_id: int,
        kind: str,
        name: str,
        scopes: Scope,
        expires_at: int | None,
        project_id: int | None = None,
    ) -> MintedToken:
        """Make a token for an account; `expires_at` in microseconds UTC, None for never.

        What a token of a project creates is linked to that project.
        """
        text = mint(kind)
        row = await self._database.write(
            lambda tx: tx.fetch_one(
                INSERT_TOKEN,
                kind,
                account_id,
                hash_token(text),
                name,
                int(scopes),
                self._clock(),
                expires_at,
                project_id,
            )
        )
        if row is None:
            raise RuntimeError("an insert returned no row")
        return MintedToken(id=row["id"], text=text)

    async def list(self, account: str, after: int = 0) -> Sequence[Row]:
        """Return up to 1,000 tokens of an account (never their texts) with ids above `after`."""
        return await self._database.fetch(LIST_TOKENS, account, after)

    async def revoke(self, token_id: int) -> None:
        """End a token at once, on every worker. Raises NotFound."""
        if not await self._database.execute(REVOKE_TOKEN, token_id, self._clock()):
            raise NotFound(f"there is no live token {token_id}: see 'packhouse token list'")


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
