"""`npm token`: the caller's own tokens, listed, made and ended.

Reading list: npm's lib/commands/token.js (what npm 11 sends, and how it finds a token by the
beginning of its key); npm-profile, createToken.

A key is the token's number and a dash: npm takes what only one key begins with for that key, so
none may be the beginning of another.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from auth.permissions import Permissions
from auth.places import Places
from auth.principals import Principal, Scope
from auth.token_making import TokenMaking, Wanted
from auth.tokens import KINDS, MintedToken, Tokens, looks_like_token
from formats.npm.json_bodies import answer, read_json
from formats.npm.names import parse_name
from formats.npm.password_door import PasswordDoor
from registry.packaging.surface import Call, Route
from registry.rest.needs import CHANGE_USER, END_TOKEN, SIGNED_IN
from storage.clock import Clock, rfc3339
from storage.database import Row
from storage.errors import Denied, Invalid, NotFound

TOKENS = "/-/npm/v1/tokens"
PAGE = 100
_DAY = 86_400
_KEY = re.compile(r"([1-9][0-9]{0,17})-?", re.ASCII)

Permission = Literal["read-only", "read-write", "no-access"]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_525)]
Names = Annotated[list[str], msgspec.Meta(max_length=100)]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `npm token create` asks for: what is not known here might have narrowed it."""

    password: str
    name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    readonly: bool = False
    expires: Days | None = None
    packages: Names = []
    packages_all: bool = False
    scopes: Names = []
    packages_and_scopes_permission: Permission = "read-write"
    orgs: list[str] = []
    orgs_permission: Permission = "no-access"
    cidr_whitelist: list[str] | None = None
    description: str | None = None
    bypass_2fa: bool = False
    """Nothing here asks for a second factor, so every token has this."""


class TokenPages:
    """Lists, makes and ends tokens."""

    def __init__(
        self,
        permissions: Permissions,
        making: TokenMaking,
        tokens: Tokens,
        places: Places,
        door: PasswordDoor,
        clock: Clock,
    ) -> None:
        self._permissions = permissions
        self._making = making
        self._tokens = tokens
        self._places = places
        self._door = door
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes of tokens."""
        return [
            Route("GET", TOKENS, self.list, SIGNED_IN),
            Route("POST", TOKENS, self.create, SIGNED_IN),
            Route("DELETE", TOKENS + "/token/{token}", self.revoke, END_TOKEN),
        ]

    async def list(self, call: Call) -> Response:
        """GET /-/npm/v1/tokens?after=ID: the live ones, the oldest first.

        Raises Denied for a token with limits, and for one without the scope for it.
        """
        await self._places.require_user(call.who, CHANGE_USER.scope, call.who.name)
        after = call.number("after") or 0
        rows = await self._tokens.list(call.who.name, after, PAGE + 1, ended=False)
        shown = rows[:PAGE]
        following = {}
        if len(rows) > PAGE:
            query = urlencode({"after": shown[-1]["id"]})
            following["next"] = f"{call.base}{TOKENS}?{query}"
        content = {"objects": [_show(row) for row in shown], "total": len(shown)}
        return answer({**content, "urls": following})

    async def create(self, call: Call) -> Response:
        """POST /-/npm/v1/tokens, with the caller's password.

        Raises NotSignedIn for a wrong password, Denied for more than the caller's token has,
        Invalid for what a token here cannot be.
        """
        new = await read_json(call, NewToken)
        wanted = read_wanted(new)
        await self._bound(call.who, wanted)
        who = await self._door.let_in(call, call.who.name, new.password)
        made = await self._making.for_user(who, who.name, wanted)
        return answer(_made(made, wanted, self._clock()), 201)

    async def revoke(self, call: Call) -> Response:
        """DELETE /-/npm/v1/tokens/token/KEY, or the token itself.

        Raises NotFound, Denied without the scope to end others.
        """
        await self._making.revoke(call.who, await self._id(call, call.values["token"]))
        return answer({"ok": True})

    async def _id(self, call: Call, text: str) -> int:
        """Return the number of a token by its key or its text. Raises NotFound."""
        key = _KEY.fullmatch(text)
        if key is not None:
            return int(key[1])
        found = await self._tokens.find(text) if looks_like_token(text) else None
        if found is None or found.account_id != call.who.account_id:
            raise NotFound("you have no such token: 'npm token list' shows those you have")
        return found.token_id

    async def _bound(self, who: Principal, wanted: Wanted) -> None:
        """Keep a token, and who found it, from making one that can do more. Raises Denied."""
        row = await self._permissions.live(who, wanted.scopes)
        if who.token_id and row["limit_layers"]:
            raise Denied(
                "this token is limited, and makes no other through npm: "
                "'packhouse token create' makes one within its limits"
            )


def read_wanted(new: NewToken) -> Wanted:
    """Return the token that was asked for. Raises Invalid for what no token here can be. Pure."""
    if new.cidr_whitelist:
        raise Invalid("tokens here are not bound to addresses: leave out --cidr")
    if new.orgs or new.orgs_permission != "no-access":
        raise Invalid(
            "a token made by npm administers no organization: leave out --orgs and "
            "--orgs-permission, or use 'packhouse token create --scope admin'"
        )
    if new.packages_and_scopes_permission == "no-access":
        raise Invalid("a token that may do nothing is not made: use read-only or read-write")
    if new.packages_all and (new.packages or new.scopes):
        raise Invalid("say --packages-all, or name packages and scopes: not both")
    reads_only = new.readonly or new.packages_and_scopes_permission == "read-only"
    return Wanted(
        name=(new.name or new.description or "npm token")[:100],
        scopes=Scope.READ if reads_only else Scope.READ | Scope.WRITE,
        seconds=None if new.expires is None else new.expires * _DAY,
        owners=[scope.removeprefix("@") for scope in new.scopes],
        packages=[str(parse_name(name).repository) for name in new.packages],
    )


def _show(row: Row) -> dict[str, Any]:
    """Describe a token: of its text only what all of its kind begin with is known."""
    end = row["expires_at"]
    return {
        "key": _key(row["id"]),
        "token": KINDS[row["kind"]],
        "name": row["name"],
        "created": rfc3339(row["created_at"]),
        "updated": rfc3339(row["last_used_at"] or row["created_at"]),
        "expires": None if end is None else rfc3339(end),
        "readonly": not row["scopes"] & ~Scope.READ,
        "cidr_whitelist": None,
    }


def _made(made: MintedToken, wanted: Wanted, at: int) -> dict[str, Any]:
    """Describe a new token, with its text this once."""
    end, created = made.expires_at, rfc3339(at)
    return {
        "key": _key(made.id),
        "token": made.text,
        "name": wanted.name,
        "created": created,
        "updated": created,
        "expires": None if end is None else rfc3339(end),
        "readonly": wanted.scopes == Scope.READ,
        "cidr_whitelist": [],
    }


def _key(token_id: int) -> str:
    return f"{token_id}-"
