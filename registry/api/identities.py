"""Identities of users: whom a provider of sign-ins calls what, which administrators may say."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from auth.id_tokens import MAX_SUBJECT
from auth.identities import Identities
from registry.api.owners import Time, time_of
from registry.rest.needs import READ_USER, SITE
from registry.rest.operation import Call, NumberPaging, Operation, Page
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row
from storage.errors import Invalid

IDENTITIES = "/api/v1/users/{user}/identities"
IDENTITY = IDENTITIES + "/{id}"


class NewIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a configured provider means by its `sub`: its issuer, and that."""

    issuer: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SUBJECT)]


class Identity(msgspec.Struct, frozen=True):
    """A name that a provider has for the user, who signs in by it."""

    id: int
    issuer: str
    subject: str
    created_at: Time
    last_used_at: Time | None


class IdentitiesApi:
    """The operations; identities are of the providers with these issuers."""

    def __init__(self, identities: Identities, issuers: Sequence[str]) -> None:
        self._identities = identities
        self._issuers = issuers

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "GET", IDENTITIES, self.list, "List a user's identities", READ_USER,
                answer=Page[Identity], query=NumberPaging,
            ),
            Operation(
                "POST", IDENTITIES, self.link, "Say that an identity of a provider is a user",
                SITE, answer=Identity, body=NewIdentity, status=201,
            ),
            Operation(
                "DELETE", IDENTITY, self.unlink,
                "End that, what its groups gave, and the user's sessions", SITE, status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Identity]:
        """List a user's identities, the oldest first."""
        paging: NumberPaging = call.query
        rows = await self._identities.list(call.values["user"].lower(), paging.after, paging.n + 1)
        return page_of(rows, paging.n, "id", _identity)

    async def link(self, call: Call) -> Identity:
        """Link an identity."""
        new = await call.read(NewIdentity)
        if new.issuer not in self._issuers:
            there = f"it has {', '.join(self._issuers)}" if self._issuers else "it has none"
            raise Invalid(
                f"the configuration has no provider with the issuer {new.issuer}: {there}"
            )
        if not new.subject.isprintable():
            raise Invalid("the subject is not what a provider calls anybody")
        user = call.values["user"].lower()
        return _identity(await self._identities.link(call.who, user, new.issuer, new.subject))

    async def unlink(self, call: Call) -> None:
        """End a link."""
        await self._identities.unlink(call.who, call.values["user"].lower(), call.number("id"))


def _identity(row: Row) -> Identity:
    return Identity(
        row["id"],
        row["issuer"],
        row["subject"],
        rfc3339(row["created_at"]),
        time_of(row["last_used_at"]),
    )
