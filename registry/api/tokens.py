"""Tokens of people, robots and jobs: made, listed and ended. A text is shown once."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec

from auth.accounts import Accounts
from auth.principals import Scope
from auth.token_making import TokenMaking, Wanted, robot_of
from auth.tokens import MintedToken, Tokens
from registry.api.caller import ScopeWord, scope_words
from registry.api.owners import Instant, Time, micros_of, time_of
from registry.rest.needs import CHANGE_PROJECT, CHANGE_USER, END_TOKEN, MAKE_TOKEN
from registry.rest.operation import Call, NumberPaging, Operation, Page
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

OF_USER = "/api/v1/users/{user}/tokens"
OF_PROJECT = "/api/v1/projects/{owner}/{project}/tokens"
TOKEN = "/api/v1/tokens/{id}"

_CENTURY = 36_525 * 86_400

Scopes = Annotated[tuple[ScopeWord, ...], msgspec.Meta(min_length=1, max_length=4)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=_CENTURY)]
Note = Annotated[str, msgspec.Meta(max_length=100)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is good for: anything that one of these names covers."""

    owners: list[str] = []
    projects: list[str] = []
    packages: list[str] = []


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made. It ends after `expires_in` seconds or at `expires_at`, or never.

    One made with a token has no scope that that lacks, keeps its limits, and ends with it.
    """

    name: Note = ""
    scopes: Scopes = ("read", "write")
    expires_in: Seconds | None = None
    expires_at: Instant | None = None
    limits: Limits = Limits()


class NewProjectToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made for a project's robot, or for one job of it: five minutes to a day.

    It may write to the project, and what it creates is linked to that.
    """

    kind: Literal["robot", "job"]
    name: Note = ""
    scopes: Scopes = ("read", "write")
    expires_in: Seconds | None = None
    expires_at: Instant | None = None


class MadeToken(msgspec.Struct, frozen=True):
    """A new token. `token` is its text, which is shown this once."""

    id: int
    token: str
    expires_at: Time | None


class Token(msgspec.Struct, frozen=True):
    """A token, without its text. Each of its `limits` must cover what it is used for."""

    id: int
    kind: Literal["user", "robot", "job", "refresh"]
    name: str
    scopes: list[ScopeWord]
    limits: list[Limits]
    parent: int | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


class TokenPaging(NumberPaging, frozen=True):
    """Which page: up to `n` tokens after the one with the id `after`; with `ended` all of them."""

    ended: bool = False


class TokensApi:
    """The operations."""

    def __init__(
        self,
        accounts: Accounts,
        making: TokenMaking,
        tokens: Tokens,
        signed_in: Callable[[str], None],
    ) -> None:
        self._accounts = accounts
        self._making = making
        self._tokens = tokens
        self._signed_in = signed_in

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", OF_USER, self.list, "List a user's tokens", CHANGE_USER,
                answer=Page[Token], query=TokenPaging,
            ),
            Operation(
                "POST", OF_USER, self.create, "Make a token; a password will do for one's own",
                MAKE_TOKEN, answer=MadeToken, body=NewToken, status=201, door=True,
            ),
            Operation(
                "GET", OF_PROJECT, self.list_of_project, "List the tokens of a project's robot",
                CHANGE_PROJECT, answer=Page[Token], query=TokenPaging,
            ),
            Operation(
                "POST", OF_PROJECT, self.create_for_project, "Make a token for a robot or a job",
                CHANGE_PROJECT, answer=MadeToken, body=NewProjectToken, status=201,
            ),
            Operation(
                "DELETE", TOKEN, self.revoke, "End a token, and those it made, at once",
                END_TOKEN, status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Token]:
        """List a user's tokens, the oldest first."""
        user = await self._accounts.get(call.values["user"].lower(), "user")
        return await self._list(call, user.name)

    async def create(self, call: Call) -> MadeToken:
        """Make a token of a user."""
        new = await call.read(NewToken)
        limits = new.limits
        wanted = msgspec.structs.asdict(limits)
        made = await self._making.for_user(call.who, call.values["user"], _wanted(new, wanted))
        if call.who.password_version is not None:
            self._signed_in(call.who.name)
        return _made(made)

    async def list_of_project(self, call: Call) -> Page[Token]:
        """List the tokens of a project's robot, the oldest first."""
        return await self._list(call, robot_of(call.at))

    async def create_for_project(self, call: Call) -> MadeToken:
        """Make a token for a project's robot, or for one of its jobs."""
        new = await call.read(NewProjectToken)
        made = await self._making.for_project(call.who, call.at, new.kind, _wanted(new, {}))
        return _made(made)

    async def revoke(self, call: Call) -> None:
        """End a token."""
        await self._making.revoke(call.who, call.number("id"))

    async def _list(self, call: Call, account: str) -> Page[Token]:
        paging: TokenPaging = call.query
        rows = await self._tokens.list(account, paging.after, paging.n + 1, ended=paging.ended)
        bounded = [row["id"] for row in rows if row["limit_layers"]]
        limits = _layers(await self._tokens.limits(*bounded) if bounded else [])
        return page_of(rows, paging.n, "id", lambda row: _token(row, limits))


def _wanted(new: NewToken | NewProjectToken, limits: dict[str, list[str]]) -> Wanted:
    scopes = Scope.NONE
    for word in new.scopes:
        scopes |= Scope[word.upper()]
    end = new.expires_at
    ends_at = None if end is None else micros_of(end)
    return Wanted(new.name, scopes, new.expires_in, ends_at, **limits)


def _made(token: MintedToken) -> MadeToken:
    return MadeToken(token.id, token.text, time_of(token.expires_at))


_FIELDS = {1: "owners", 2: "projects", 3: "packages"}


def _layers(rows: Sequence[Row]) -> dict[int, dict[int, Limits]]:
    """Sort what bounds some tokens by token and layer; what is gone covers nothing."""
    found: dict[int, dict[int, Limits]] = {}
    for row in rows:
        layers = found.setdefault(row["token_id"], {})
        limits = layers.setdefault(row["layer"], Limits())
        if row["name"]:
            getattr(limits, _FIELDS[row["resource_kind"]]).append(row["name"])
    return found


def _token(row: Row, limits: dict[int, dict[int, Limits]]) -> Token:
    return Token(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        scopes=scope_words(row["scopes"]),
        limits=list(limits.get(row["id"], {}).values()),
        parent=row["parent_id"],
        created_at=rfc3339(row["created_at"]),
        expires_at=time_of(row["expires_at"]),
        revoked_at=time_of(row["revoked_at"]),
        last_used_at=time_of(row["last_used_at"]),
    )
