"""The REST API as commands use it: a server's, far away, or this machine's own database.

On this machine the same operations run inside the command, for the operator; over the network, for
whoever the token belongs to. So there is one way of doing things, and one set of answers.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec

from registry.rest.problem import MEDIA_TYPE, Problem
from registry.tables import plain
from storage.errors import Invalid, PackhouseError, Unauthenticated

T = TypeVar("T")
Value = str | int | bool | None

_PAGE = 1000
_PARAMETER = re.compile(r"\{[a-z]+\}")


class Refused(PackhouseError):
    """The server said no, in its own words; or what answered, or did not, is no Packhouse."""


class SignedOut(Refused, Unauthenticated):
    """The server wants to know who asks, or no longer takes the token."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str | int | bool]
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, to its end."""

    status: int
    headers: Mapping[str, str]
    data: bytes


Send = Callable[[Question], Awaitable[Answer]]
"""Raises Invalid for what fits in no request, Refused where nothing answers."""


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]
    next: str | None = None


class Api:
    """Asks, and raises what was refused in the server's words."""

    def __init__(self, send: Send, name: str, *, anonymous: bool = False) -> None:
        self._ask = send
        self._name = name
        self._anonymous = anonymous

    async def get(self, kind: type[T], template: str, *names: str, **query: Value) -> T:
        """Return one thing. `names` fill the `{}` of the template in their order."""
        return self._read(kind, await self._send("GET", template, names, query))

    async def ask(
        self,
        kind: type[T],
        method: str,
        template: str,
        *names: str,
        body: msgspec.Struct | None = None,
    ) -> T:
        """Have something changed, and return what it is then."""
        return self._read(kind, await self._send(method, template, names, body=body))

    async def tell(
        self, method: str, template: str, *names: str, body: msgspec.Struct | None = None
    ) -> None:
        """Have something changed."""
        await self._send(method, template, names, body=body)

    async def all(self, kind: type[T], template: str, *names: str, **query: Value) -> list[T]:
        """Return the items of every page of a list."""
        pages = self.pages(kind, template, *names, **query)
        return [item async for page in pages for item in page]

    async def pages(
        self, kind: type[T], template: str, *names: str, **query: Value
    ) -> AsyncIterator[list[T]]:
        """Yield the items of a list, a page at a time."""
        after: str | None = None
        while True:
            asked = {**query, "n": _PAGE, "after": after}
            page = self._read(_Page, await self._send("GET", template, names, asked))
            yield [self._read(kind, bytes(item)) for item in page.items]
            if page.next is None:
                return
            if page.next == after:
                raise Refused(f"{self._name} gives the same page again and again")
            after = page.next

    async def _send(
        self,
        method: str,
        template: str,
        names: tuple[str, ...],
        query: Mapping[str, Value] | None = None,
        body: msgspec.Struct | None = None,
    ) -> bytes:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            content = None if body is None else msgspec.json.encode(body)
            question = Question(method, fill(template, names), given, content)
        except UnicodeEncodeError as error:
            raise Invalid("what was given is not UTF-8 text") from error
        answer = await self._ask(question)
        if 200 <= answer.status < 300:
            return answer.data
        raise self._refusal(answer)

    def _read(self, kind: type[T], data: bytes) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(
                f"{self._name} answered what this command does not know ({plain(error)}): "
                "is it of another version?"
            ) from error

    def _refusal(self, answer: Answer) -> PackhouseError:
        if 300 <= answer.status < 400:
            place = plain(answer.headers.get("location", ""))[:200]
            return Refused(
                f"{self._name} sends this elsewhere ({place}): give the URL that answers"
            )
        problem = _problem(answer)
        if problem is None:
            return Refused(
                f"{self._name} answered {answer.status}, but not as the API of a Packhouse does: "
                "is it one, as new as this command, and no proxy's page in between?"
            )
        message, refused = plain(problem.detail), Refused
        if problem.code == "no-such-path":
            message = f"{self._name} knows no such operation: it is older than this command"
        elif answer.status == 401:
            cure = f": 'packhouse login {self._name}' keeps a token" if self._anonymous else ""
            refused, message = SignedOut, message + cure
        elif answer.status == 400:
            return Invalid(message)
        error = refused(message)
        error.status = answer.status
        return error


def fill(template: str, names: tuple[str, ...]) -> str:
    """Put names into the `{}` of a path. Raises Invalid for what is the name of nothing."""
    rest = iter(names)
    return _PARAMETER.sub(lambda _: _segment(next(rest)), template)


def split_name(text: str, form: str) -> tuple[str, str]:
    """Split a name at its first slash, as in `OWNER/NAME`. Raises Invalid."""
    first, separator, rest = text.partition("/")
    if not first or not separator or not rest:
        raise Invalid(f"{text!r} is not enough: write {form}")
    return first, rest


def _segment(name: str) -> str:
    if name in {"", ".", ".."}:  # which would be another path
        raise Invalid(f"{name!r} is no name")
    return quote(name, safe="")


def _problem(answer: Answer) -> Problem | None:
    if answer.headers.get("content-type", "").partition(";")[0] != MEDIA_TYPE:
        return None
    try:
        return msgspec.json.decode(answer.data, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
