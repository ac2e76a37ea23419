"""What an operation asks permission for: said once, checked before its handler runs."""

from dataclasses import dataclass
from enum import Enum

from auth.principals import Action, Scope


class On(Enum):
    """The thing that is judged, which the path names: `{user}`, `{owner}`, `{project}`, …"""

    NOTHING = "nothing"
    ANYBODY = "whoever asks"
    SIGNED_IN = "somebody signed in"
    SITE = "the site"
    USER = "a user"
    OWNER = "an owner"
    TEAM = "a team"
    PROJECT = "a project"
    PACKAGE = "a package"


FOR_ALL = (On.NOTHING, On.ANYBODY, On.PROJECT, On.PACKAGE)
"""What the anonymous may ask for; the answer may still be 401."""


@dataclass(frozen=True, slots=True)
class Need:
    """One check; `why` says what keeps an operation harmless that checks nothing."""

    on: On
    action: Action = Action.PULL
    why: str = ""
    gone: bool = False
    """Whether a package may be a deleted one, or one that is not there yet."""
    bounded: bool = False
    """Whether a token with limits may act on a user: what is made then has them too."""
    own: bool = False
    """Whether the path names no owner, for it is the caller."""

    def __post_init__(self) -> None:
        if (self.on is On.NOTHING) == (self.why == ""):
            raise ValueError("an operation that is open to all says why, and no other does")

    @property
    def scope(self) -> Scope:
        """The scope a token needs, whatever the roles of its account."""
        return self.action.scope


def open_because(why: str) -> Need:
    """Return the need of an operation that everybody may call."""
    return Need(On.NOTHING, why=why)


ANYBODY = Need(On.ANYBODY)
"""Anybody, the anonymous too: what is shown is chosen by what the caller may see."""

SIGNED_IN = Need(On.SIGNED_IN)
"""A live account; the handler shows it what is its own."""

SITE = Need(On.SITE, Action.ADMINISTER)
"""A site administrator."""

READ_USER = Need(On.USER)
"""The user in the path, or a site administrator."""

CHANGE_USER = Need(On.USER, Action.ADMINISTER)
"""The user, by a token without limits, or a site administrator."""

MAKE_TOKEN = Need(On.USER, Action.ADMINISTER, bounded=True)
"""The user, or a site administrator; whatever the token they come with is limited to."""

END_TOKEN = Need(On.SIGNED_IN, Action.ADMINISTER)
"""Somebody signed in; whose token it is that is to end, the statement that finds it judges."""

READ_OWNER = Need(On.OWNER)
"""A member of the organization, the user himself, or whoever has a role on the owner."""

CHANGE_OWNER = Need(On.OWNER, Action.ADMINISTER)

READ_TEAM = Need(On.TEAM)
"""A member of the team, or an administrator of its organization."""

CHANGE_TEAM = Need(On.TEAM, Action.ADMINISTER)
"""A maintainer of the team, or an administrator of its organization."""

READ_PROJECT = Need(On.PROJECT)
CHANGE_PROJECT = Need(On.PROJECT, Action.ADMINISTER)
READ_PACKAGE = Need(On.PACKAGE)
PUSH_PACKAGE = Need(On.PACKAGE, Action.PUSH)
PUBLISH_PACKAGE = Need(On.PACKAGE, Action.PUSH, gone=True)
DELETE_PACKAGE = Need(On.PACKAGE, Action.DELETE)
RESTORE_PACKAGE = Need(On.PACKAGE, Action.DELETE, gone=True)
CHANGE_PACKAGE = Need(On.PACKAGE, Action.ADMINISTER)
PURGE_PACKAGE = Need(On.PACKAGE, Action.ADMINISTER, gone=True)
"""Whoever may delete may bring back; to end that takes an administrator."""
