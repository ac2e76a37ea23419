"""Upload ids: signed, so that beginning an upload writes no row, and useless to anybody else.

`<random>.<seconds>.<algorithm>.<mac>`: the MAC also covers repository, account and token, so an id
opens nothing for another caller, in another repository, or after its day.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from auth.principals import Principal
from auth.signing_keys import UPLOAD, Key, SigningKeys
from registry.errors import UploadUnknown
from storage.clock import SECOND, Clock
from storage.digest import ALGORITHMS
from storage.names import RepositoryName

_MAX_LENGTH = 128


@dataclass(frozen=True, slots=True)
class UploadId:
    """A verified id: its text, when it was given out (µs UTC), and the announced algorithm."""

    text: str
    created_at: int
    algorithm: str


class UploadIds:
    """Signs and verifies with the database's own secret."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def sign(self, who: Principal, repository: RepositoryName, algorithm: str) -> UploadId:
        """Return a new id for this caller and repository."""
        seconds = self._clock() // SECOND
        body = f"{secrets.token_urlsafe(16)}.{seconds:x}.{algorithm}"
        key = await self._keys.current(UPLOAD)
        mac = _mac(key, body, who, repository)
        return UploadId(f"{body}.{mac}", seconds * SECOND, algorithm)

    async def verify(self, who: Principal, repository: RepositoryName, text: str) -> UploadId:
        """Check an id. Raises UploadUnknown for one that was not made for this caller."""
        body, _, mac = text.rpartition(".")
        parts = body.split(".")
        if len(text) > _MAX_LENGTH or len(parts) != 3 or not text.isascii():
            raise unknown()
        if not await self._is_ours(mac, body, who, repository):
            await self._keys.load()  # another worker may have signed with a key made since
            if not await self._is_ours(mac, body, who, repository):
                raise unknown()
        _, seconds, algorithm = parts
        if algorithm not in ALGORITHMS:
            raise unknown()
        return UploadId(text, int(seconds, 16) * SECOND, algorithm)

    async def _is_ours(
        self, mac: str, body: str, who: Principal, repository: RepositoryName
    ) -> bool:
        keys = await self._keys.verifying(UPLOAD)
        return any(hmac.compare_digest(mac, _mac(key, body, who, repository)) for key in keys)


def unknown() -> UploadUnknown:
    """Return the one answer to every id that opens nothing."""
    return UploadUnknown("there is no such upload: it ended, expired, or belongs to somebody else")


def _mac(key: Key, body: str, who: Principal, repository: RepositoryName) -> str:
    if not isinstance(key.secret, bytes):
        raise RuntimeError("the upload key is not a shared secret")
    text = f"{body}\n{repository}\n{who.account_id}\n{who.token_id}"
    digest = hmac.digest(key.secret, text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:18]).decode()
