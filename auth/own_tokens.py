"""The tokens of one person, as the person sees and ends them."""

from collections.abc import Sequence

from auth.principals import Principal
from auth.tokens import revoke_token
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import NotFound

LIST_OWN_TOKENS = """
select k.id, k.kind, k.name, k.scopes, k.created_at, k.expires_at, k.last_used_at
from tokens k
where k.account_id = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > $2)
order by k.id desc limit 1000
"""
FIND_OWN_TOKEN = "select id from tokens where id = $1 and account_id = $2"


class OwnTokens:
    """Lists and revokes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(self, who: Principal) -> Sequence[Row]:
        """Return the caller's live tokens, the newest first, at most 1,000."""
        return await self._database.fetch(LIST_OWN_TOKENS, who.account_id, self._clock())

    async def revoke(self, who: Principal, token_id: int) -> None:
        """End one of the caller's tokens and those it made; nothing if it has ended already.

        Raises NotFound for anybody else's.
        """
        at = self._clock()

        async def work(tx: Transaction) -> None:
            if await tx.fetch_one(FIND_OWN_TOKEN, token_id, who.account_id) is None:
                raise NotFound("you have no such token")
            await revoke_token(tx, who, token_id, at)

        await self._database.write(work)
