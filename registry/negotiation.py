"""Content negotiation: whether a client takes a media type or gzip, and whether it has the bytes.

Reading list: RFC 9110 sections 12.5.1 (Accept), 12.5.3 (Accept-Encoding), 13.1.2 (If-None-Match),
8.8.3.2 (weak comparison).

Clients send worse than the RFC allows, so nothing here raises: what cannot be read says nothing.
"""

import re
from functools import lru_cache

_ELEMENT = re.compile(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+"?+)++', re.DOTALL)
_PARAMETER = re.compile(r'(?:[^";]++|"(?:[^"\\]++|\\.)*+"?+)++', re.DOTALL)
_ZERO = re.compile(r"0++(?:\.0*+)?+|\.0++")
_ENTITY_TAG = re.compile(r'(?:W/)?+"([^"]*+)"|([^\s,"]++)')

_FOREIGN_PARAMETERS = 2
_EXACT = 3


_REMEMBERED = 1000
_SHORT = 2000


def accepts(header: str | None, media_type: str) -> bool:
    """Tell whether an Accept header takes `media_type`; the most specific range decides.

    A header that is absent, or holds no media range, accepts everything. A range whose parameters
    `media_type` lacks (`;charset=utf-8`) still asks for the type, but refuses nothing.
    """
    # A client sends the same header with every request; a long one is not worth the memory.
    decide = _accepts if len(header or "") < _SHORT else _accepts.__wrapped__
    return decide(header or "", media_type)


@lru_cache(_REMEMBERED)
def _accepts(header: str, media_type: str) -> bool:
    wanted, parameters = _parsed(media_type)
    ranges = [_parsed(element) for element in _ELEMENT.findall(header)]
    ranges = [(name, given) for name, given in ranges if _is_range(name)]
    verdicts = []
    for name, given in ranges:
        taken = not _ZERO.fullmatch(given.pop("q", "1"))  # a weight that is no number counts as 1
        specificity = _specificity(name, given, wanted, parameters)
        if specificity is not None and (taken or specificity != _FOREIGN_PARAMETERS):
            verdicts.append((specificity, taken))
    return max(verdicts)[1] if verdicts else not ranges


def takes_gzip(header: str | None) -> bool:
    """Tell whether an Accept-Encoding header asks for gzip, by its name or by `*`."""
    if header is None:
        return False
    decide = _takes_gzip if len(header) < _SHORT else _takes_gzip.__wrapped__
    return decide(header)


@lru_cache(_REMEMBERED)
def _takes_gzip(header: str) -> bool:
    codings = dict(_parsed(element) for element in _ELEMENT.findall(header))
    for name in ("gzip", "x-gzip", "*/*"):  # as a lone * is read
        if name in codings:
            return not _ZERO.fullmatch(codings[name].get("q", "1"))
    return False


def etag_matches(header: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match header names `etag` (as sent, in quotes), compared weakly.

    Tags without quotes, which some clients send, count too.
    """
    if header is None:
        return False
    if header.strip() == "*":
        return True
    opaque = etag.removeprefix("W/").strip('"')
    return any(opaque == (match[1] or match[2] or "") for match in _ENTITY_TAG.finditer(header))


def _parsed(element: str) -> tuple[str, dict[str, str]]:
    """Split `type/subtype;name=value` into its lower-case name and its parameters."""
    name, *rest = _PARAMETER.findall(element) or [""]
    pairs = (parameter.partition("=") for parameter in rest)
    parameters = {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
    parameters.pop("", None)
    name = name.strip().lower()
    return "*/*" if name == "*" else name, parameters  # Java's HttpURLConnection sends a lone *


def _is_range(name: str) -> bool:
    kind, slash, subtype = name.partition("/")
    return bool(slash and kind and subtype) and (kind != "*" or subtype == "*")


def _specificity(
    name: str, given: dict[str, str], wanted: str, parameters: dict[str, str]
) -> int | None:
    """Rank how closely a range names the type; None where it does not."""
    if name == "*/*":
        return 0
    if name == f"{wanted.partition('/')[0]}/*":
        return 1
    if name != wanted:
        return None
    return _EXACT + len(given) if given.items() <= parameters.items() else _FOREIGN_PARAMETERS
