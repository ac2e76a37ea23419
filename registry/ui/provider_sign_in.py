"""Signing in with a provider: the way there, and the way back.

The way there is a page that goes on by itself: browsers hold a redirect that follows a form against
`form-action`, and where a provider sends people on to is its own business.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from auth.identities import Identities
from auth.oauth import field
from auth.openid import OpenId
from auth.provider_sign_ins import ProviderSignIns
from registry.requests import exchange_of
from registry.ui.browsers import Browsers, parse_next
from registry.ui.sign_in import SignIn
from registry.ui.templates import render_page
from storage.errors import Invalid, NotFound

CALLBACK = "/-/ui/callback"


class ProviderSignIn:
    """What a provider's button is sent to, and where the provider sends the browser back to."""

    def __init__(
        self,
        browsers: Browsers,
        sign_in: SignIn,
        providers: Mapping[str, OpenId],
        under_way: ProviderSignIns,
        identities: Identities,
    ) -> None:
        self._browsers = browsers
        self._sign_in = sign_in
        self._providers = providers
        self._under_way = under_way
        self._identities = identities

    async def begin(self, request: Request) -> Response:
        """POST /-/ui/sign-in/{provider}. Raises Denied, NotFound, ProviderAway, ProviderWrong."""
        request.state.account = ""
        form, chosen = await self._browsers.form(request), self._chosen(request)
        await chosen.require()
        begun = await self._under_way.begin(
            chosen.provider.name,
            self._browsers.secret(request),
            f"{self._browsers.base(request)}{CALLBACK}/{chosen.provider.name}",
            parse_next(field(form, "next")),
        )
        return render_page("onward", to=await chosen.address(begun), title=chosen.provider.shown)

    async def finish(self, request: Request) -> Response:
        """GET /-/ui/callback/{provider}: what a provider answers.

        Raises Invalid for what this browser did not begin or has brought before, NotSignedIn,
        Denied, ProviderAway, ProviderWrong.
        """
        exchange, chosen = exchange_of(request.scope), self._chosen(request)
        exchange.route = CALLBACK
        answer = dict(request.query_params.items())
        begun = await self._under_way.take(
            chosen.provider.name, answer.get("state", ""), self._browsers.secret(request)
        )
        if begun is None:
            raise Invalid(
                "this sign-in was begun in another browser, is over ten minutes old, or has been "
                "used: begin again"
            )
        claims = await chosen.claims(answer, begun)
        who = await self._identities.sign_in(chosen.provider, claims, exchange.client, exchange.id)
        request.state.account = who.name
        return await self._sign_in.welcome(request, who, chosen.provider.name, begun.next)

    def _chosen(self, request: Request) -> OpenId:
        found = self._providers.get(request.path_params["provider"])
        if found is None:
            raise NotFound("there is no provider of that name: go back to the sign-in page")
        return found
