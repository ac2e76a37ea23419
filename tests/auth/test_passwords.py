"""Passwords: how they are kept, and how many are looked at at once."""

import asyncio
import threading

import pytest

from auth import passwords
from auth.passwords import Passwords, hash_password
from storage.errors import Invalid, TooManyRequests


def test_a_password_is_kept_as_argon2id_with_a_salt_of_its_own() -> None:
    """RFC 9106; the parameters are OWASP's least, and stand in each hash."""
    first, second = (hash_password("correct horse battery") for _ in range(2))
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert "correct" not in first


@pytest.mark.parametrize("password", ["short", "x" * 1025, "é" * 513, "a long one\0"])
def test_a_password_that_cannot_be_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match="at least 8 characters and at most 1024 bytes"):
        hash_password(password)


async def test_a_password_is_good_or_not_whether_its_user_is_there_or_not() -> None:
    kept, guard = hash_password("correct horse battery"), Passwords()
    assert await guard.verify("correct horse battery", kept)
    for wrong in ("correct horse", "correct horse battery ", "", "\0", "x" * 5000, "\udcff"):
        assert not await guard.verify(wrong, kept)
        assert not await guard.verify(wrong, None)
    assert not await guard.verify("not the password of anybody", None), "the decoy is nobody's"


class Held:
    """argon2id that takes until it is told, and counts how many are at it."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()
        self._lock = threading.Lock()

    def verify_phc_encoded(self, secret: bytes, encoded: str) -> None:
        del secret, encoded
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.go_on.wait()
        with self._lock:
            self.running -= 1


async def test_two_are_looked_at_at_once_and_a_short_queue_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes 19 MiB and a core: a flood of sign-ins is told to come back."""
    held, guard = Held(), Passwords()
    kept = hash_password("correct horse battery")
    await guard.verify("the first makes the decoy", None)
    monkeypatch.setattr(passwords, "Argon2id", held)
    waiting = [asyncio.create_task(guard.verify("x", kept)) for _ in range(31)]
    try:
        for _ in range(2):
            await asyncio.to_thread(held.begun.acquire)
        assert [task.done() for task in waiting] == [False] * 30 + [True]
    finally:
        held.go_on.set()
        *good, refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert good == [True] * 30
    assert isinstance(refused, TooManyRequests)
    assert refused.headers["Retry-After"] == "2"
    assert held.most == 2
    assert await guard.verify("x", kept), "the queue is empty again"
