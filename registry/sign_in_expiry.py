"""What is left of sign-ins: refresh tokens and sessions that nobody used for their whole life."""

from collections import Counter

from registry.leases import Term
from registry.retention import CHUNK, Retention, ids
from storage.clock import SECOND
from storage.database import Transaction, Work

KEPT_SECONDS = 2 * 86400
"""How long an ended one stays: a bearer of it may finish its upload for a day."""

SIGN_INS = 20
"""Refresh tokens of one transaction: each may bring thousands of texts it had before."""

LIST_ENDED_SIGN_INS = """
select k.id from tokens k
where k.kind = 'refresh' and k.expires_at < $1
  and not exists (select 1 from tokens child where child.parent_id = k.id)
order by k.expires_at limit $2
"""
DELETE_TEXTS_BEFORE = """
delete from used_refresh_tokens
where token_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_LIMITS_OF = """
delete from token_limits
where token_id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""
DELETE_SIGN_INS = """
delete from tokens
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
"""


async def expire_sign_ins(term: Term, _: Retention, at: int) -> Counter[str] | None:
    """Delete some refresh tokens that ended long ago; an ended one is never good again."""
    before = at - KEPT_SECONDS * SECOND
    due = await term.database.fetch(LIST_ENDED_SIGN_INS, before, SIGN_INS)
    if not due:
        return None
    ended = ids(due)

    async def work(tx: Transaction) -> int:
        await tx.execute(DELETE_TEXTS_BEFORE, ended)
        await tx.execute(DELETE_LIMITS_OF, ended)
        return await tx.execute(DELETE_SIGN_INS, ended)

    return Counter({"sign-ins": await term.write(work)})


KEPT_LOGIN_SECONDS = 86400
"""How long a login of a client that has ended is known as one."""

LIST_EXPIRED_SESSIONS = """
select id from sessions where expires_at <= $1 order by expires_at limit $2
"""
DELETE_EXPIRED_SESSIONS = """
delete from sessions
where id in (select cast(value as bigint) from json_each(cast($1 as text))) and expires_at <= $2
"""
LIST_EXPIRED_LOGINS = (
    "select id from web_logins where expires_at <= $1 order by expires_at limit $2"
)
DELETE_EXPIRED_LOGINS = """
delete from web_logins
where id in (select cast(value as bigint) from json_each(cast($1 as text))) and expires_at <= $2
"""
LIST_EXPIRED_PROVIDER_SIGN_INS = """
select state_hash as id from provider_sign_ins where expires_at <= $1 order by expires_at limit $2
"""
DELETE_EXPIRED_PROVIDER_SIGN_INS = """
delete from provider_sign_ins
where state_hash in (select value from json_each(cast($1 as text))) and expires_at <= $2
"""

_BROWSERS = (
    ("sessions", LIST_EXPIRED_SESSIONS, DELETE_EXPIRED_SESSIONS, 0),
    ("logins", LIST_EXPIRED_LOGINS, DELETE_EXPIRED_LOGINS, KEPT_LOGIN_SECONDS),
    ("logins", LIST_EXPIRED_PROVIDER_SIGN_INS, DELETE_EXPIRED_PROVIDER_SIGN_INS, 0),
)


async def expire_browsers(term: Term, _: Retention, at: int) -> Counter[str] | None:
    """Delete some sessions of browsers, and sign-ins and logins there, whose time is over."""
    removed: Counter[str] = Counter()
    for what, listing, deletion, seconds in _BROWSERS:
        before = at - seconds * SECOND
        due = await term.database.fetch(listing, before, CHUNK)
        if due:
            removed[what] += await term.write(_deleting(deletion, ids(due), before))
    return removed or None


def _deleting(statement: str, chosen: str, before: int) -> Work[int]:
    return lambda tx: tx.execute(statement, chosen, before)
