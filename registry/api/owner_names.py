"""What owners are called: renamed, and their old names, which answer pulls until they are freed."""

from typing import Annotated

import msgspec

from registry.api.owners import OWNER, OwnerName, Time
from registry.owner_renaming import OwnerRenaming
from registry.rest.needs import CHANGE_OWNER, SITE
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

NAME = OWNER + "/name"
NAMES = OWNER + "/names"
FORMER_OWNER = "/api/v1/aliases/{owner}"

Count = Annotated[int, msgspec.Meta(ge=0)]


class NewName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an owner is to be called."""

    name: OwnerName


class RenamedOwner(msgspec.Struct, frozen=True):
    """What an owner is called now, and how many packages changed their names with it."""

    name: str
    packages: Count


class FormerName(msgspec.Struct, frozen=True):
    """A name that an owner had, and until when."""

    name: str
    until: Time


class FreedOwnerName(msgspec.Struct, frozen=True):
    """A name that is free again, and the owner that had it."""

    name: str
    owner: str


class OwnerNamesApi:
    """The operations."""

    def __init__(self, renaming: OwnerRenaming) -> None:
        self._renaming = renaming

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation(
                "PUT", NAME, self.rename,
                "Give an owner another name, with all it has; pulls of the old names go on", SITE,
                answer=RenamedOwner, body=NewName,
            ),
            Operation(
                "GET", NAMES, self.list, "List the names an owner had before", CHANGE_OWNER,
                answer=Page[FormerName], query=Paging,
            ),
            Operation(
                "DELETE", FORMER_OWNER, self.release,
                "Free a name that an owner had before, and all names below it", SITE,
                FreedOwnerName,
            ),
        ]  # fmt: skip

    async def rename(self, call: Call) -> RenamedOwner:
        """Give an owner another name."""
        new, old = await call.read(NewName), call.values["owner"].lower()
        count = await self._renaming.rename(call.who, old, new.name)
        return RenamedOwner(new.name.lower(), count)

    async def list(self, call: Call) -> Page[FormerName]:
        """List the names an owner had before, in order."""
        paging: Paging = call.query
        rows = await self._renaming.names(call.at.owner, paging.after, paging.n + 1)
        return page_of(rows, paging.n, "name", _former)

    async def release(self, call: Call) -> FreedOwnerName:
        """Free a name."""
        name = call.values["owner"].lower()
        return FreedOwnerName(name, await self._renaming.release(call.who, name))


def _former(row: Row) -> FormerName:
    return FormerName(row["name"], rfc3339(row["created_at"]))
