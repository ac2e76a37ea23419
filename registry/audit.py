"""The audit: who did what to what, from where, with what result; and who was refused.

Changes write their line in their own transaction (auth/audit.py). Sign-ins and refusals are counted
in memory, a line a minute for the same caller and the same target, and written off the path of
requests: a worker that is killed loses its last minute of them, and nobody can flood the table.
"""

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from registry.leases import Term
from registry.requests import Exchange
from registry.retention import CHUNK, Retention, ids
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import PackhouseError
from storage.names import parse_owner
from storage.periodic import Sleep, repeating

log = logging.getLogger("packhouse.audit")

PERIOD = 60
"""Seconds between two writings of what was counted."""

MOST = 1000
"""Lines of one period of one worker; what comes after them is counted by address alone."""

MOST_OF_NOBODY = 250
"""How many of them may be of people who did not show who they are: any number of names costs those
nothing, and must not crowd out what is told of others."""

OVERFLOW = 100
"""Addresses counted after that; the others are one line."""

INSERT_TALLIED = """
insert into audit (at, kind, result, account_id, token_id, owner_id, subject, detail, address,
  request_id, times)
select cast($1 as bigint), cast($2 as text), cast($3 as text), a.id, cast($5 as bigint),
  coalesce(o.id, case when cast($6 as text) = '' then a.id end), cast($7 as text),
  cast($8 as text), cast($9 as text), cast($10 as text), cast($11 as bigint)
from (select 1 as one) line
  left join accounts a on a.name = $4
  left join accounts o on o.name = $6 and o.kind in ('user', 'organization')
"""
_COLUMNS = """
l.id, l.at, l.kind, l.result, a.name as account, l.token_id, o.name as owner, l.subject, l.detail,
  l.address, l.request_id, l.times
from audit l left join accounts a on a.id = l.account_id left join accounts o on o.id = l.owner_id
"""
LIST_AUDIT = f"select {_COLUMNS} where l.id > $1 and l.at >= $2 order by l.id limit $3"
LIST_AUDIT_OF = f"""
select {_COLUMNS} where l.owner_id = $4 and l.id > $1 and l.at >= $2 order by l.id limit $3
"""
LIST_EXPIRED_AUDIT = "select id from audit where at < $1 order by at limit $2"
DELETE_AUDIT = """
delete from audit
where id in (select cast(value as bigint) from json_each(cast($1 as text))) and at < $2
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What is counted together: `account` and `owner` by name, as the request gave them."""

    kind: str
    result: str
    account: str
    token_id: int
    owner: str
    subject: str
    address: str

    @property
    def of_nobody(self) -> bool:
        """Whether it is of nobody who has shown who he is: wrong passwords come with any name."""
        return not self.account or self.result == "failed"


@dataclass(slots=True)
class Seen:
    """How often, and one request to look for in the log."""

    request_id: str
    times: int = 0


@dataclass(slots=True)
class Tally:
    """What one worker has counted since it last wrote."""

    lines: dict[Line, Seen] = field(default_factory=dict)
    of_nobody: int = 0

    def add(self, line: Line, request_id: str) -> None:
        """Count one, in a table that stays small whatever is asked for."""
        if line not in self.lines:
            line = self._fitting(line)
        if line not in self.lines:
            self.lines[line] = Seen(request_id)
            self.of_nobody += line.of_nobody
        self.lines[line].times += 1

    def take(self) -> dict[Line, Seen]:
        """Return what was counted and begin anew."""
        taken, self.lines, self.of_nobody = self.lines, {}, 0
        return taken

    def _fitting(self, line: Line) -> Line:
        """Return the line, or where the table is full one for many: still by account, if it can."""
        known = len(self.lines) - self.of_nobody
        full = (
            self.of_nobody >= MOST_OF_NOBODY if line.of_nobody else known >= MOST - MOST_OF_NOBODY
        )
        if not full:
            return line
        if len(self.lines) >= MOST + OVERFLOW:
            return Line(line.kind, line.result, "", 0, "", "many names", "many addresses")
        account = "" if line.of_nobody else line.account
        return Line(line.kind, line.result, account, 0, "", "many names", line.address)


