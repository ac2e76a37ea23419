"""What an adapter hangs into the frame: routes, and how it reads paths and says what is wrong."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from auth.permissions import Access
from auth.places import Place
from auth.principals import Principal
from registry.body import Body
from registry.paths import decode
from registry.queries import query_number, query_text
from registry.requests import Exchange
from registry.rest.needs import Need, On
from storage.errors import Invalid, PackhouseError
from storage.names import RepositoryName

_PARAMETER = re.compile(r"\{([a-z_]+)(\*?)\}")
_NAMED_BY = {On.USER: {"user"}, On.OWNER: {"owner"}, On.TEAM: {"owner", "team"}}
_NAMED_BY[On.PROJECT] = {"owner", "project"}
SECRETS = frozenset({"secret", "token"})
"""Parameters of paths that no log shows."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose caller was found and judged; its body is still to come.

    `site` is the URL of this server as clients write it, `base` that of the mount:
    `https://host/npm`. `named` is the repository of the package in the path, if it names one,
    `access` what the caller may do with it (None where the handler's own statement decides),
    `place` the owner or project that was judged, if it was one.
    """

    who: Principal
    values: Mapping[str, str]
    headers: Headers
    query: QueryParams
    body: Body
    site: str
    base: str
    method: str
    client: str
    exchange: Exchange
    state: dict[str, Any]
    judge: Callable[[], Awaitable[Place | Access | None]]
    named: RepositoryName | None = None
    access: Access | None = None
    place: Place | None = None

    @property
    def head(self) -> bool:
        """Whether no body is wanted; the frame leaves it out."""
        return self.method == "HEAD"

    @property
    def repository(self) -> RepositoryName:
        """The repository of the package in the path."""
        if self.named is None:
            raise RuntimeError("this route names no package")
        return self.named

    @property
    def at(self) -> Access:
        """What the caller may do with the package that was judged."""
        if self.access is None:
            raise RuntimeError("this route names no package, or its handler decides")
        return self.access

    @property
    def package_id(self) -> int:
        """The id of the package that was judged, which is there."""
        if self.at.package_id is None:
            raise RuntimeError("this route is for packages that are there")
        return self.at.package_id

    def text(self, name: str, default: str = "") -> str:
        """Return a query parameter. Raises Invalid for control characters."""
        return query_text(self.query, name, default)

    def number(self, name: str) -> int | None:
        """Return a query parameter as a whole number, clamped. Raises Invalid."""
        return query_number(self.query, name)

    def signed_in(self, who: Principal) -> Principal:
        """Return somebody who showed who he is in the body, with what the audit wants to know.

        Limits count the call as his.
        """
        self.state["account"], self.state["token"] = who.name, who.token_id
        self.exchange.signed_in = True
        return replace(who, address=self.client, request_id=self.exchange.id)

    async def read(self, most: int) -> bytes:
        """Return the whole body, of at most so many bytes.

        Who sends slowly is judged again: his rights may have ended meanwhile. Raises TooLarge,
        TransferCut, and what says no.
        """
        data = await self.body.read(most)
        await self.judge()
        return data


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method, a path below the mount, what answers it, and what it needs.

    A parameter is a segment or a part of one, `/@{owner}/{name}`, and with a star what follows as
    well: `/{path*}`. What answers GET answers HEAD.
    """

    method: str
    path: str
    handler: Handler
    need: Need
    door: bool = False
    """Whether a password is taken, under the limits of sign-ins."""
    pull: bool = False
    """Whether its answer counts as a pull."""
    decides: bool = False
    """Whether the handler's own statement judges the caller, and finds what it answers with."""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        names = {found[1] for found in _PARAMETER.finditer(self.path)}
        if not _NAMED_BY.get(self.need.on, set()) <= names:
            raise ValueError(f"{self.path} does not name what its need is about")
        if self.decides and self.need.on is not On.PACKAGE:
            raise ValueError(f"{self.path} names no package that its handler could decide about")
        object.__setattr__(self, "pattern", _compile(self.path))


class AdapterRoutes(Protocol):
    """How the clients of a format are answered."""

    @property
    def prefix(self) -> str:
        """The first segment of its paths: `npm`."""

    def routes(self) -> Sequence[Route]:
        """Return what hangs below `/npm` and `/auth/npm`; of two that fit the first answers."""

    def root_routes(self) -> Sequence[Route]:
        """Return what hangs at the host's root, for clients that drop the prefix."""

    def canonical(self, segments: Sequence[bytes]) -> str:
        """Return a path's one spelling, which begins with `/`, from its raw segments.

        Each is decoded once; it may hold an encoded `/` only where it is declared to hold a name.
        Raises Invalid, NotFound.
        """

    def repository(self, values: Mapping[str, str]) -> RepositoryName:
        """Return the repository of the package in a path. Raises NameInvalid."""

    def error(self, error: PackhouseError, exchange: Exchange) -> Response:
        """Render an error; its headers are the frame's."""

    def failure(self, exchange: Exchange) -> Response:
        """Render what went wrong on our side."""


def plain_path(segments: Sequence[bytes]) -> str:
    """Return the path of segments none of which holds a `/`. Raises Invalid."""
    decoded = [decode(segment) for segment in segments]
    if any("/" in segment for segment in decoded):
        raise Invalid("the path holds an encoded '/' where no name has one")
    return "/" + "/".join(decoded)


def _compile(path: str) -> re.Pattern[str]:
    pattern, end = "", 0
    for found in _PARAMETER.finditer(path):
        pattern += re.escape(path[end : found.start()])
        pattern += f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"
        end = found.end()
    return re.compile(pattern + re.escape(path[end:]))
