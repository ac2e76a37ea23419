"""Passwords as argon2id hashes in PHC form (RFC 9106; m=19 MiB, t=2, p=1).

Verifying costs about 40 ms of a core and 19 MiB, so at most two run at once in a process and a
short queue waits; beyond it the caller is told to come back.
"""

import asyncio
import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from storage.errors import Invalid, TooManyRequests

MEMORY_KIB = 19 * 1024
ITERATIONS = 2
LANES = 1
MAX_BYTES = 1024
MIN_CHARACTERS = 8
_RUNNING = 2
_WAITING = 30


class Passwords:
    """Hashes and verifies, two at a time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_RUNNING)
        self._waiting = 0
        self._decoy: str | None = None

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether `password` is the one hashed as `stored`.

        `stored` None (no such user, or one without a password) takes the same time and is False.
        Raises TooManyRequests when the queue is full.
        """
        if self._waiting >= _WAITING:
            raise TooManyRequests("too many sign-ins at once", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(self._verify, password, stored)
        finally:
            self._waiting -= 1

    def _verify(self, password: str, stored: str | None) -> bool:
        if self._decoy is None:
            self._decoy = hash_password("not the password of anybody")
        secret = password.encode("utf-8", "surrogatepass")[:MAX_BYTES]
        try:
            Argon2id.verify_phc_encoded(secret, stored or self._decoy)
        except InvalidKey:
            return False
        return stored is not None


def check_password(password: str) -> bytes:
    """Return what of a new password is hashed. Raises Invalid for one that is too short or long."""
    secret = password.encode("utf-8", "surrogatepass")
    if len(password) < MIN_CHARACTERS or len(secret) > MAX_BYTES or "\0" in password:
        raise Invalid(
            f"a password has at least {MIN_CHARACTERS} characters and at most {MAX_BYTES} bytes"
        )
    return secret


def hash_password(password: str) -> str:
    """Return the PHC string of `password`. Raises Invalid for one that is too short or long."""
    return Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=ITERATIONS,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    ).derive_phc_encoded(check_password(password))
