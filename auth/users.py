"""Users as administrators of the site and they themselves see and change them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from auth.accounts import Accounts, switch
from auth.audit import note
from auth.authenticate import Authenticator
from auth.errors import NotSignedIn
from auth.principals import Principal
from storage.clock import Clock
from storage.database import Database, Row, Transaction
from storage.errors import Conflict, Denied, Invalid, NotFound

LIST_USERS = """
select name, is_admin, created_at, disabled_at from accounts
where kind = 'user' and name > $1 order by name limit $2
"""
FIND_USER = """
select id, name, is_admin, created_at, disabled_at from accounts where name = $1 and kind = 'user'
"""
LOCK_USER = """
update accounts set name = name where name = $1 and kind = 'user'
returning id, is_admin, disabled_at
"""
SET_ADMIN = "update accounts set is_admin = $2 where id = $1"


class Users:
    """Lists, shows and changes users, for callers that were authorized."""

    def __init__(
        self, database: Database, accounts: Accounts, authenticator: Authenticator, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authenticator = authenticator
        self._clock = clock

    async def list(self, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return up to `limit` users with names above `after`."""
        return await self._database.fetch(LIST_USERS, after, limit)

    async def get(self, name: str) -> Row:
        """Return a user. Raises NotFound."""
        row = await self._database.fetch_one(FIND_USER, name.lower())
        if row is None:
            raise NotFound(f"there is no user named {name!r}")
        return row

    async def change(
        self, who: Principal, name: str, *, admin: bool | None, disabled: bool | None
    ) -> None:
        """Make a user a site administrator or none, switch him off or on; None leaves it.

        Raises NotFound, Conflict for who would shut himself out.
        """
        name, at = name.lower(), self._clock()
        if _is(who, name) and (admin is False or disabled):
            raise Conflict("you would shut yourself out: ask another administrator of the site")

        async def work(tx: Transaction) -> None:
            user = await _lock(tx, who, name)
            if admin is not None and admin != bool(user["is_admin"]):
                await tx.execute(SET_ADMIN, user["id"], int(admin))
                said = "site administrator" if admin else "no site administrator"
                await note(tx, who, "user.admin", user["id"], name, at, said)
            if disabled is not None and disabled != (user["disabled_at"] is not None):
                await switch(tx, who, user["id"], name, at, enabled=not disabled)

        await self._database.write(work)

    async def set_password(
        self,
        who: Principal,
        name: str,
        password: str,
        old: str | None,
        attempt: AbstractContextManager[None],
    ) -> None:
        """Set a user's password: one's own with the old one, `attempt` counting a wrong one.

        Raises NotFound, Invalid, Denied for a wrong old password, TooManyRequests.
        """
        if _is(who, name.lower()):
            if old is None:
                raise Invalid("give your old password too, as 'old'")
            await self._check(name, old, attempt)
        await self._accounts.set_password(who, name.lower(), password)

    async def _check(self, name: str, old: str, attempt: AbstractContextManager[None]) -> None:
        try:
            with attempt:
                await self._authenticator.check_password(name, old)
        except NotSignedIn as error:
            raise Denied("the old password is wrong") from error


async def _lock(tx: Transaction, who: Principal, name: str) -> Row:
    """Return a user, who stays as he is, and so does whoever changes him.

    Of two administrators who end each other's rights the second has none left: one stays.
    Raises NotFound, and Denied for who administers the site no longer.
    """
    names = {name} if who.operator else {name, who.name}
    rows = {each: await tx.fetch_one(LOCK_USER, each) for each in sorted(names)}
    by, user = rows.get(who.name), rows[name]
    if not who.operator and (by is None or not by["is_admin"] or by["disabled_at"] is not None):
        raise Denied(f"{who.name} is no administrator of this site any more")
    if user is None:
        raise NotFound(f"there is no user named {name!r}")
    return user


def _is(who: Principal, name: str) -> bool:
    """Whether the caller is this user: a user may be called like the operator."""
    return who.name == name and not who.operator
