"""Who calls, and whether he may do what an operation needs: the same at every surface but /v2."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import Scope

from auth.errors import NameUnknown, NotSignedIn
from auth.permissions import Access, Permissions
from auth.places import Place, Places
from auth.principals import Principal
from registry.requests import exchange_of
from registry.rest.needs import FOR_ALL, Need, On
from storage.names import RepositoryName


class Authenticate(Protocol):
    """Tells who asks; with `door` by a password too."""

    async def __call__(self, headers: Headers, *, door: bool = False) -> Principal:
        """Return who asks. Raises NotSignedIn, TooManyRequests."""
        ...


class Callers:
    """Finds and judges them."""

    def __init__(
        self, authenticate: Authenticate, permissions: Permissions, places: Places
    ) -> None:
        self._authenticate = authenticate
        self._permissions = permissions
        self._places = places

    async def find(
        self, need: Need, headers: Headers, scope: Scope, *, door: bool = False
    ) -> Principal:
        """Return who calls. Raises NotSignedIn, TooManyRequests."""
        who = await self._authenticate(headers, door=door)
        if who.access is not None:
            raise NotSignedIn("bearers of /token open /v2 only: send the token itself here")
        scope["state"]["account"], scope["state"]["token"] = who.name, who.token_id
        if who.anonymous and (need.own or need.on not in FOR_ALL):
            raise NotSignedIn("sign in with a token")
        reads = need.on is On.PACKAGE and scope["method"] in ("GET", "HEAD")
        if who.operator or reads:  # whoever has the database comes from nowhere
            return who
        exchange = exchange_of(scope)
        return replace(who, address=exchange.client, request_id=exchange.id)

    async def judge(
        self,
        need: Need,
        who: Principal,
        values: Mapping[str, str],
        repository: Callable[[], RepositoryName],
    ) -> Place | Access | None:
        """Return what was judged. Raises what says no: NotSignedIn, Denied, NotFound.

        `repository` names that of the package in a path, or raises what the name is wrong with.
        """
        match need.on:
            case On.ANYBODY | On.SIGNED_IN:
                await self._permissions.require_live(who, need.scope)
            case On.SITE:
                await self._places.require_site(who, need.scope)
            case On.USER:
                await self._places.require_user(
                    who, need.scope, values["user"], bounded=need.bounded
                )
            case On.OWNER:
                return await self._places.require(who, need.action, values["owner"])
            case On.TEAM:
                await self._places.require_team(who, need.action, values["owner"], values["team"])
            case On.PROJECT:
                return await self._places.require(
                    who, need.action, values["owner"], values["project"]
                )
            case On.PACKAGE:
                name = repository()
                access = await self._permissions.require(who, need.action, name)
                if access.package_id is None and not need.gone:
                    raise NameUnknown(f"there is no package {name}")  # who may push there knows
                return access
        return None