class Audit:
    """Counts what was refused and who signed in, writes that down, and lists all of it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._tally = Tally()

    def observe(self, exchange: Exchange) -> None:
        """Look at a request that has ended: an allowed one costs two comparisons."""
        if exchange.status in (401, 403):
            line = _refused(exchange)
            if line is not None:
                self._tally.add(line, exchange.id)
        elif exchange.account and (
            exchange.signed_in or _DOORS.get(exchange.route) == exchange.status
        ):
            line = Line("sign-in", "done", exchange.account, 0, "", "", exchange.client)
            self._tally.add(line, exchange.id)

    async def flush(self) -> None:
        """Write what was counted."""
        taken, at = self._tally.take(), self._clock()
        if not taken:
            return

        async def work(tx: Transaction) -> None:
            for line, seen in taken.items():
                target = (line.owner, line.subject, "", line.address, seen.request_id, seen.times)
                who = (line.account, line.token_id or None)
                await tx.execute(INSERT_TALLIED, at, line.kind, line.result, *who, *target)

        await self._database.write(work)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write once a minute in a task, and at the end."""
        async with repeating("audit", lambda: PERIOD, self._try_flush, self._sleep):
            yield
        await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except PackhouseError as error:
            log.warning("audit: what was refused in the last minute is lost: %s", error)

    async def list(
        self, owner_id: int | None = None, after: int = 0, since: int = 0, limit: int = 1000
    ) -> Sequence[Row]:
        """Return lines after a row id and not before `since` (µs UTC), oldest first.

        With `owner_id` only those that concern this owner.
        """
        if owner_id is None:
            return await self._database.fetch(LIST_AUDIT, after, since, limit)
        return await self._database.fetch(LIST_AUDIT_OF, after, since, limit, owner_id)


async def expire_audit(term: Term, retention: Retention, at: int) -> Counter[str] | None:
    """Delete some lines that are older than the audit is kept."""
    before = retention.audited_before(at)
    due = await term.database.fetch(LIST_EXPIRED_AUDIT, before, CHUNK)
    if not due:
        return None
    chosen = ids(due)
    removed = await term.write(lambda tx: tx.execute(DELETE_AUDIT, chosen, before))
    return Counter({"audit lines": removed})


def _refused(exchange: Exchange) -> Line | None:
    """Return the line of a refusal; None for the first step of every sign-in, which names none."""
    if exchange.route in _DOORS or exchange.claimed:
        return Line("sign-in", "failed", _name(exchange.claimed), 0, "", "", exchange.client)
    if exchange.route.startswith("/api/"):
        kind, (owner, repository) = "api", _asked(exchange)
    else:
        kind, (owner, repository) = _KINDS.get(exchange.method, "push"), _target(exchange)
    result = "denied" if exchange.status == 403 else "not signed in"
    if exchange.account:
        who = (exchange.account, exchange.token_id)
        return Line(kind, result, *who, owner, repository, exchange.client)
    return Line(kind, result, "", 0, owner, "", network(exchange.client)) if owner else None


def _target(exchange: Exchange) -> tuple[str, str]:
    """Return owner and repository of a path under /v2 or of a package; "" where it names none."""
    if exchange.package:
        return _name(exchange.package.partition("/")[0]), exchange.package
    parts = exchange.path.split("/")
    ends = [n for n, part in enumerate(parts) if n > 3 and part in _KEYWORDS]
    owner = _name(parts[2]) if ends and parts[1] == "v2" else ""
    return (owner, "/".join(parts[2 : ends[-1]])) if owner else ("", "")


def _asked(exchange: Exchange) -> tuple[str, str]:
    """Return the owner in a path of the API, and the operation: no other word of the path, for
    that may be anything.
    """
    named = dict(zip(exchange.route.split("/"), exchange.path.split("/"), strict=False))
    return _name(named.get("{owner}", "")), f"{exchange.method} {exchange.route}"


def _name(text: str) -> str:
    """Return a name that an account could have; anything else may be a password, or worse."""
    try:
        return parse_owner(text)
    except PackhouseError:
        return ""


_DOORS = {"/token": 200, "/-/ui/sign-in": 303, "/-/ui/callback": 303}
"""Where people sign in, by route, and the status of the answer to who did."""

_KINDS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_KEYWORDS = ("manifests", "blobs", "tags", "referrers")


def network(client: str) -> str:
    """Return the /24 or /64 of an address: who is nobody is counted by that."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return "an unknown address"
    bits = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
