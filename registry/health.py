"""`/healthz` says that this process answers, `/readyz` that it can do its work."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from storage.database import Database
from storage.errors import PackhouseError

SELECT_ONE = "select 1 as one"
_PATIENCE_SECONDS = 5.0
_HEADERS = {"Cache-Control": "no-store"}


class Health:
    """Looks at the database with every `/readyz`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def alive(self, request: Request) -> PlainTextResponse:
        """GET /healthz."""
        del request
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def ready(self, request: Request) -> JSONResponse:
        """GET /readyz: 200, or 503 naming what is missing."""
        del request
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._database.fetch_one(SELECT_ONE)
        except (PackhouseError, TimeoutError):
            return JSONResponse({"database": "unavailable"}, 503, {**_HEADERS, "Retry-After": "5"})
        return JSONResponse({"database": "ok"}, headers=_HEADERS)
