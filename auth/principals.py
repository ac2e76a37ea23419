"""Who asks: the account behind a request, and the upper bounds its credential sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag

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

    PULL = 1
    PUSH = 2
    DELETE = 3
    ADMINISTER = 4

    @property
    def role(self) -> Role:
        """The least role that may do it (PULL also follows from visibility)."""
        return _ROLES[self]

    @property
    def scope(self) -> Scope:
        """The token scope it needs."""
        return _SCOPES[self]

    @property
    def wire_name(self) -> str:
        """Its word in the Docker token protocol's scopes."""
        return _WIRE_NAMES[self]

    @property
    def scope_words(self) -> str:
        """The actions a client asks a bearer token for, to do it: writers read too."""
        return _SCOPE_WORDS.get(self, self.wire_name)


_ROLES = {
    Action.PULL: Role.READ,
    Action.PUSH: Role.WRITE,
    Action.DELETE: Role.WRITE,
    Action.ADMINISTER: Role.ADMIN,
}
_SCOPES = {
    Action.PULL: Scope.READ,
    Action.PUSH: Scope.WRITE,
    Action.DELETE: Scope.DELETE,
    Action.ADMINISTER: Scope.ADMIN,
}
_WIRE_NAMES = {
    Action.PULL: "pull",
    Action.PUSH: "push",
    Action.DELETE: "delete",
    Action.ADMINISTER: "*",
}
_SCOPE_WORDS = {Action.PUSH: "pull,push", Action.DELETE: "pull,delete"}


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
