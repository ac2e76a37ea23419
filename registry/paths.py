"""One look at every path before it is routed: what two readers could read differently ends here.

Proxies and routers disagree about `//`, `;`, dot segments and encoded separators, and every such
disagreement has been somebody's way around a permission check.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from storage.errors import Invalid, NotAllowed

_PLAIN = re.compile(rb"(?:/(?!\.)[A-Za-z0-9._:@+~=-]++)++/?+")
"""What nearly every path is: nothing encoded, no empty segment, none that begins with a dot."""


def check_path(raw: bytes) -> None:
    """Refuse a raw path that is not in its one plain spelling. Raises Invalid."""
    if _PLAIN.fullmatch(raw):
        return
    if not raw.startswith(b"/") or b"//" in raw:
        raise Invalid("the path holds '//': write each '/' once")
    lowered = raw.lower()
    for token in (b";", b"\\", b"%5c", b"%3b", b"%00", b"%25"):
        if token in lowered:
            raise Invalid(f"the path holds {token.decode()!r}, which no name here contains")
    for segment in lowered.replace(b"%2e", b".").replace(b"%2f", b"/").split(b"/"):
        if segment in (b".", b".."):
            raise Invalid("the path holds a dot segment: write it in full")


def decode(segment: bytes) -> str:
    """Return a segment of a raw path, decoded once. Raises Invalid."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise Invalid("the path is not UTF-8") from error


def answers_only(methods: Iterable[str]) -> NotAllowed:
    """Return the answer to another method than those of a path; what answers GET answers HEAD."""
    allowed = set(methods)
    words = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
    return NotAllowed(f"this path answers {words}", headers={"Allow": words})
