"""Tokens: a prefix that says the kind, 30 random characters, and a checksum over both.

`phu_` personal, `phr_` robot, `phj_` job, `phf_` refresh; then 30 base62 characters and 6 of
CRC-32, checked before any database access. A row keeps the SHA-256; the text is shown once.
"""

import hashlib
import json
import secrets
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from auth.audit import note
from auth.errors import CHANGED, NotSignedIn
from auth.principals import Principal, Scope
from storage.clock import SECOND, Clock, rfc3339
from storage.database import Database, Row, Transaction
from storage.errors import Denied, Invalid, NotFound

KINDS = {"user": "phu_", "robot": "phr_", "job": "phj_", "refresh": "phf_"}
JOB_SECONDS = (5 * 60, 24 * 3600)
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
insert into tokens (kind, account_id, hash, name, scopes, created_at, expires_at, project_id,
  parent_id, password_version, limit_layers, rotates)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning id
"""
INSERT_LIMIT = """
insert into token_limits (token_id, layer, resource_kind, resource_id) values ($1, $2, $3, $4)
on conflict (token_id, layer, resource_kind, resource_id) do nothing
"""
COPY_LIMITS = """
insert into token_limits (token_id, layer, resource_kind, resource_id)
select $1, t.layer, t.resource_kind, t.resource_id from token_limits t where t.token_id = $2
"""
LIST_TOKENS = """
select k.id, k.kind, k.name, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
  k.limit_layers, k.parent_id, u.name as account
from accounts u join tokens k on k.account_id = u.id
where u.name = $1 and k.id > $2 and (cast($4 as smallint) = 1
  or (k.revoked_at is null and (k.expires_at is null or k.expires_at > $5)))
order by k.id limit $3
"""
LIST_LIMITS = """
select t.token_id, t.layer, t.resource_kind,
  coalesce(o.name, p.repository, w.name || '/' || r.name, '') as name
from token_limits t
  left join accounts o on t.resource_kind = 1 and o.id = t.resource_id
  left join projects r on t.resource_kind = 2 and r.id = t.resource_id
  left join accounts w on w.id = r.owner_id
  left join packages p on t.resource_kind = 3 and p.id = t.resource_id
where t.token_id in (select cast(value as bigint) from json_each(cast($1 as text)))
order by t.token_id, t.layer, t.resource_kind, t.resource_id limit 100000
"""
LOCK_TOKEN = """
update tokens set name = name where id = $1 and revoked_at is null
returning id, kind, account_id, project_id, scopes, expires_at, limit_layers, password_version
"""
LOCK_SIGNED_IN = """
update accounts set name = name where id = $1 and password_version = $2 and disabled_at is null
returning id
"""
FIND_CONCERNED = """
select coalesce(u.owner_id, u.id) as owner_id, u.name, k.kind
from tokens k join accounts u on u.id = k.account_id where k.id = $1
"""
REVOKE_TOKEN = "update tokens set revoked_at = $2 where id = $1 and revoked_at is null"
REVOKE_CHILDREN = """
update tokens set revoked_at = $2 where parent_id = $1 and revoked_at is null returning id
"""


@dataclass(frozen=True, slots=True)
class NewToken:
    """What a token is to be. `expires_at` in µs UTC, None for never.

    `limits` are (kind, id) as of grants, one of which must cover what the token is used for; none
    leaves it to the roles of its account. What a token of a project creates is linked to that.
    """

    account_id: int
    kind: str
    name: str = ""
    scopes: Scope = Scope.NONE
    expires_at: int | None = None
    project_id: int | None = None
    limits: Collection[tuple[int, int]] = ()
    password_version: int | None = None
    rotates: bool = False


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token: its row's id, the text that is shown this once, and its end."""

    id: int
    text: str
    expires_at: int | None = None


def mint(kind: str) -> str:
    """Return the text of a new token of `kind` (a key of KINDS)."""
    body = KINDS[kind] + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def looks_like_token(text: str) -> bool:
    """Whether `text` has a token's prefix, length and checksum."""
    if len(text) != _LENGTH or text[:4] not in KINDS.values() or not text.isascii():
        return False
    return _has_checksum(text)


