"""Refresh tokens: what a client keeps in place of a password, and brings for each new bearer.

Reading list: RFC 6749, section 6; RFC 9700, section 4.14; distribution's oauth.md. A row is one
sign-in. It ends with the token it was signed in with, with the password, and with the account. Its
text changes with each use, so that two who hold a copy are found out and both lose it; except for a
client that cannot store another one: docker keeps what `docker login` was given.
"""

from dataclasses import replace

from auth.errors import NotSignedIn
from auth.principals import Principal, Scope
from auth.tokens import NewToken, Tokens, hash_token, looks_like_token, mint, revoke_token
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction

KIND = "refresh"
REFRESH_SECONDS = 90 * 86400
"""How long a refresh token lives that nobody uses."""
GRACE_SECONDS = 60
"""How long the text before still fetches bearers: requests cross, and answers are lost."""

_AGAIN = " was used again"
FIND_REFRESH = """
select k.id, k.expires_at, k.password_version, k.rotates, u.id as account_id, u.name, u.kind,
  (select q.expires_at from tokens q where q.id = k.parent_id) as parent_expires_at
from tokens k join accounts u on u.id = k.account_id
where k.hash = $1 and k.kind = 'refresh'
"""
FIND_USED = """
select x.used_at, k.id, k.password_version, u.id as account_id, u.name, u.kind
from used_refresh_tokens x join tokens k on k.id = x.token_id join accounts u on u.id = k.account_id
where x.hash = $1
"""
RENEW_REFRESH = """
update tokens set hash = $3, expires_at = $4, last_used_at = $5
where id = $1 and hash = $2 and revoked_at is null and expires_at > $5
"""
INSERT_USED = "insert into used_refresh_tokens (hash, token_id, used_at) values ($1, $2, $3)"
DELETE_USED = "delete from used_refresh_tokens where token_id = $1 and used_at < $2"


class RefreshTokens:
    """Gives and takes refresh tokens."""

    def __init__(self, database: Database, tokens: Tokens, clock: Clock) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def issue(self, who: Principal, client: str, *, rotates: bool) -> str:
        """Return the text of a refresh token of the caller, who signed in a moment ago.

        Raises NotSignedIn.
        """
        new = NewToken(
            account_id=who.account_id,
            kind=KIND,
            name=client,
            scopes=Scope.ALL,
            expires_at=self._clock() + REFRESH_SECONDS * SECOND,
            password_version=who.password_version,
            rotates=rotates,
        )
        return (await self._tokens.derive(who, new)).text

    async def use(self, text: str, address: str = "") -> tuple[Principal, str | None]:
        """Return who brings a refresh token, and the text to bring next time if it is another.

        Whether token and account are still good is judged after this, from rows.
        Raises NotSignedIn for one that is not known, or was used before: that one ends.
        """
        if not looks_like_token(text):
            raise wrong()
        row = await self._database.fetch_one(FIND_REFRESH, hash_token(text))
        if row is None:
            return await self._used(text, address), None
        at = self._clock()
        following = mint(KIND) if row["rotates"] else text
        expires_at = at + REFRESH_SECONDS * SECOND
        if row["parent_expires_at"] is not None:
            expires_at = min(expires_at, row["parent_expires_at"])
        # One that stays the same is written once in a while only: each docker pull uses it twice.
        if row["rotates"] or row["expires_at"] - at < REFRESH_SECONDS * SECOND // 2:
            renewed = await self._database.write(
                lambda tx: _renew(tx, row["id"], text, following, expires_at, at)
            )
            if renewed and row["rotates"]:
                return _principal(row), following
        return _principal(row), None

    async def _used(self, text: str, address: str) -> Principal:
        row, at = await self._database.fetch_one(FIND_USED, hash_token(text)), self._clock()
        if row is None:
            raise wrong()
        if at - row["used_at"] > GRACE_SECONDS * SECOND:
            who = replace(_principal(row), address=address)
            await self._database.write(lambda tx: revoke_token(tx, who, row["id"], at, _AGAIN))
            raise NotSignedIn("this refresh token was used before, and has ended: sign in again")
        return _principal(row)


def wrong() -> NotSignedIn:
    """Return the answer to what is no refresh token of ours."""
    return NotSignedIn("this refresh token is not known: sign in again")


async def _renew(
    tx: Transaction, token_id: int, text: str, following: str, expires_at: int, at: int
) -> bool:
    before, after = hash_token(text), hash_token(following)
    renewed = await tx.execute(RENEW_REFRESH, token_id, before, after, expires_at, at)
    if renewed and after != before:
        await tx.execute(DELETE_USED, token_id, at - REFRESH_SECONDS * SECOND)
        await tx.execute(INSERT_USED, before, token_id, at)
    return renewed > 0


def _principal(row: Row) -> Principal:
    return Principal(
        account_id=row["account_id"],
        name=row["name"],
        kind=row["kind"],
        token_id=row["id"],
        password_version=row["password_version"],
    )
