"""Owners, which users and organizations are alike; and words that many operations share."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from auth.accounts import Accounts
from auth.principals import Role, Visibility
from registry.rest.needs import CHANGE_OWNER, READ_OWNER
from registry.rest.operation import Call, Operation
from storage.clock import rfc3339
from storage.errors import Invalid

OWNER = "/api/v1/owners/{owner}"

OwnerName = Annotated[
    str,
    msgspec.Meta(pattern="^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$", max_length=39, examples=["acme"]),
]
"""The name of a user or an organization, folded to lower case."""

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, in UTC."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

VisibilityWord = Literal["private", "internal", "public"]
VISIBILITIES: dict[Visibility, VisibilityWord] = {
    Visibility.PRIVATE: "private",
    Visibility.INTERNAL: "internal",
    Visibility.PUBLIC: "public",
}
RoleWord = Literal["read", "write", "admin"]
ROLES: dict[Role, RoleWord] = {Role.READ: "read", Role.WRITE: "write", Role.ADMIN: "admin"}

KindWord = Literal["owner", "project", "package"]
KINDS: dict[int, KindWord] = {1: "owner", 2: "project", 3: "package"}
"""Kinds of resource that roles and limits name."""


def time_of(at: int | None) -> Time | None:
    """Render a time that may be none."""
    return None if at is None else rfc3339(at)


def instant_of(text: str) -> int:
    """Read RFC 3339, with its offset, as µs UTC. Raises Invalid."""
    try:
        at = msgspec.convert(text, Instant)
    except msgspec.ValidationError as error:
        raise Invalid(f"{text[:40]!r} is not a time: write 2026-11-21T09:40:00Z") from error
    return micros_of(at)


def micros_of(at: datetime) -> int:
    """Return µs since 1970 UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)


class Owner(msgspec.Struct, frozen=True):
    """A user or an organization. `default_visibility` is that of packages without a project."""

    name: str
    kind: Literal["user", "organization"]
    default_visibility: VisibilityWord


class OwnerChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another way; what is absent stays."""

    default_visibility: VisibilityWord | msgspec.UnsetType = msgspec.UNSET


class OwnersApi:
    """The operations."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation("GET", OWNER, self.get, "Show an owner", READ_OWNER, Owner),
            Operation(
                "PATCH", OWNER, self.change, "Say who sees the packages that an owner will make",
                CHANGE_OWNER, answer=Owner, body=OwnerChange,
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> Owner:
        """Show an owner."""
        return await self._show(call)

    async def change(self, call: Call) -> Owner:
        """Change an owner."""
        change, place = await call.read(OwnerChange), call.at
        if change.default_visibility is not msgspec.UNSET:
            visibility = Visibility[change.default_visibility.upper()]
            await self._accounts.set_default_visibility(call.who, place.owner, visibility)
        return await self._show(call)

    async def _show(self, call: Call) -> Owner:
        found = await self._accounts.get(call.at.owner, "user", "organization")
        kind: Literal["user", "organization"] = "user" if found.kind == "user" else "organization"
        return Owner(found.name, kind, VISIBILITIES[found.default_visibility])
