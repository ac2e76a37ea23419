"""One look at every path before it is routed: what two readers could read differently ends here.

Proxies and routers disagree about `//`, `;`, dot segments and encoded separators, and every such
disagreement has been somebody's way around a permission check.
"""

from storage.errors import Invalid


def check_path(raw: bytes) -> None:
    """Refuse a raw path that is not in its one plain spelling. Raises Invalid."""
    if not raw.startswith(b"/") or b"//" in raw:
        raise Invalid("the path holds '//': write each '/' once")
    lowered = raw.lower()
    for token in (b";", b"\\", b"%5c", b"%3b", b"%00", b"%25"):
        if token in lowered:
            raise Invalid(f"the path holds {token.decode()!r}, which no name here contains")
    for segment in lowered.replace(b"%2e", b".").replace(b"%2f", b"/").split(b"/"):
        if segment in (b".", b".."):
            raise Invalid("the path holds a dot segment: write it in full")
