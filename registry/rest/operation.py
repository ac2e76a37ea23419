"""An operation: a method and a path, what it needs, what goes in and what comes out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from starlette.datastructures import Headers, QueryParams

from auth.permissions import Access
from auth.places import Place
from auth.principals import Principal
from registry.paths import decode
from registry.rest.needs import Need
from storage.errors import Invalid

T = TypeVar("T")

BODY_BYTES = 64 * 1024
HOLD_SLASHES = frozenset({"account", "package", "source"})
"""Path parameters in which an encoded slash is part of the name."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Items in the order of their keys. `next` goes into `after` for the page that follows."""

    items: list[T]
    next: str | None = None


class NoQuery(msgspec.Struct, frozen=True):
    """What an operation without query parameters reads."""


class Paging(msgspec.Struct, frozen=True):
    """Which page: up to `n` items after the one that `after` names."""

    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Annotated[str, msgspec.Meta(max_length=512)] = ""


class NumberPaging(msgspec.Struct, frozen=True):
    """Which page of what is listed by number: up to `n` after the one that `after` names."""

    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose caller was found and judged.

    `values` are the path's parameters, decoded; `place` or `package` what was judged, if it was an
    owner or a project, or a package. `base` begins this server's URLs; "" where nobody knows.
    """

    who: Principal
    values: Mapping[str, str]
    headers: Headers
    query: Any
    body: bytes
    base: str
    place: Place | None = None
    package: Access | None = None

    @property
    def at(self) -> Place:
        """The owner or project that was judged."""
        if self.place is None:
            raise RuntimeError("this operation names no owner and no project")
        return self.place

    @property
    def access(self) -> Access:
        """What the caller may do with the package that was judged."""
        if self.package is None:
            raise RuntimeError("this operation names no package")
        return self.package

    @property
    def package_id(self) -> int:
        """The id of the package that was judged, which is there."""
        if self.access.package_id is None:
            raise RuntimeError("this operation is for packages that are there")
        return self.access.package_id

    def number(self, name: str) -> int:
        """Return a parameter of the path that is the id of a row."""
        return int(self.values[name])

    async def read(self, kind: type[T]) -> T:
        """Return the JSON body. Raises Invalid."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Invalid("send the body as application/json")
        if b"\\u0000" in self.body:
            raise Invalid("the body holds NUL, which no name or text here does")
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"the body is not what is expected: {error}") from error


Handler = Callable[[Call], Awaitable[Any]]
"""Returns what is rendered as JSON (None with 204), or a Response of its own."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of an API. `body` and `answer` are types that msgspec reads and writes."""

    method: str
    path: str
    handle: Handler
    summary: str
    need: Need
    answer: Any = None
    body: Any = None
    query: type[msgspec.Struct] = NoQuery
    status: int = 200
    door: bool = False
    """Whether a password is taken, under the limits of sign-ins."""
    lines: bool = False
    """Whether the handler answers `Accept: application/x-ndjson` with the items as JSON lines."""
    segments: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")[1:]))

    @property
    def name(self) -> str:
        """What programs call it: the class and the method that handle it."""
        api = type(getattr(self.handle, "__self__", None)).__name__.removesuffix("Api")
        return f"{api.lower()}-{self.handle.__name__.replace('_', '-')}"

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return [segment[1:-1] for segment in self.segments if segment.startswith("{")]

    def match(self, raw: list[bytes]) -> dict[str, str] | None:
        """Return the parameters of a raw path's segments, None if it is another's.

        Raises Invalid for bytes that no name holds.
        """
        if len(raw) != len(self.segments):
            return None
        pairs = list(zip(self.segments, raw, strict=True))
        if any(said.encode() != came for said, came in pairs if not said.startswith("{")):
            return None
        return {
            said[1:-1]: _decode(came, said[1:-1]) for said, came in pairs if said.startswith("{")
        }


class Part(Protocol):
    """Some of the operations of an API, over the services they need."""

    def operations(self) -> list[Operation]:
        """Return them."""
        ...


class NoSuchQuery(Invalid):
    """A query parameter that cannot be read."""


def read_query(kind: type[T], query: QueryParams) -> T:
    """Return the query parameters as `kind`. Raises NoSuchQuery."""
    if any("\0" in value for value in query.values()):
        raise NoSuchQuery("a query parameter holds NUL, which no name here does")
    try:
        return msgspec.convert(dict(query), type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise NoSuchQuery(f"a query parameter is not what is expected: {error}") from error


def _decode(segment: bytes, name: str) -> str:
    text = decode(segment)
    if not text.isprintable() or ("/" in text and name not in HOLD_SLASHES) or not text:
        raise Invalid(f"{{{name}}} in the path is empty, or holds what no name holds")
    return text
