"""The audit: who did what to what, and who was refused."""

from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from registry.api.owners import Time, instant_of
from registry.audit import Audit
from registry.negotiation import accepts
from registry.rest.needs import CHANGE_OWNER, SITE
from registry.rest.operation import Call, NumberPaging, Operation, Page
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

AUDIT = "/api/v1/audit"
OWNER_AUDIT = "/api/v1/owners/{owner}/audit"
LINES = "application/x-ndjson"
_PAGE = 1000


class AuditPaging(NumberPaging, frozen=True):
    """Which lines: up to `n` after the one that `after` names, and not before `since`."""

    since: Time = "1970-01-01T00:00:00Z"


class AuditLine(msgspec.Struct, frozen=True):
    """What was done, or refused; `times` within one minute.

    An empty `account` is nobody, or with an empty `address` the command line.
    """

    id: int
    at: Time
    account: str
    token: int | None
    address: str
    did: str
    owner: str
    to: str
    result: str
    detail: str
    times: int
    request: str


class AuditApi:
    """The operations."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", AUDIT, self.list, "List the audit, oldest first", SITE,
                answer=Page[AuditLine], query=AuditPaging, lines=True,
            ),
            Operation(
                "GET", OWNER_AUDIT, self.of_owner,
                "List the audit of what concerns an owner", CHANGE_OWNER,
                answer=Page[AuditLine], query=AuditPaging, lines=True,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[AuditLine] | Response:
        """List the audit."""
        return await self._list(call, None)

    async def of_owner(self, call: Call) -> Page[AuditLine] | Response:
        """List the audit of what concerns an owner."""
        return await self._list(call, call.at.owner_id)

    async def _list(self, call: Call, owner_id: int | None) -> Page[AuditLine] | Response:
        paging: AuditPaging = call.query
        since = instant_of(paging.since)
        accept = call.headers.get("accept", "")
        if LINES in accept.lower() and accepts(accept, LINES):
            lines = self._lines(owner_id, paging.after, since)
            return StreamingResponse(lines, media_type=LINES)
        rows = await self._audit.list(owner_id, paging.after, since, paging.n + 1)
        return page_of(rows, paging.n, "id", _line)

    async def _lines(self, owner_id: int | None, after: int, since: int) -> AsyncIterator[bytes]:
        """Yield every line after a row id, a page at a time: all of it is never in memory."""
        while rows := await self._audit.list(owner_id, after, since, _PAGE):
            after = rows[-1]["id"]
            yield b"".join(msgspec.json.encode(_line(row)) + b"\n" for row in rows)


def _line(row: Row) -> AuditLine:
    return AuditLine(
        id=row["id"],
        at=rfc3339(row["at"]),
        account=row["account"] or "",
        token=row["token_id"],
        address=row["address"],
        did=row["kind"],
        owner=row["owner"] or "",
        to=row["subject"],
        result=row["result"],
        detail=row["detail"],
        times=row["times"],
        request=row["request_id"],
    )
