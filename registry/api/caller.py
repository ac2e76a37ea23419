"""Who is calling, and what this API is."""

from typing import Literal

import msgspec
from starlette.responses import Response

from auth.permissions import Permissions
from auth.principals import Scope
from registry.rest.document import describe
from registry.rest.needs import SIGNED_IN, open_because
from registry.rest.operation import Call, Operation
from storage.clock import rfc3339

CALLER = "/api/v1/user"

ScopeWord = Literal["read", "write", "delete", "admin"]
SCOPES: tuple[ScopeWord, ...] = ("read", "write", "delete", "admin")


class TokenInUse(msgspec.Struct, frozen=True):
    """The token that the request came with; `limited` if it is good for some resources only."""

    id: int
    scopes: list[ScopeWord]
    expires: str | None
    limited: bool


class Caller(msgspec.Struct, frozen=True):
    """Who is calling."""

    name: str
    kind: str
    admin: bool
    token: TokenInUse | None


class CallerApi:
    """The operations."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [Operation("GET", CALLER, self.get, "Say who is calling", SIGNED_IN, Caller)]

    async def get(self, call: Call) -> Caller:
        """Say who is calling, by which token."""
        who = call.who
        if who.operator:
            return Caller(who.name, who.kind, admin=True, token=None)
        row, token = await self._permissions.live(who), None
        if who.token_id:
            end = None if row["expires_at"] is None else rfc3339(row["expires_at"])
            words = scope_words(row["scopes"])
            token = TokenInUse(who.token_id, words, end, bool(row["limit_layers"]))
        return Caller(who.name, who.kind, bool(row["is_admin"]), token)


def scope_words(scopes: int) -> list[ScopeWord]:
    """Name the scopes of a token."""
    return [word for word in SCOPES if Scope[word.upper()] & scopes]


def document(operations: list[Operation], version: str) -> Operation:
    """Return the operation that describes all of them, itself too."""
    described = b""

    async def openapi(_: Call) -> Response:
        nonlocal described
        described = described or msgspec.json.encode(
            describe([*operations, shown], "Packhouse", version)
        )
        return Response(described, media_type="application/json")

    why = "it says what there is to ask, and shows nothing of what is stored"
    need = open_because(why)
    shown = Operation("GET", "/api/v1/openapi.json", openapi, "Describe this API", need, dict)
    return shown
