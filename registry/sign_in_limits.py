"""How often one may sign in, and guess passwords, at the doors that take them.

Wrong passwords stop passwords only, for tokens cannot be guessed; and never the right password from
an address that its account has signed in from in the last 30 days.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response

from auth.authenticate import password_user
from registry.debts import TICKS, Debts
from registry.rate_limits import Allowance, Caller, Limit
from registry.requests import exchange_of
from storage.errors import Unauthenticated

FAILURE_SECONDS = 300
KNOWN_SECONDS = 30 * 86400
BEGUN, BEGUN_SECONDS = 300, 600
"""Sign-ins that are to end elsewhere: how many an address may begin, in which time."""

Door = Callable[[Request], Awaitable[Response]]
UserOf = Callable[[Request], Awaitable[str | None]]


class SignInLimits:
    """Wraps a door: counts its answers, and the passwords that were wrong."""

    def __init__(
        self, debts: Debts, known: Debts, tokens_per_minute: int, failures_per_address: int
    ) -> None:
        self._tokens = (
            Allowance(debts, Limit(tokens_per_minute, 60), "sign-ins")
            if tokens_per_minute
            else None
        )
        self._guesses = Guesses(debts, known, failures_per_address)
        self._begun = Allowance(debts, Limit(BEGUN, BEGUN_SECONDS), "sign-ins begun")

    def door(self, answer: Door, user_of: UserOf | None = None) -> Door:
        """Count an answer for its account, or for the address of who is nobody or failed.

        `user_of` says whose password a request holds; without it the headers do.
        """

        async def limited(request: Request) -> Response:
            client = exchange_of(request.scope).client
            user = await (user_of or _header_user)(request)
            if user is not None:
                self._guesses.require(user, client)
            try:
                response = await answer(request)
            except Unauthenticated:
                if user is not None:
                    exchange_of(request.scope).claimed = user
                    self._guesses.failed(user, client)
                self.count("", client)
                raise
            if user is not None:
                self._guesses.succeeded(user, client)
            self.count(request.state.account, client)
            return response

        return limited

    def beginning(self, answer: Door) -> Door:
        """Count by address what nobody has to sign in for, and what leaves a row for a while."""

        async def limited(request: Request) -> Response:
            self.begin(exchange_of(request.scope).client)
            return await answer(request)

        return limited

    def begin(self, client: str) -> None:
        """Count one that an address begins. Raises TooManyRequests."""
        self._begun.spend(Caller.of("", client))

    @contextmanager
    def attempt(self, user: str, client: str) -> Iterator[None]:
        """Count what is tried within as one password: a wrong one raises Unauthenticated.

        Raises TooManyRequests.
        """
        self._guesses.require(user, client)
        try:
            yield
        except Unauthenticated:
            self._guesses.failed(user, client)
            raise
        self._guesses.succeeded(user, client)

    def count(self, account: str, client: str) -> None:
        """Count a sign-in, or with "" one of nobody. Raises TooManyRequests."""
        if self._tokens is not None:
            self._tokens.spend(Caller.of(account, client))


class Guesses:
    """Counts wrong passwords by address, and by account and address: a tenth as many there."""

    def __init__(self, debts: Debts, known: Debts, per_address: int) -> None:
        self._known = known
        self._on = per_address > 0
        pair = Limit(max(1, per_address // 10), FAILURE_SECONDS)
        self._by_address = Allowance(
            debts, Limit(max(1, per_address), FAILURE_SECONDS), "wrong passwords"
        )
        self._by_pair = Allowance(debts, pair, "wrong passwords")

    def require(self, user: str, client: str) -> None:
        """Let a guess through. Raises TooManyRequests.

        A guess is counted once it is known to be wrong, so those under way pass together: at most
        the queue of password checks. Counting first would refuse many that sign in at once.
        """
        if self._on and self._known.find(_pair(user, client).key).until <= self._known.now():
            self._by_pair.require(_pair(user, client))
            self._by_address.require(Caller.of("", client))

    def failed(self, user: str, client: str) -> None:
        """Count a wrong password."""
        if self._on:
            self._by_pair.charge(_pair(user, client))
            self._by_address.charge(Caller.of("", client))

    def succeeded(self, user: str, client: str) -> None:
        """Remember that this account signs in from there."""
        pair = self._known.find(_pair(user, client).key)
        self._known.owe(pair, self._known.now() + KNOWN_SECONDS * TICKS)


async def _header_user(request: Request) -> str | None:
    return password_user(request.headers)


def _pair(user: str, client: str) -> Caller:
    address = Caller.of("", client)
    folded = user.lower()
    return Caller(address.key + b" " + folded.encode(), f"{folded[:40]!r} from {address.name}")
