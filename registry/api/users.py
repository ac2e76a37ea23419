"""Users: made, switched off and on, and their passwords."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

import msgspec

from auth.accounts import Accounts
from auth.users import Users
from registry.api.owners import OwnerName, Time
from registry.rest.needs import CHANGE_USER, READ_USER, SITE
from registry.rest.operation import Call, Operation, Page, Paging
from registry.rest.paging import page_of
from storage.clock import rfc3339
from storage.database import Row

USERS = "/api/v1/users"
USER = USERS + "/{user}"
PASSWORD = USER + "/password"

Password = Annotated[str, msgspec.Meta(min_length=8, max_length=1024)]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user to be made; without a password it signs in by tokens and providers only."""

    name: OwnerName
    password: Password | None = None
    admin: bool = False


class User(msgspec.Struct, frozen=True):
    """A person, or a program that acts like one. `admin` is an administrator of the site."""

    name: str
    admin: bool
    disabled: bool
    created_at: Time


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another way; what is absent stays."""

    admin: bool | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password to be; who sets his own gives the old one too."""

    password: Password
    old: str | None = None


class UsersApi:
    """The operations."""

    def __init__(
        self,
        accounts: Accounts,
        users: Users,
        attempt: Callable[[str, str], AbstractContextManager[None]],
        password_set: Callable[[str], None],
    ) -> None:
        self._accounts = accounts
        self._users = users
        self._attempt = attempt
        self._password_set = password_set

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        return [
            Operation("GET", USERS, self.list, "List users", SITE, Page[User], query=Paging),
            Operation(
                "POST", USERS, self.create, "Make a user", SITE,
                answer=User, body=NewUser, status=201,
            ),
            Operation("GET", USER, self.get, "Show a user", READ_USER, User),
            Operation(
                "PATCH", USER, self.change,
                "Make a user a site administrator or none, disable or enable it", SITE,
                answer=User, body=UserChange,
            ),
            Operation(
                "PUT", PASSWORD, self.set_password,
                "Set a password, which ends what was signed in with the old one", CHANGE_USER,
                body=NewPassword, status=204,
            ),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[User]:
        """List users by name."""
        paging: Paging = call.query
        rows = await self._users.list(paging.after, paging.n + 1)
        return page_of(rows, paging.n, "name", _user)

    async def create(self, call: Call) -> User:
        """Make a user."""
        new = await call.read(NewUser)
        await self._accounts.create_user(call.who, new.name, new.password, admin=new.admin)
        return _user(await self._users.get(new.name))

    async def get(self, call: Call) -> User:
        """Show a user."""
        return _user(await self._users.get(call.values["user"]))

    async def change(self, call: Call) -> User:
        """Change a user."""
        change, name = await call.read(UserChange), call.values["user"]
        admin = None if change.admin is msgspec.UNSET else change.admin
        disabled = None if change.disabled is msgspec.UNSET else change.disabled
        await self._users.change(call.who, name, admin=admin, disabled=disabled)
        return _user(await self._users.get(name))

    async def set_password(self, call: Call) -> None:
        """Set a password."""
        new, name = await call.read(NewPassword), call.values["user"]
        attempt = self._attempt(name.lower(), call.who.address)
        await self._users.set_password(call.who, name, new.password, new.old, attempt)
        self._password_set(name.lower())


def _user(row: Row) -> User:
    disabled = row["disabled_at"] is not None
    return User(row["name"], bool(row["is_admin"]), disabled, rfc3339(row["created_at"]))
