"""Sign-ins with an OpenID Connect provider: the code flow, with PKCE, state and nonce.

Reading list: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9700 (security practices);
RFC 9207 (who answers); RFC 6749, section 2.3.1 (how a client says its secret).
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from auth.id_tokens import IdTokenRefused, KeyUnknown, check_claims, verify_id_token
from auth.provider_documents import Metadata, ProviderDocuments, Web, wrong
from auth.provider_sign_ins import ProviderSignIn
from auth.providers import Provider
from storage.clock import SECOND, Clock
from storage.errors import Denied, Invalid

MAX_ANSWER = 4096
"""Characters of a parameter that a provider sends a browser back with."""


class OpenId:
    """One provider, asked."""

    def __init__(self, provider: Provider, web: Web, clock: Clock) -> None:
        self.provider = provider
        self._web = web
        self._clock = clock
        self._documents = ProviderDocuments(provider, web, clock)

    async def require(self) -> None:
        """Raise ProviderAway or ProviderWrong where nobody can be sent to the provider."""
        await self._documents.metadata()

    async def address(self, begun: ProviderSignIn) -> str:
        """Return where to send the browser. Raises ProviderAway, ProviderWrong."""
        endpoint = (await self._documents.metadata()).authorization_endpoint
        challenge = hashlib.sha256(begun.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": begun.redirect_uri,
            "scope": " ".join(self.provider.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def claims(self, answer: Mapping[str, str], begun: ProviderSignIn) -> dict[str, Any]:
        """Return what the provider says of who comes back with `answer`, the query's parameters.

        Raises Denied where it says no, Invalid, IdTokenRefused, ProviderAway, ProviderWrong.
        """
        metadata, code = await self._documents.metadata(), answer.get("code", "")
        self._check_issuer(metadata, answer)
        if "error" in answer:
            raise Denied(f"{self.provider.shown} did not sign you in{_reason(answer['error'])}")
        if not code or len(code) > MAX_ANSWER or not code.isprintable():
            raise Invalid(f"{self.provider.shown} sent no code: begin again")
        tokens = await self._redeem(metadata, code, begun)
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise wrong(self.provider, "it sent no ID token")
        try:
            claims = await self._verify(text, begun.nonce)
        except IdTokenRefused as error:
            raise wrong(self.provider, error.message) from error
        return await self._completed(metadata, claims, tokens)

    def _check_issuer(self, metadata: Metadata, answer: Mapping[str, str]) -> None:
        """Refuse an answer that another provider gave."""
        named = answer.get("iss")
        if (named is None and metadata.names_itself) or named not in (None, self.provider.issuer):
            raise Invalid(f"the answer is not from {self.provider.shown}: begin again")

    async def _redeem(self, metadata: Metadata, code: str, begun: ProviderSignIn) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
        }
        secret = await self._secret()
        headers = {}
        if secret and metadata.takes_basic:
            pair = f"{quote_plus(self.provider.client_id)}:{quote_plus(secret)}"
            headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        else:
            form |= {"client_id": self.provider.client_id}
            form |= {"client_secret": secret} if secret else {}
        status, tokens = await self._web.ask(
            self.provider, "POST", metadata.token_endpoint, data=form, headers=headers
        )
        if status != 200:
            raise wrong(self.provider, f"it takes no code{_reason(tokens.get('error'))}")
        return tokens

    async def _secret(self) -> str:
        try:
            return await asyncio.to_thread(self.provider.secret)
        except (OSError, UnicodeDecodeError) as error:
            raise wrong(self.provider, "its client_secret_file cannot be read") from error

    async def _verify(self, text: str, nonce: str) -> dict[str, Any]:
        try:
            claims = verify_id_token(text, await self._documents.keys())
        except KeyUnknown:
            claims = verify_id_token(text, await self._documents.keys(unknown=True))
        provider, now = self.provider, self._clock() // SECOND
        check_claims(claims, provider.issuer, provider.client_id, nonce, now)
        return claims

    async def _completed(
        self, metadata: Metadata, claims: dict[str, Any], tokens: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add what the provider says at its userinfo endpoint, if something is wanted of that."""
        wanted = {self.provider.username_claim, self.provider.groups_claim} - {""}
        access = tokens.get("access_token")
        if wanted <= set(claims) or not metadata.userinfo_endpoint or not isinstance(access, str):
            return claims
        if not (access.isascii() and access.isprintable()):
            return claims
        headers = {"Authorization": f"Bearer {access}"}
        status, more = await self._web.ask(
            self.provider, "GET", metadata.userinfo_endpoint, headers=headers
        )
        if status != 200 or more.get("sub") != claims["sub"]:
            raise wrong(self.provider, "it does not say more of who signed in")
        return {**more, **claims}


def _reason(code: object) -> str:
    """Render an error's code of RFC 6749, and nothing else that somebody may have put there."""
    known = isinstance(code, str) and len(code) <= 60 and code.replace("_", "").isalpha()
    return f" ({code})" if known and str(code).isascii() else ""
