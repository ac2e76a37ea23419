"""Tags that a package's repository has for us: shown to those who may write to it, to nobody else.

In the repository of a package of a format they begin with `_`; in one of containers they are tags
like any other.
"""

from auth.permissions import Access
from auth.principals import Role
from storage.names import Tag

STATE_TAG = Tag("_state")
STATE_TYPE = "application/vnd.packhouse.state.v1+json"
"""The artifact type of what STATE_TAG names."""

SHOWN_TAG = "not (t.name >= '_' and t.name < '`')"
"""Whether the tag t is none of ours; '`' comes after '_'."""

NO_STATE = f"m.artifact_type <> '{STATE_TYPE}'"
"""Whether the manifest m is not what STATE_TAG names."""


def shows_all_tags(access: Access) -> bool:
    """Whether somebody sees all tags of a repository."""
    return access.role >= Role.WRITE or not access.repository.is_format_path


def is_shown(access: Access, tag: str, artifact_type: str) -> bool:
    """Whether somebody sees a manifest of a type, asked for by this tag or digest."""
    return shows_all_tags(access) or not (tag.startswith("_") or artifact_type == STATE_TYPE)
