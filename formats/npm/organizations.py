"""`npm org`: who belongs to an organization.

Reading list: npm's lib/commands/org.js; libnpmorg. npm's `developer` is a member here, its `owner`
an owner. It has an `admin` between the two, which nobody here is.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from starlette.responses import Response

from auth.organizations import Organizations
from auth.principals import Role
from formats.npm.json_bodies import answer, read_json
from formats.npm.whole_lists import answer_all, read_all
from registry.packaging.surface import Call, Route
from registry.rest.needs import CHANGE_OWNER, READ_OWNER
from storage.database import Row
from storage.errors import Invalid


class Membership(msgspec.Struct, frozen=True):
    """Who is to be what."""

    user: str
    role: Literal["developer", "admin", "owner"] = "developer"


class Members:
    """Lists, adds and removes members."""

    def __init__(self, organizations: Organizations) -> None:
        self._organizations = organizations

    def routes(self) -> list[Route]:
        """Return the routes of memberships."""
        members = "/-/org/{owner}/user"
        return [
            Route("GET", members, self.list, READ_OWNER),
            Route("PUT", members, self.add, CHANGE_OWNER),
            Route("DELETE", members, self.remove, CHANGE_OWNER),
        ]

    async def list(self, call: Call) -> Response:
        """GET /-/org/S/user: {"user": "owner" or "developer"}."""
        return answer_all(await self._roster(call))

    async def add(self, call: Call) -> Response:
        """PUT /-/org/S/user. Raises NotFound, Conflict for the last owner, Invalid."""
        wanted = await read_json(call, Membership)
        if wanted.role == "admin":
            raise Invalid(
                "an organization here has owners and developers: say one of those, "
                "and make who leads a team its maintainer with 'packhouse team add'"
            )
        name, user = call.values["owner"].lower(), plain_user(wanted.user)
        owner = wanted.role == "owner"
        await self._organizations.add(call.who, name, user, owner=owner)
        size = len(await self._roster(call))
        return answer({"org": {"name": name, "size": size}, "user": user, "role": wanted.role})

    async def remove(self, call: Call) -> Response:
        """DELETE /-/org/S/user. Raises NotFound, Conflict for the last owner."""
        user = plain_user((await read_json(call, Membership)).user)
        await self._organizations.remove(call.who, call.values["owner"].lower(), user)
        return answer({"ok": True})

    async def _roster(self, call: Call) -> dict[str, str]:
        name = call.values["owner"].lower()

        async def read(after: str, limit: int) -> Sequence[Row]:
            return await self._organizations.members(name, after, limit)

        rows = await read_all(read)
        return {row["name"]: _WORDS.get(row["role"], "developer") for row in rows}


def plain_user(text: str) -> str:
    """Return a user's name as it is written here: npm writes some with '@' or '~' in front."""
    return text.lstrip("~@").lower()


_WORDS = {int(Role.ADMIN): "owner"}
