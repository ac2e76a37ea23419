"""What is left of sign-ins: refresh tokens that nobody used for their whole life are forgotten."""

from collections import Counter

from registry.leases import Term
from registry.retention import Retention, ids
from storage.clock import SECOND
from storage.database import Transaction

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
