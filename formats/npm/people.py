"""`npm owner`, and who a package belongs to.

Reading list: npm's lib/commands/owner.js. Here a package belongs to its scope's owner, for ever;
whom that lets administer it has the role admin on the package. Both are npm's maintainers. What
teams, robots and whole organizations may is not shown in documents that others read.
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from auth.accounts import PACKAGE, Accounts, asked_grants
from auth.grantees import Grantees
from auth.permissions import Access, Permissions
from auth.places import Places
from auth.principals import Action, Principal, Role
from formats.npm.json_bodies import answer
from formats.npm.sign_in import COUCH, USER
from registry.packaging.surface import Call, Route
from registry.rest.needs import SIGNED_IN
from storage.database import Question, Row
from storage.errors import Conflict, Invalid, NotFound
from storage.names import RepositoryName

MOST = 100
"""Maintainers of a package that its documents name."""


class People:
    """Shows users, and says who administers a package."""

    def __init__(
        self, accounts: Accounts, grantees: Grantees, permissions: Permissions, places: Places
    ) -> None:
        self._accounts = accounts
        self._places = places
        self._grantees = grantees
        self._permissions = permissions

    def routes(self) -> list[Route]:
        """Return the routes of people."""
        return [Route("GET", USER, self.user, SIGNED_IN)]

    async def user(self, call: Call) -> Response:
        """GET /-/user/org.couchdb.user:NAME: an organization too, for a package may be its.

        Raises NotFound.
        """
        name = call.values["user"].lower()
        try:
            found = await self._grantees.find(call.who, name)
        except NotFound:
            await self._places.require(call.who, Action.PULL, name)
            return answer(render_user(name))
        if found["kind"] != "user":
            raise NotFound(f"there is no user named {name!r}")
        return answer(render_user(found["name"]))

    async def set_maintainers(
        self,
        who: Principal,
        repository: RepositoryName,
        before: Sequence[str],
        names: Sequence[str],
    ) -> None:
        """Give and take the role admin, so that those who were its maintainers `before` are these.

        Whom somebody else adds or removes meanwhile stays so.

        Raises NotFound for who is no user, Conflict for the owner, whom nobody takes it from,
        Invalid, and what judge raises.
        """
        access = await self._permissions.require(who, Action.ADMINISTER, repository)
        if access.package_id is None:
            raise NotFound(f"there is no package {repository}")
        wanted = list(dict.fromkeys(name.lower() for name in names))
        if len(wanted) > MOST:
            raise Invalid(f"a package has at most {MOST} maintainers")
        owner = repository.owner
        if owner not in wanted:
            raise Conflict(f"@{owner} is the scope of this package, and so its owner for ever")
        added = [name for name in wanted if name not in before]
        for name in added:
            if (await self._grantees.find(who, name))["kind"] != "user":
                raise NotFound(f"there is no user named {name!r}")
        removed = [name for name in before if name not in wanted]
        await self._give(who, access, added, Role.ADMIN)
        await self._give(who, access, removed, Role.NONE)

    async def _give(self, who: Principal, access: Access, names: Sequence[str], role: Role) -> None:
        for name in names:
            await self._accounts.grant(who, PACKAGE, access.package_id or 0, name, role)


def asked_maintainers(package_id: int) -> Question:
    """Ask for the rows that read_maintainers reads."""
    return asked_grants(PACKAGE, package_id, limit=MOST)


def read_maintainers(owner: str, rows: Sequence[Row]) -> list[str]:
    """Return the owner, and the users with the role admin on the package, by name."""
    admins = [row["name"] for row in rows if _administers(row["kind"], row["role"])]
    return [owner, *(name for name in admins if name != owner)]


def render_user(name: str) -> dict[str, Any]:
    """Return a user as npm reads one; no e-mail address is kept here."""
    return {"_id": COUCH + name, "name": name, "email": "", "type": "user", "roles": []}


def _administers(kind: str, role: int) -> bool:
    return kind == "user" and role == Role.ADMIN
