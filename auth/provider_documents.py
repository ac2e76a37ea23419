"""What a provider publishes about itself: where it is asked, and the keys that it signs with.

Reading list: OpenID Connect Discovery 1.0, sections 3 and 4; RFC 7517; RFC 9207, section 3. Every
answer is bounded in size and time, no redirect is followed, and nothing but the configured issuer's
own document says what else is asked.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auth.id_tokens import VerifyingKey, parse_keys
from auth.providers import Provider, is_trusted_url
from storage.clock import SECOND, Clock
from storage.errors import PackhouseError, Unavailable

log = logging.getLogger("packhouse.openid")

MAX_BYTES = 256 * 1024
ANSWER_SECONDS = 10
"""How long a provider may take for a whole answer."""
KEPT_SECONDS = 3600
"""How long what a provider publishes is believed."""
RENEW_SECONDS = 60
"""How long keys are kept at least, whatever key a token names."""
FAILED_SECONDS = 5
"""How long a provider that did not answer is left alone: those who wait are told at once."""


class ProviderAway(Unavailable):
    """A provider does not answer now."""


class ProviderWrong(PackhouseError):
    """A provider answers something that is not what it should be."""

    status = 502


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider is asked for what. `names_itself`: its answers say its issuer (RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    names_itself: bool
    takes_basic: bool


class Web:
    """Asks providers for JSON objects."""

    def __init__(self, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._trust: ssl.SSLContext | None = None

    async def ask(
        self, provider: Provider, method: str, url: str, **options: Any
    ) -> tuple[int, dict[str, Any]]:
        """Return status and object of an answer.

        Raises ProviderAway, ProviderWrong; the log says more, without what was sent.
        """
        import httpx  # noqa: PLC0415 - brings its command line along, which most workers never need

        try:
            async with asyncio.timeout(self._seconds):
                status, body = await self._ask(method, url, **options)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            log.warning("provider %s: %s %s: %s", provider.name, method, _bare(url), reason)
            raise ProviderAway(
                f"{provider.shown} does not answer: try again later, or sign in with a password"
            ) from error
        found = _object(body)
        if status >= 500:
            log.warning("provider %s: %s %s: status %s", provider.name, method, _bare(url), status)
            raise ProviderAway(f"{provider.shown} is out of order: try again in a while")
        if status not in (200, 400, 401) or found is None:
            what = f"status {status}, {len(body)} bytes" + (" and more" if found is None else "")
            log.warning("provider %s: %s %s: %s", provider.name, method, _bare(url), what)
            raise wrong(provider, "its answer cannot be read")
        return status, found

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, bytes]:
        import httpx  # noqa: PLC0415

        if self._trust is None:
            # The machine's own list, where a company puts its authority. Reading it takes a while.
            self._trust = await asyncio.to_thread(ssl.create_default_context)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        headers |= options.pop("headers", {})
        client = httpx.AsyncClient(
            verify=self._trust, trust_env=False, follow_redirects=False, timeout=self._seconds
        )
        body = bytearray()
        async with client, client.stream(method, url, headers=headers, **options) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
        return response.status_code, bytes(body)


class ProviderDocuments:
    """What one provider publishes, kept for a while."""

    def __init__(self, provider: Provider, web: Web, clock: Clock) -> None:
        self._provider = provider
        self._web = web
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: tuple[int, Metadata] | None = None
        self._keys: tuple[int, list[VerifyingKey]] | None = None
        self._failure: tuple[int, PackhouseError] | None = None

    async def metadata(self) -> Metadata:
        """Return where the provider is asked. Raises ProviderAway, ProviderWrong."""
        async with self._lock:
            return await self._fresh_metadata()

    async def keys(self, *, unknown: bool = False) -> list[VerifyingKey]:
        """Return the keys that sign ID tokens; with `unknown` a newer list if it may be asked for.

        Raises ProviderAway, ProviderWrong.
        """
        kept = RENEW_SECONDS if unknown else KEPT_SECONDS
        async with self._lock:
            if self._keys is None or self._is_old(self._keys[0], kept):
                document = await self._fetch((await self._fresh_metadata()).jwks_uri)
                keys = parse_keys(document)
                if not keys:
                    raise wrong(self._provider, "it publishes no key that could verify anything")
                self._keys = (self._clock(), keys)
            return self._keys[1]

    async def _fresh_metadata(self) -> Metadata:
        if self._metadata is None or self._is_old(self._metadata[0], KEPT_SECONDS):
            url = self._provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
            metadata = parse_metadata(self._provider, await self._fetch(url))
            self._metadata = (self._clock(), metadata)
        return self._metadata[1]

    async def _fetch(self, url: str) -> dict[str, Any]:
        if self._failure is not None and not self._is_old(self._failure[0], FAILED_SECONDS):
            raise self._failure[1].with_traceback(None)
        try:
            status, found = await self._web.ask(self._provider, "GET", url)
        except PackhouseError as error:
            self._failure = (self._clock(), error)
            raise
        if status != 200:
            raise wrong(self._provider, f"it answers {status} at {url}")
        return found

    def _is_old(self, at: int, seconds: int) -> bool:
        return self._clock() - at >= seconds * SECOND


def parse_metadata(provider: Provider, document: Mapping[str, Any]) -> Metadata:
    """Read a discovery document. Raises ProviderWrong."""
    if document.get("issuer") != provider.issuer:
        raise wrong(provider, "it calls itself another issuer than the configuration does")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        authorization_endpoint=_endpoint(provider, document, "authorization_endpoint"),
        token_endpoint=_endpoint(provider, document, "token_endpoint"),
        jwks_uri=_endpoint(provider, document, "jwks_uri"),
        userinfo_endpoint=(
            _endpoint(provider, document, "userinfo_endpoint")
            if "userinfo_endpoint" in document
            else ""
        ),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
    )


def wrong(provider: Provider, what: str) -> ProviderWrong:
    """Return what to say of a provider's answer."""
    log.warning("provider %s: %s", provider.name, what)
    return ProviderWrong(f"signing in with {provider.shown} does not work now: {what}")


def _endpoint(provider: Provider, document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or len(url) > 2000 or not is_trusted_url(url) or "#" in url:
        raise wrong(provider, f"its {name} is not a URL that may be asked")
    if provider.issuer.startswith("https:") and not url.startswith("https:"):
        raise wrong(provider, f"its {name} is not a URL that may be asked")
    return url


def _object(body: bytes) -> dict[str, Any] | None:
    if len(body) > MAX_BYTES:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _bare(url: str) -> str:
    return url.partition("?")[0]
