"""What the auth room says no with.

Unauthenticated        401
  NotSignedIn          401  no credentials, or ones that are no longer good
  InsufficientScope    401  a bearer token that does not hold what the request needs
Denied
  NameMoved            403  a write to a name that a package had before
NotFound
  NameUnknown          404  a repository that is unknown or hidden
  LoginUnknown         404  a login in a browser that nobody began
  LoginEnded           410  one that was decided on, fetched, or is too old
"""

from typing import Self

from auth.principals import Action
from storage.errors import Denied, NotFound, Unauthenticated
from storage.names import RepositoryName

BASIC_CHALLENGE = 'Basic realm="packhouse"'
"""What a 401 asks for outside /v2, which asks for a bearer."""


class _Challenge(Unauthenticated):
    """A 401; `scope` is the Docker token scope that would do, "" where none is known."""

    def __init__(self, message: str, *, scope: str = "") -> None:
        super().__init__(message)
        self.scope = scope


class NotSignedIn(_Challenge):
    """No credentials, or ones that are no longer good."""

    @classmethod
    def to(cls, action: Action, repository: RepositoryName) -> Self:
        """Say what needs a signed-in account."""
        return cls(f"sign in to {action.wire_name} {repository}", scope=_scope(action, repository))


CHANGED = "this account is disabled, or its password was changed: sign in again"
"""What somebody is told whose sign-in no longer counts when something is made of it."""


class InsufficientScope(_Challenge):
    """A bearer token that does not hold what the request needs."""

    @classmethod
    def to(cls, action: Action, repository: RepositoryName) -> Self:
        """Say which scope to fetch."""
        scope = _scope(action, repository)
        return cls(f"this bearer token does not hold the scope {scope}", scope=scope)


class NameMoved(Denied):
    """A write to a name that a package had before."""

    @classmethod
    def to(cls, now: str, before: RepositoryName | str) -> Self:
        """Name the one it has now."""
        return cls(
            f"{before} is {now} now, and its old name answers pulls only: push to {now}",
            detail={"name": now},
        )


class NameUnknown(NotFound):
    """A repository that is unknown or hidden; the two are never told apart."""

    @classmethod
    def of(cls, repository: RepositoryName, *, anonymous: bool = False) -> Self:
        """Name what was asked for, which says nothing about what exists."""
        cure = ": nobody is signed in, try 'docker login HOST' first" if anonymous else ""
        return cls(
            f"repository {repository} is not known, or you may not see it{cure}",
            detail={"name": str(repository)},
        )


class LoginUnknown(NotFound):
    """A login in a browser that nobody began, or long ago."""


class LoginEnded(NotFound):
    """A login in a browser that was decided on, fetched, or is too old."""

    status = 410


def _scope(action: Action, repository: RepositoryName) -> str:
    return f"repository:{repository}:{action.scope_words}"
