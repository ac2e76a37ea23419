"""From an Authorization header to a Principal.

The same token works as Basic password (under any user name), as Bearer, after `token`, bare, and
as NuGet's API key. Passwords are accepted at the sign-in doors only: everywhere else they would
cost an argon2id hash a request.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace

from auth.accounts import Accounts
from auth.errors import NotSignedIn
from auth.jwt import Bearers
from auth.last_uses import LastUses
from auth.passwords import Passwords
from auth.principals import ANONYMOUS, Principal
from auth.tokens import KINDS, Tokens, looks_like_token

MAX_HEADER_BYTES = 64 * 1024
API_KEY = "x-nuget-apikey"
"""Where NuGet's client puts a token; what is in Authorization comes before it."""

_ANONYMOUS_BEARER = "QQ=="
"""What Homebrew sends to say that it has no credentials."""

_WRONG = "wrong user name, password or token"


class Authenticator:
    """Finds out who asks; whether they may is judged later, from rows."""

    def __init__(
        self,
        accounts: Accounts,
        tokens: Tokens,
        bearers: Bearers,
        passwords: Passwords,
        last_uses: LastUses,
    ) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._bearers = bearers
        self._passwords = passwords
        self._last_uses = last_uses

    async def authenticate(
        self, headers: Mapping[str, str], *, door: bool = False, forgive_expiry: bool = False
    ) -> Principal:
        """Return the principal of a request's headers; ANONYMOUS without credentials.

        `door` accepts a password; `forgive_expiry` what expired in the last 24 hours.
        Raises NotSignedIn for credentials that are wrong, TooManyRequests.
        """
        who = await self._read(headers, door=door, forgive_expiry=forgive_expiry)
        if who.token_id:
            self._last_uses.note(who.token_id)
        return replace(who, forgiven=True) if forgive_expiry else who

    async def sign_in(self, name: str, secret: str) -> Principal:
        """Return the principal of a name and password, or of a token under any name.

        Raises NotSignedIn, TooManyRequests.
        """
        if not _is_token(secret):
            return await self.check_password(name, secret)
        who = await self._token(secret)
        self._last_uses.note(who.token_id)
        return who

    async def _read(
        self, headers: Mapping[str, str], *, door: bool, forgive_expiry: bool
    ) -> Principal:
        header = headers.get("authorization", "").strip()
        if not header:
            key = headers.get(API_KEY)
            return ANONYMOUS if key is None else await self._token(key.strip())
        if len(header) > MAX_HEADER_BYTES:
            raise NotSignedIn("the Authorization header is too long")
        scheme, _, value = header.partition(" ")
        value = value.strip()
        if scheme.lower() == "basic":
            return await self._basic(value, door=door)
        if scheme.lower() == "bearer":
            return await self._bearer(value, forgive_expiry=forgive_expiry)
        if scheme.lower() == "token":  # as GitHub's clients write it
            return await self._token(value)
        if not value and looks_like_token(scheme):
            return await self._token(scheme)
        raise NotSignedIn(f"sign in with Basic or Bearer credentials, not {scheme[:20]!r}")

    async def _bearer(self, value: str, *, forgive_expiry: bool) -> Principal:
        if value == _ANONYMOUS_BEARER:
            return ANONYMOUS
        if value[:4] in KINDS.values():
            return await self._token(value)
        return await self._bearers.verify(value, forgive_expiry=forgive_expiry)

    async def _basic(self, value: str, *, door: bool) -> Principal:
        name, secret = _read_basic(value)
        if _is_token(secret):
            return await self._token(secret)
        if not door:
            raise NotSignedIn(
                "passwords are accepted at /token only: use a token, or follow the Bearer challenge"
            )
        return await self.check_password(name, secret)

    async def _token(self, text: str) -> Principal:
        who = await self._tokens.find(text) if looks_like_token(text) else None
        if who is None:
            raise NotSignedIn(_WRONG)
        return who

    async def check_password(self, name: str, password: str) -> Principal:
        """Return the principal of a name and password. Raises NotSignedIn, TooManyRequests."""
        folded = name.lower() if name.isascii() and "\0" not in name else ""
        account = await self._accounts.find(folded)
        stored = account.password_hash if account is not None else None
        if not await self._passwords.verify(password, stored) or account is None:
            raise NotSignedIn(_WRONG)
        return Principal(
            account_id=account.id,
            name=account.name,
            kind=account.kind,
            password_version=account.password_version,
        )


def password_user(headers: Mapping[str, str]) -> str | None:
    """Return the user whose password these headers hold; None for any other credentials."""
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, secret = _read_basic(value.strip())
    except NotSignedIn:
        return None
    return None if _is_token(secret) else name


def _read_basic(value: str) -> tuple[str, str]:
    try:
        name, separator, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise NotSignedIn("the Basic credentials cannot be decoded") from error
    if not separator:
        raise NotSignedIn("Basic credentials are user:password in base64")
    return name, secret


def _is_token(secret: str) -> bool:
    return secret[:4] in KINDS.values() and looks_like_token(secret)
