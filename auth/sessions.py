"""Sessions: browsers that are signed in, as rows that every request reads.

Reading list: OWASP Session Management Cheat Sheet. The browser holds 256 random bits, the row their
SHA-256. A session ends when nobody uses it for a day, after two weeks in any case, with the
password, and when the account is disabled or the row goes; nothing of it is cached.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from auth.accounts import END_SESSIONS, LOCK_ACCOUNT
from auth.audit import note
from auth.errors import CHANGED, NotSignedIn
from auth.principals import Principal
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction

IDLE_SECONDS = 86400
"""How long a session lives that nobody uses."""
SESSION_SECONDS = 14 * 86400
"""How long a session lives at most."""
TOUCH_SECONDS = 300
"""How often the use of a session is written down."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

INSERT_SESSION = """
insert into sessions (hash, account_id, password_version, way, address, agent, created_at,
  last_used_at, expires_at, ends_at)
select cast($1 as text), u.id, u.password_version, cast($3 as text), cast($4 as text),
  cast($5 as text), cast($6 as bigint), cast($6 as bigint), cast($7 as bigint), cast($8 as bigint)
from accounts u
where u.id = $2 and u.kind = 'user' and u.disabled_at is null and u.password_version = $9
returning id
"""
FIND_SESSION = """
select s.id, s.way, s.last_used_at, s.ends_at, u.id as account_id, u.name, u.kind,
  u.password_version
from sessions s join accounts u on u.id = s.account_id
where s.hash = $1 and s.expires_at > $2 and u.disabled_at is null
  and s.password_version = u.password_version
"""
TOUCH_SESSION = """
update sessions set last_used_at = $2, expires_at = $3 where id = $1 and last_used_at < $2
"""
LIST_SESSIONS = """
select s.id, s.way, s.address, s.agent, s.created_at, s.last_used_at
from sessions s join accounts u on u.id = s.account_id
where s.account_id = $1 and s.expires_at > $2 and s.password_version = u.password_version
order by s.id desc limit 1000
"""
DELETE_SESSION = "delete from sessions where id = $1 and account_id = $2"
DELETE_SESSION_OF_BROWSER = "delete from sessions where hash = $1"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in in a browser, and through what: "password", or a provider's name."""

    id: int
    who: Principal
    way: str


def new_secret() -> str:
    """Return 256 random bits as 43 characters that need no escape in a cookie or a URL."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether `text` could come from `new_secret`."""
    return _SECRET.fullmatch(text) is not None


def hash_secret(text: str) -> str:
    """Return what a row keeps of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def form_key(secret: str) -> str:
    """Return what every form of a browser carries: only who holds its secret can know it."""
    digest = hmac.digest(secret.encode(), b"packhouse form", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, who: Principal, way: str, agent: str, former: str = "") -> str:
        """Return the secret of a new session of `who`, who has just shown who he is.

        It is always a new one; the session that the browser had before, if any, ends.
        Raises NotSignedIn for an account that was disabled, or got another password, meanwhile.
        """
        secret, at = new_secret(), self._clock()
        idle, end = at + IDLE_SECONDS * SECOND, at + SESSION_SECONDS * SECOND

        async def work(tx: Transaction) -> bool:
            # Who disables the account comes before this, and is seen, or after, and ends this too.
            await tx.fetch_one(LOCK_ACCOUNT, who.account_id)
            if former:
                await tx.execute(DELETE_SESSION_OF_BROWSER, hash_secret(former))
            said = (way, who.address, agent[:200], at, idle, end, who.password_version)
            row = await tx.fetch_one(INSERT_SESSION, hash_secret(secret), who.account_id, *said)
            return row is not None

        if not await self._database.write(work):
            raise NotSignedIn(CHANGED)
        return secret

    async def find(self, secret: str) -> Session | None:
        """Return the live session of a browser's secret, and write down that it is used."""
        if not is_secret(secret):
            return None
        at = self._clock()
        row = await self._database.fetch_one(FIND_SESSION, hash_secret(secret), at)
        if row is None:
            return None
        if at - row["last_used_at"] >= TOUCH_SECONDS * SECOND:
            expires_at = min(at + IDLE_SECONDS * SECOND, row["ends_at"])
            await self._database.execute(TOUCH_SESSION, row["id"], at, expires_at)
        return Session(row["id"], _principal(row), row["way"])

    async def list(self, account_id: int) -> Sequence[Row]:
        """Return the live sessions of an account, the newest first, at most 1,000."""
        return await self._database.fetch(LIST_SESSIONS, account_id, self._clock())

    async def end(self, who: Principal, session_id: int) -> None:
        """End one session of the caller's; nothing if it has ended already, or is another's."""
        await self._database.execute(DELETE_SESSION, session_id, who.account_id)

    async def end_all(self, who: Principal) -> None:
        """End every session of the caller's, on every worker, at once."""
        at = self._clock()

        async def work(tx: Transaction) -> None:
            ended = await tx.execute(END_SESSIONS, who.account_id)
            await note(tx, who, "user.sign-out", who.account_id, who.name, at, f"{ended} sessions")

        await self._database.write(work)


def _principal(row: Row) -> Principal:
    return Principal(
        account_id=row["account_id"],
        name=row["name"],
        kind=row["kind"],
        password_version=row["password_version"],
    )
