"""`npm profile`: what there is to know of an account, and where it is changed.

Reading list: npm's lib/commands/profile.js; npm-profile, get and set.
"""

from typing import Any

import msgspec
from starlette.responses import Response

from auth.accounts import Account, Accounts
from formats.npm.json_bodies import answer, read_json
from registry.packaging.surface import Call, Route
from registry.rest.needs import SIGNED_IN
from storage.clock import rfc3339
from storage.errors import NotAllowed

USER = "/-/npm/v1/user"
_ONLY_READ = {"Allow": "GET, HEAD"}


class ProfileChange(msgspec.Struct, frozen=True):
    """What `npm profile set`, `enable-2fa` and `disable-2fa` send."""

    password: Any = None
    tfa: Any = None


class Profile:
    """Shows the caller's account."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def routes(self) -> list[Route]:
        """Return the routes of profiles."""
        return [
            Route("GET", USER, self.show, SIGNED_IN),
            Route("POST", USER, self.change, SIGNED_IN),
        ]

    async def show(self, call: Call) -> Response:
        """GET /-/npm/v1/user."""
        return answer(render_profile(await self._accounts.get(call.who.name)))

    async def change(self, call: Call) -> Response:
        """POST /-/npm/v1/user: nothing of an account is changed here. Raises NotAllowed."""
        change = await read_json(call, ProfileChange)
        if change.tfa is not None:
            words = "there is no second factor here: no command ever asks for a one-time code"
        elif change.password is not None:
            words = f"set a password with 'packhouse user password {call.who.name}', not by npm"
        else:
            words = "an account here has a name and a password, and no profile to fill in"
        raise NotAllowed(words, headers=_ONLY_READ)


def render_profile(account: Account) -> dict[str, Any]:
    """Return the account as npm shows it: every field that it prints is there."""
    created = rfc3339(account.created_at)
    unknown = ("email", "fullname", "homepage", "freenode", "twitter", "github")
    return {
        "tfa": False,
        "name": account.name,
        **dict.fromkeys(unknown, ""),
        "email_verified": False,
        "cidr_whitelist": None,
        "created": created,
        "updated": created,
    }
