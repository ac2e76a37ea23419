"""Identities: whom a provider of sign-ins calls what, and which account that is here.

Reading list: OpenID Connect Core 1.0, section 5.7 (only issuer and subject together are a name). An
e-mail address or a user name links nothing: it may be somebody else's tomorrow. A new account is
named after one, and gets a number where the name is taken.
"""

import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auth.accounts import END_SESSIONS, Accounts, insert_user
from auth.audit import note
from auth.errors import NotSignedIn
from auth.id_tokens import subject_of
from auth.mapped_teams import follow_groups, forget_groups
from auth.principals import Principal
from auth.providers import Provider
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, Denied, NameInvalid, NotFound
from storage.names import parse_owner

NAME_LENGTH = 39
_NUMBERED = 100
"""How many names with a number are tried, before one with random characters."""
_MOST_GROUPS = 10_000

FIND_IDENTITY = """
select i.id, i.account_id, i.issuer, i.subject, i.created_at, i.last_used_at,
  u.name, u.kind, u.password_version, u.disabled_at
from identities i join accounts u on u.id = i.account_id
where i.issuer = $1 and i.subject = $2
"""
FIND_LINK = "select id, issuer, subject from identities where id = $1 and account_id = $2"
INSERT_IDENTITY = """
insert into identities (issuer, subject, account_id, created_at) values ($1, $2, $3, $4)
on conflict (issuer, subject) do nothing returning id
"""
TOUCH_IDENTITY = "update identities set last_used_at = $2 where id = $1"
DELETE_IDENTITY = "delete from identities where id = $1"
LIST_IDENTITIES = """
select id, issuer, subject, created_at, last_used_at from identities
where account_id = $1 and id > $2 order by id limit $3
"""


class _Raced(Exception):
    """Somebody else has just given the identity an account."""


class Identities:
    """Finds, makes, links and unlinks accounts of identities."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def sign_in(
        self, provider: Provider, claims: Mapping[str, Any], address: str, request_id: str
    ) -> Principal:
        """Return the account of who has just signed in at a provider, whose claims were verified.

        Its teams follow the claims. Raises NotSignedIn for a disabled account, Denied for somebody
        who is not known here, where the provider's `create` is off.
        """
        subject, teams = subject_of(claims), teams_of(provider, claims)
        names = list(names_for(claims.get(provider.username_claim)))
        by, at = (address, request_id), self._clock()

        async def work(tx: Transaction) -> Principal:
            row = await tx.fetch_one(FIND_IDENTITY, provider.issuer, subject)
            if row is None and provider.create:
                row = await _make_account(tx, provider, subject, names, by, at)
            if row is None:
                raise Denied(_unknown(provider, subject))
            if row["disabled_at"] is not None:
                raise NotSignedIn("this account is disabled: ask an administrator")
            who = _principal(row, *by)
            await tx.execute(TOUCH_IDENTITY, row["id"], at)
            await follow_groups(tx, who, row["id"], teams, at)
            return who

        while True:
            try:
                return await self._database.write(work)
            except _Raced:
                continue  # now it is there

    async def link(self, who: Principal, name: str, issuer: str, subject: str) -> Row:
        """Say that an identity is a user; return it. Raises NotFound, Conflict for another's."""
        account, at = await self._accounts.get(name, "user"), self._clock()

        async def work(tx: Transaction) -> Row:
            made = await tx.fetch_one(INSERT_IDENTITY, issuer, subject, account.id, at)
            row = await tx.fetch_one(FIND_IDENTITY, issuer, subject)
            if row is None:
                raise RuntimeError("an identity is gone in the transaction that made it")
            if row["account_id"] != account.id:
                raise Conflict(f"that identity is linked to {row['name']!r}: unlink it first")
            if made is not None:
                detail = f"{issuer} {subject}"
                await note(tx, who, "user.link", account.id, account.name, at, detail)
            return row

        return await self._database.write(work)

    async def unlink(self, who: Principal, name: str, identity_id: int) -> None:
        """End a link, the memberships it gave, and the user's sessions. Raises NotFound."""
        account, at = await self._accounts.get(name, "user"), self._clock()

        async def work(tx: Transaction) -> None:
            row = await tx.fetch_one(FIND_LINK, identity_id, account.id)
            if row is None:
                raise NotFound(f"{account.name!r} has no identity {identity_id}")
            await forget_groups(tx, who, account, row["id"], at)
            await tx.execute(END_SESSIONS, account.id)
            await tx.execute(DELETE_IDENTITY, row["id"])
            detail = f"{row['issuer']} {row['subject']}"
            await note(tx, who, "user.unlink", account.id, account.name, at, detail)

        await self._database.write(work)

    async def list(self, name: str, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return up to `limit` identities of a user with ids above `after`. Raises NotFound."""
        account = await self._accounts.get(name, "user")
        return await self._database.fetch(LIST_IDENTITIES, account.id, after, limit)


def names_for(wanted: object) -> Iterator[str]:
    """Yield the names a new account could have: as wanted, with a number, at last with letters.

    Of an address it is what stands before the '@'. What no name may hold becomes '-'.
    """
    text = wanted if isinstance(wanted, str) else ""
    folded = re.sub(r"[^a-z0-9]+", "-", text.lower().partition("@")[0][:200]).strip("-") or "user"
    for number in range(1, _NUMBERED + 1):
        suffix = "" if number == 1 else f"-{number}"
        name = folded[: NAME_LENGTH - len(suffix)].strip("-") + suffix
        try:
            yield parse_owner(name)
        except NameInvalid:
            continue  # a reserved one
    yield f"{folded[:20].strip('-')}-{secrets.token_hex(8)}"


def teams_of(provider: Provider, claims: Mapping[str, Any]) -> list[str]:
    """Return the teams that the configuration maps somebody's groups to; no claim is no group."""
    said = claims.get(provider.groups_claim) if provider.groups_claim else None
    if isinstance(said, str):
        said = [said]
    if not isinstance(said, list | dict):
        return []
    names = {name for name in list(said)[:_MOST_GROUPS] if isinstance(name, str)}
    return sorted({team for group, team in provider.groups if group in names})


async def _make_account(
    tx: Transaction,
    provider: Provider,
    subject: str,
    names: Sequence[str],
    by: tuple[str, str],
    at: int,
) -> Row | None:
    for name in names:
        user_id = await insert_user(tx, name, None, at, admin=False)
        if user_id is not None:
            break
    else:
        raise Conflict("there is no free name for your account: ask an administrator to make one")
    if await tx.fetch_one(INSERT_IDENTITY, provider.issuer, subject, user_id, at) is None:
        raise _Raced
    row = await tx.fetch_one(FIND_IDENTITY, provider.issuer, subject)
    if row is not None:
        detail = f"{provider.issuer} {subject}"
        who = _principal(row, *by)
        await note(tx, who, "user.create", user_id, who.name, at)
        await note(tx, who, "user.link", user_id, who.name, at, detail)
    return row


def _principal(row: Row, address: str, request_id: str) -> Principal:
    return Principal(
        account_id=row["account_id"],
        name=row["name"],
        kind=row["kind"],
        password_version=row["password_version"],
        address=address,
        request_id=request_id,
    )


def _unknown(provider: Provider, subject: str) -> str:
    command = f"packhouse user link NAME {shlex.quote(provider.issuer)} {shlex.quote(subject)}"
    return (
        f"{provider.shown} knows you, but no account here is linked to that identity: "
        f"ask an administrator for it, who uses: {command}"
    )
