"""How often an account, or the address of who is nobody, may pull and write in a minute.

Reading list: ITU-T I.371, annex A (the generic cell rate algorithm as virtual scheduling); RFC
6585, section 4 (429); OCI distribution-spec, "Error Codes" (TOOMANYREQUESTS).
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from starlette.responses import Response

from auth.principals import Principal
from registry.debts import TICKS, Debts
from storage.errors import TooManyRequests


class Pull(Protocol):
    """What is asked of a call that pulls or writes."""

    @property
    def who(self) -> Principal: ...
    @property
    def client(self) -> str: ...
    @property
    def head(self) -> bool: ...


C = TypeVar("C", bound=Pull)
Handler = Callable[[C], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` in `seconds`, all at once if need be; the next when one is paid off. Pure.

    Times are ticks. What is owed is the time until which everything asked for is paid off.
    """

    count: int
    seconds: int
    interval: int = field(init=False)
    """How long one request takes to be paid off; rounded up, so that nobody gets more."""
    room: int = field(init=False)
    """How far ahead of the clock a debt may reach."""

    def __post_init__(self) -> None:
        interval = -(-self.seconds * TICKS // self.count)
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "room", interval * self.count)

    def spend(self, until: int, now: int, *, overdraft: bool = False) -> tuple[int, int]:
        """Return until when is owed after one more, and how long to wait before it: 0 lets it in.

        `overdraft` lets in as many again.
        """
        owed, interval, room = self._owed(until, now), self.interval, self.room
        wait = owed + interval - now - room * (2 if overdraft else 1)
        return (owed, wait) if wait > 0 else (owed + interval, 0)

    def charge(self, until: int, now: int) -> int:
        """Return until when is owed after one more that was let in before it was counted."""
        return min(self._owed(until, now) + self.interval, now + 2 * self.room)

    def left(self, until: int, now: int) -> int:
        """Return how many would be let in now."""
        return max(0, (now + self.room - self._owed(until, now)) // self.interval)

    def _owed(self, until: int, now: int) -> int:
        # Never more than could be owed: if a clock went back, nobody is shut out for that long.
        return min(max(until, now), now + 2 * self.room)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose requests are counted together: a key for the table, and a name for people."""

    key: bytes
    name: str

    @classmethod
    def of(cls, account: str, client: str) -> Self:
        """Return the account; with "", the client's address: an IPv6 one counts as its /64."""
        if account:
            return cls(b"account " + account.encode(), account)
        return cls(*network_of(client))


def network_of(client: str) -> tuple[bytes, str]:
    """Return what an address counts as, as a key and in words.

    A subscriber has at least a /64 of IPv6. What is no address counts as one unknown address.
    """
    text = client.partition("%")[0]
    try:
        if ":" not in text:
            return b"v4 " + socket.inet_pton(socket.AF_INET, text), text
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return b"unknown", "an unknown address"
    if packed.startswith(bytes(10) + b"\xff\xff"):
        return b"v4 " + packed[12:], socket.inet_ntop(socket.AF_INET, packed[12:])
    network = socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8))
    return b"v6 " + packed[:8], f"{network}/64"


class Allowance:
    """One limit and what everybody owes under it."""

    def __init__(self, debts: Debts, limit: Limit, what: str) -> None:
        self._debts = debts
        self._limit = limit
        self._what = what
        self._prefix = what.encode() + b" "

    def spend(self, caller: Caller, *, overdraft: bool = False) -> dict[str, str]:
        """Count one, and return `headers`. Raises TooManyRequests, and counts nothing then."""
        now, debt = self._debts.now(), self._debts.find(self._prefix + caller.key)
        until, wait = self._limit.spend(debt.until, now, overdraft=overdraft)
        if until != debt.until:
            self._debts.owe(debt, until)
        if wait:
            raise self._refusal(caller, wait)
        return self._headers(self._limit.left(until, now))

    def charge(self, caller: Caller) -> None:
        """Count one that cannot be refused any more."""
        debt = self._debts.find(self._prefix + caller.key)
        self._debts.owe(debt, self._limit.charge(debt.until, self._debts.now()))

    def require(self, caller: Caller) -> None:
        """Count nothing. Raises TooManyRequests if one more would be too many."""
        until = self._debts.find(self._prefix + caller.key).until
        _, wait = self._limit.spend(until, self._debts.now())
        if wait:
            raise self._refusal(caller, wait)

    def headers(self, caller: Caller) -> dict[str, str]:
        """Return the limit and what is left of it, as Docker Hub says them."""
        until = self._debts.find(self._prefix + caller.key).until
        return self._headers(self._limit.left(until, self._debts.now()))

    def _headers(self, left: int) -> dict[str, str]:
        window = f";w={self._limit.seconds}"
        return {
            "RateLimit-Limit": f"{self._limit.count}{window}",
            "RateLimit-Remaining": f"{left}{window}",
        }

    def _refusal(self, caller: Caller, wait: int) -> TooManyRequests:
        seconds, limit = -(-wait // TICKS), self._limit
        window = "a minute" if limit.seconds == 60 else f"in {limit.seconds} seconds"
        what = self._what.removesuffix("s") if limit.count == 1 else self._what
        return TooManyRequests(
            f"the limit for {caller.name} is {limit.count} {what} {window}: "
            f"try again in {seconds} s",
            headers={"Retry-After": str(seconds), **self._headers(0)},
        )


class RateLimits:
    """Wraps the handlers that pull and write; a limit of 0 leaves them as they are."""

    def __init__(self, debts: Debts, pulls_per_minute: int, writes_per_minute: int) -> None:
        self._pulls = _allowance(debts, pulls_per_minute, "pulls")
        self._writes = _allowance(debts, writes_per_minute, "writes")

    def pulling(self, handler: Handler[C]) -> Handler[C]:
        """Count what leaves: neither HEAD nor 304, nor what was refused or not found.

        HEAD answers 200, 401 or 404 only: containerd ends a push on anything else.
        """
        if self._pulls is None:
            return handler
        pulls = self._pulls

        async def limited(call: C) -> Response:
            caller = Caller.of(call.who.name, call.client)
            if not call.head and not _may_sign_in(call.who):
                pulls.require(caller)
            response = await handler(call)
            pulled = not call.head and response.status_code in (200, 206)
            headers = pulls.spend(caller) if pulled else pulls.headers(caller)
            response.headers.update(headers)
            return response

        return limited

    def writing(self, handler: Handler[C], *, completes: bool = False) -> Handler[C]:
        """Count what an account begins to write; who is nobody gets 401 there, whatever comes.

        `completes` is for a manifest, the end of a push whose layers have been sent: it is refused
        only to an account that is over twice its limit.
        """
        if self._writes is None:
            return handler
        writes = self._writes

        async def limited(call: C) -> Response:
            if not call.who.anonymous:
                writes.spend(Caller.of(call.who.name, call.client), overdraft=completes)
            return await handler(call)

        return limited

    def write(self, who: Principal, *, completes: bool = False) -> None:
        """Count what somebody writes at another door than /v2. Raises TooManyRequests."""
        if self._writes is not None and not who.anonymous and not who.operator:
            self._writes.spend(Caller.of(who.name, who.address), overdraft=completes)


def _allowance(debts: Debts, per_minute: int, what: str) -> Allowance | None:
    return Allowance(debts, Limit(per_minute, 60), what) if per_minute else None


def _may_sign_in(who: Principal) -> bool:
    """Whether the answer may be the challenge that a client waits for before it signs in."""
    return who.anonymous and who.access is None
