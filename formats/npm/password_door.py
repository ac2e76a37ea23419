"""The door for passwords that come in a body: npm sends them there to log in and to make tokens."""

from collections.abc import Callable

from auth.authenticate import Authenticator
from auth.errors import BASIC_CHALLENGE, NotSignedIn
from auth.permissions import Permissions
from auth.principals import Principal
from registry.packaging.surface import Call
from registry.sign_in_limits import SignInLimits


class PasswordDoor:
    """Lets in who has one, under the limits that hold at /token too."""

    def __init__(
        self,
        authenticator: Authenticator,
        permissions: Permissions,
        limits: SignInLimits,
        signed_in: Callable[[str], None],
    ) -> None:
        self._authenticator = authenticator
        self._permissions = permissions
        self._limits = limits
        self._signed_in = signed_in

    async def let_in(self, call: Call, name: str, password: str) -> Principal:
        """Return who has this name and password. Raises NotSignedIn, TooManyRequests."""
        try:
            with self._limits.attempt(name, call.client):
                who = await self._authenticator.check_password(name, password)
                await self._permissions.require_live(who)
        except NotSignedIn as error:
            error.headers["WWW-Authenticate"] = BASIC_CHALLENGE  # npm speaks of the password then
            call.exchange.claimed = name
            self._limits.count("", call.client)
            raise
        self._limits.count(who.name, call.client)
        self._signed_in(who.name)
        return call.signed_in(who)
