"""Sign-ins under way at a provider: what a browser was sent there with, taken once."""

from dataclasses import dataclass

from auth.sessions import hash_secret, is_secret, new_secret
from storage.clock import SECOND, Clock
from storage.database import Database

UNDER_WAY_SECONDS = 600
"""How long somebody may take at a provider."""

INSERT_PROVIDER_SIGN_IN = """
insert into provider_sign_ins (state_hash, browser_hash, provider, redirect_uri, nonce, verifier,
  next, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
TAKE_PROVIDER_SIGN_IN = """
delete from provider_sign_ins where state_hash = $1 and browser_hash = $2 and provider = $3
returning redirect_uri, nonce, verifier, next, expires_at
"""


@dataclass(frozen=True, slots=True)
class ProviderSignIn:
    """What a browser took along; the provider hands `state` back and signs `nonce`."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    next: str


class ProviderSignIns:
    """Keeps what is under way as rows: on whatever worker, each is taken once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(
        self, provider: str, browser: str, redirect_uri: str, following: str
    ) -> ProviderSignIn:
        """Remember that the browser with the secret `browser` is sent to a provider."""
        begun = ProviderSignIn(new_secret(), new_secret(), new_secret(), redirect_uri, following)
        hashes = (hash_secret(begun.state), hash_secret(browser))
        sent = (provider, redirect_uri, begun.nonce, begun.verifier, following)
        expires_at = self._clock() + UNDER_WAY_SECONDS * SECOND
        await self._database.execute(INSERT_PROVIDER_SIGN_IN, *hashes, *sent, expires_at)
        return begun

    async def take(self, provider: str, state: str, browser: str) -> ProviderSignIn | None:
        """Return what this browser took to this provider with `state`, the first time."""
        if not is_secret(state) or not browser:
            return None
        key = (hash_secret(state), hash_secret(browser), provider)

        row = await self._database.write(lambda tx: tx.fetch_one(TAKE_PROVIDER_SIGN_IN, *key))
        if row is None or row["expires_at"] <= self._clock():
            return None
        return ProviderSignIn(
            state=state,
            nonce=row["nonce"],
            verifier=row["verifier"],
            redirect_uri=row["redirect_uri"],
            next=row["next"],
        )
