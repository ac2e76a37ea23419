"""Who asks: the account behind a request, and the upper bounds its credential sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self

SITE_ID = -1
"""In the place of an account's id, in statements that choose what is seen: who sees all."""
FORGIVEN_SECONDS = 24 * 3600
"""How long after its expiry a credential still finishes an upload it began."""


class Role(IntEnum):
    """What an account may do with an owner, a project or a package; each includes those below."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Visibility(IntEnum):
    """Who sees a package without a role: nobody, every signed-in user, everybody."""

    PRIVATE = 0
    INTERNAL = 1
    PUBLIC = 2


class Scope(IntFlag):
    """What a token may be used for, whatever the roles of its account."""

    NONE = 0
    READ = 1
    WRITE = 2
    DELETE = 4
    ADMIN = 8
    ALL = 15


class Action(IntEnum):
    """What a route does to a repository."""

    PULL = 1, Role.READ, Scope.READ, "pull", "pull"
    PUSH = 2, Role.WRITE, Scope.WRITE, "push", "pull,push"
    DELETE = 3, Role.WRITE, Scope.DELETE, "delete", "pull,delete"
    ADMINISTER = 4, Role.ADMIN, Scope.ADMIN, "*", "*"

    role: Role
    """The least role that may do it (PULL also follows from visibility)."""
    scope: Scope
    """The token scope it needs; `scope_bit` is its number."""
    scope_bit: int
    wire_name: str
    """Its word in the Docker token protocol's scopes."""
    scope_words: str
    """The actions a client asks a bearer token for, to do it: writers read too."""

    def __new__(
        cls, value: int, role: Role, scope: Scope, wire_name: str, scope_words: str
    ) -> Self:
        """Make a member with what is asked of it on every request as plain attributes."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.role, member.scope, member.scope_bit = role, scope, int(scope)
        member.wire_name, member.scope_words = wire_name, scope_words
        return member


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that asks. Roles, visibility and revocation are never kept here: they are rows.

    `access` is None for a credential that is not bound to names; for a bearer token of `/token` it
    maps resources (`repository:acme/app`) to the actions it was given, an upper bound.
    `forgiven` is true where the last day's expiry does not count (an upload's own URL).
    `address` and `request_id` are for the audit, and known where something may change.
    """

    account_id: int = 0
    name: str = ""
    kind: str = "anonymous"
    token_id: int = 0
    password_version: int | None = None
    access: Mapping[str, frozenset[str]] | None = None
    forgiven: bool = False
    address: str = ""
    request_id: str = ""

    @property
    def anonymous(self) -> bool:
        """Whether nobody is signed in."""
        return self.kind == "anonymous"

    @property
    def asking_id(self) -> int:
        """The id that lists know the caller by: an account's, or SITE_ID."""
        return SITE_ID if self.operator else self.account_id

    @property
    def operator(self) -> bool:
        """Whether it is who has the database: no request ever is."""
        return self.kind == "operator"


ANONYMOUS = Principal()