@lru_cache(4096)
def _has_checksum(text: str) -> bool:
    """Whether the end fits the rest; remembered as a bearer's signature is: it never changes."""
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
        who: Principal,
        account_id: int,
        kind: str,
        name: str,
        scopes: Scope,
        expires_at: int | None,
        project_id: int | None = None,
        limits: Collection[tuple[int, int]] = (),
    ) -> MintedToken:
        """Make a token for an account: see NewToken. For those who may do everything.

        Raises Invalid for a job's token that lives too short or too long.
        """
        new = NewToken(account_id, kind, name, scopes, expires_at, project_id, limits)
        text, at = mint(kind), self._clock()
        _check_job(new, at)
        return MintedToken(
            id=await self._database.write(lambda tx: insert_token(tx, who, new, text, at)),
            text=text,
        )

    async def derive(self, who: Principal, new: NewToken) -> MintedToken:
        """Make a token for the caller, which can do no more than the one he signed in with.

        It ends with that one at the latest, and keeps its limits. Without `expires_at` it lives as
        long. Raises NotSignedIn, Denied for more than the caller's token has.
        """
        if who.access is not None or who.anonymous or who.account_id != new.account_id:
            raise Denied("sign in with your password or token to make one of your own")
        return await self.make(who, new)

    async def make(self, who: Principal, new: NewToken) -> MintedToken:
        """Make a token for an account that the caller may make one for; see `derive`."""
        text, at = mint(new.kind), self._clock()
        _check_job(new, at)

        async def work(tx: Transaction) -> MintedToken:
            if not who.token_id:
                await _require_signed_in(tx, who)
                made = await insert_token(tx, who, new, text, at)
                return MintedToken(made, text, new.expires_at)
            # The row's lock: whoever revokes the parent sees this child, or this sees that.
            parent = await tx.fetch_one(LOCK_TOKEN, who.token_id)
            if parent is None or _is_past(parent["expires_at"], at):
                raise NotSignedIn("the token you signed in with has ended: create a new one")
            if new.kind == "refresh":
                child = _continued(new, parent)
            elif parent["scopes"] & Scope.ADMIN:
                child = bounded(new, parent)
            else:
                raise Denied("this token makes no others: it lacks the scope 'admin'")
            made = await insert_token(tx, who, child, text, at, parent)
            return MintedToken(made, text, child.expires_at)

        return await self._database.write(work)

    async def list(
        self, account: str, after: int = 0, limit: int = 1000, *, ended: bool = True
    ) -> Sequence[Row]:
        """Return up to `limit` tokens of an account (never their texts) with ids above `after`.

        Without `ended` only those that are neither revoked nor past their end.
        """
        asked = (after, limit, int(ended), self._clock())
        return await self._database.fetch(LIST_TOKENS, account, *asked)

    async def limits(self, *token_ids: int) -> Sequence[Row]:
        """Return what bounds tokens: layer, kind, and the name of each resource, "" once gone."""
        return await self._database.fetch(LIST_LIMITS, json.dumps(token_ids))

    async def revoke(self, who: Principal, token_id: int) -> None:
        """End a token and those it made at once, on every worker. Raises NotFound."""
        at = self._clock()
        if not await self._database.write(lambda tx: revoke_token(tx, who, token_id, at)):
            raise NotFound(f"there is no live token {token_id}: see 'packhouse token list'")


async def insert_token(
    tx: Transaction, who: Principal, new: NewToken, text: str, at: int, parent: Row | None = None
) -> int:
    """Insert a token's row, with the limits of its parent and its own as one layer more."""
    inherited = 0 if parent is None else parent["limit_layers"]
    row = await tx.fetch_one(
        INSERT_TOKEN,
        new.kind,
        new.account_id,
        hash_token(text),
        new.name,
        int(new.scopes),
        at,
        new.expires_at,
        new.project_id,
        None if parent is None else parent["id"],
        new.password_version,
        inherited + bool(new.limits),
        int(new.rotates),
    )
    if row is None:
        raise RuntimeError("an insert returned no row")
    token_id: int = row["id"]
    if parent is not None and inherited:
        await tx.execute(COPY_LIMITS, token_id, parent["id"])
    for kind, resource_id in new.limits:
        await tx.execute(INSERT_LIMIT, token_id, inherited + 1, kind, resource_id)
    if new.kind != "refresh":  # one is made at every use of the last: that is a sign-in
        await _note(tx, who, "token.create", token_id, at)
    return token_id


async def _require_signed_in(tx: Transaction, who: Principal) -> None:
    """Keep a password's token from outliving a change that came between sign-in and this."""
    if who.password_version is None:
        return
    if await tx.fetch_one(LOCK_SIGNED_IN, who.account_id, who.password_version) is None:
        raise NotSignedIn(CHANGED)


def bounded(new: NewToken, parent: Row) -> NewToken:
    """Return `new` within its parent. Raises Denied for a scope or an end beyond it."""
    more = new.scopes & ~Scope(parent["scopes"])
    if more:
        raise Denied(f"this token makes none with the scope '{(more.name or '').lower()}'")
    end = parent["expires_at"]
    if end is not None and new.expires_at is not None and new.expires_at > end:
        raise Denied(f"this token makes none that outlives it: it ends at {rfc3339(end)}")
    if new.project_id != parent["project_id"] and parent["project_id"] is not None:
        raise Denied("this token belongs to a project, and so do those it makes")
    return replace(
        new,
        expires_at=end if new.expires_at is None else new.expires_at,
        password_version=parent["password_version"],
    )


def _check_job(new: NewToken, at: int) -> None:
    """Hold a job's token to its project and its time. Raises Invalid."""
    if new.kind != "job":
        return
    if new.project_id is None:
        raise Invalid("a job's token belongs to a project")
    seconds = None if new.expires_at is None else (new.expires_at - at) // SECOND
    if seconds is None or not JOB_SECONDS[0] <= seconds <= JOB_SECONDS[1]:
        raise Invalid("a job's token lives for 5m at least and 24h at most")


def _continued(new: NewToken, parent: Row) -> NewToken:
    """Return a refresh token of a parent: it has what that has, to its end at the latest."""
    ends = [at for at in (new.expires_at, parent["expires_at"]) if at is not None]
    return replace(
        new,
        scopes=Scope(parent["scopes"]),
        expires_at=min(ends),
        project_id=parent["project_id"],
        password_version=parent["password_version"],
    )


async def revoke_token(
    tx: Transaction, who: Principal, token_id: int, at: int, why: str = ""
) -> bool:
    """End a token, and level by level those it made; whether it was live."""
    if not await tx.execute(REVOKE_TOKEN, token_id, at):
        return False
    ended = [token_id]
    while ended:
        ended += [row["id"] for row in await tx.fetch(REVOKE_CHILDREN, ended.pop(), at)]
    await _note(tx, who, "token.revoke", token_id, at, why)
    return True


async def _note(
    tx: Transaction, who: Principal, kind: str, token_id: int, at: int, why: str = ""
) -> None:
    row = await tx.fetch_one(FIND_CONCERNED, token_id)
    if row is not None:
        said = f"token {token_id} ({row['kind']}){why}"
        await note(tx, who, kind, row["owner_id"], row["name"], at, said)


def _is_past(at: int | None, now: int) -> bool:
    return at is not None and at <= now


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
