"""When tokens were used last: noted in memory, written to their rows now and then.

Never on the way of a request. What a worker noted and had not written when it died is lost, and
that is fine: the column says "about a minute ago", for people who look for tokens nobody needs.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from storage.clock import SECOND, Clock
from storage.database import Database
from storage.errors import PackhouseError
from storage.periodic import Sleep, repeating

FLUSH_SECONDS = 60
MAX_NOTED = 20_000
"""Tokens noted between two flushes; those beyond are not."""
CHUNK = 500

TOUCH_TOKENS = """
update tokens set last_used_at = $2
where id in (select cast(value as bigint) from json_each(cast($1 as text)))
  and coalesce(last_used_at, 0) <= $3
"""


class LastUses:
    """Notes and flushes."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._noted: set[int] = set()

    def note(self, token_id: int) -> None:
        """Say that a token was used now."""
        if len(self._noted) < MAX_NOTED:
            self._noted.add(token_id)

    async def flush(self) -> None:
        """Write what was noted, each token at most once a minute whichever worker noted it."""
        noted, self._noted = sorted(self._noted), set()
        at = self._clock()
        for start in range(0, len(noted), CHUNK):
            chunk = json.dumps(noted[start : start + CHUNK])
            await self._database.execute(TOUCH_TOKENS, chunk, at, at - 60 * SECOND)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Flush every minute in a task; on the way out end it and flush once more."""
        async with repeating("last uses", lambda: FLUSH_SECONDS, self.flush, self._sleep):
            yield
        with suppress(PackhouseError):  # a database that is gone keeps no server from ending
            await self.flush()
