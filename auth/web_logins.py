"""Logins of clients that a person confirms in a browser, as npm's `--auth-type=web` does.

Reading list: RFC 8628 (device authorization), sections 5.4 (phishing) and 6.1 (codes); npm-profile,
"Web login". A client begins one, shows the person a link and asks with a secret of its own until
somebody has decided. The token is made when the client fetches it, once: no row ever holds it.
"""

import secrets
from dataclasses import dataclass

from auth.audit import note
from auth.errors import LoginEnded, LoginUnknown
from auth.principals import Principal, Scope
from auth.sessions import hash_secret, is_secret, new_secret
from auth.tokens import NewToken, insert_token, mint
from storage.clock import SECOND, Clock
from storage.database import Database, Row, Transaction

WAITING_SECONDS = 600
"""How long a login waits to be confirmed, and then to be fetched."""
TOKEN_SECONDS = 90 * 86400
"""How long the token lives that a login ends with."""

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Of codes: none that looks like another, and no vowels that make words."""

INSERT_WEB_LOGIN = """
insert into web_logins (hash, secret_hash, code, client, address, scopes, state, created_at,
  expires_at)
values ($1, $2, $3, $4, $5, $6, 'pending', $7, $8)
"""
FIND_WEB_LOGIN = """
select w.id, w.code, w.client, w.address, w.scopes, w.state, w.created_at, w.expires_at
from web_logins w where w.hash = $1
"""
FIND_WEB_LOGIN_BY_SECRET = "select id, state, expires_at from web_logins where secret_hash = $1"
DECIDE_WEB_LOGIN = """
update web_logins set state = $2, account_id = $3, password_version = $4
where hash = $1 and state = 'pending' and expires_at > $5 returning id
"""
TAKE_WEB_LOGIN = """
update web_logins set state = 'taken'
where id = $1 and state = 'confirmed' and expires_at > $2
  and exists (select 1 from accounts u where u.id = web_logins.account_id
    and u.disabled_at is null and u.password_version = web_logins.password_version)
returning account_id, client, scopes, password_version
"""
FIND_TAKER = "select id, name, kind from accounts where id = $1"


@dataclass(frozen=True, slots=True)
class BegunLogin:
    """What a client gets: the id for the person's link, its own secret, and the code to show."""

    id: str
    secret: str
    code: str


@dataclass(frozen=True, slots=True)
class WaitingLogin:
    """What the person sees before deciding."""

    code: str
    client: str
    address: str
    scopes: Scope
    created_at: int


class WebLogins:
    """Begins, shows, decides and hands out."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(
        self, client: str, address: str, scopes: Scope = Scope.READ | Scope.WRITE
    ) -> BegunLogin:
        """Begin a login for a client, which says of itself what it is, from an address."""
        begun = BegunLogin(new_secret(), new_secret(), _new_code())
        at, hashes = self._clock(), (hash_secret(begun.id), hash_secret(begun.secret))
        shown = (begun.code, _plain(client), address, int(scopes))
        expires_at = at + WAITING_SECONDS * SECOND
        await self._database.execute(INSERT_WEB_LOGIN, *hashes, *shown, at, expires_at)
        return begun

    async def waiting(self, login: str) -> WaitingLogin:
        """Return a login that nobody has decided on. Raises LoginUnknown, LoginEnded."""
        row = await self._find(FIND_WEB_LOGIN, login)
        if row["state"] != "pending":
            raise LoginEnded("this login has been decided on already: the client knows")
        return WaitingLogin(
            code=row["code"],
            client=row["client"],
            address=row["address"],
            scopes=Scope(row["scopes"]),
            created_at=row["created_at"],
        )

    async def decide(self, who: Principal, login: str, *, confirmed: bool) -> None:
        """Confirm or deny a login, the first time. Raises LoginUnknown, LoginEnded."""
        await self.waiting(login)
        at, state = self._clock(), "confirmed" if confirmed else "denied"
        whose = (who.account_id, who.password_version)

        async def work(tx: Transaction) -> bool:
            row = await tx.fetch_one(DECIDE_WEB_LOGIN, hash_secret(login), state, *whose, at)
            if row is None:
                return False
            said = f"login {row['id']} {state}"
            await note(tx, who, "user.web-login", who.account_id, who.name, at, said)
            return True

        if not await self._database.write(work):
            raise LoginEnded("this login has been decided on already: the client knows")

    async def take(self, secret: str) -> str | None:
        """Return the token of a confirmed login, this once; None while nobody has decided.

        Raises LoginUnknown, LoginEnded.
        """
        row = await self._find(FIND_WEB_LOGIN_BY_SECRET, secret)
        if row["state"] == "pending":
            return None
        text, at = mint("user"), self._clock()

        async def work(tx: Transaction) -> bool:
            taken = await tx.fetch_one(TAKE_WEB_LOGIN, row["id"], at)
            if taken is None:
                return False
            await _make_token(tx, taken, text, at)
            return True

        if row["state"] != "confirmed" or not await self._database.write(work):
            raise LoginEnded("this login has ended: begin a new one")
        return text

    async def _find(self, statement: str, secret: str) -> Row:
        row = None
        if is_secret(secret):
            row = await self._database.fetch_one(statement, hash_secret(secret))
        if row is None:
            raise LoginUnknown("no login is known under this link: begin a new one")
        if row["expires_at"] <= self._clock():
            raise LoginEnded("nobody decided on this login within ten minutes: begin a new one")
        return row


async def _make_token(tx: Transaction, taken: Row, text: str, at: int) -> None:
    account = await tx.fetch_one(FIND_TAKER, taken["account_id"])
    if account is None:
        raise LoginEnded("this login has ended: begin a new one")
    who = Principal(account["id"], account["name"], account["kind"])
    new = NewToken(
        account_id=who.account_id,
        kind="user",
        name=f"web login: {taken['client']}"[:100],
        scopes=Scope(taken["scopes"]),
        expires_at=at + TOKEN_SECONDS * SECOND,
    )
    await insert_token(tx, who, new, text, at)


def _new_code() -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _plain(text: str) -> str:
    return "".join(c for c in text[:80] if c.isprintable()).strip() or "a client without a name"
