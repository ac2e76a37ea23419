"""`npm audit`: what clients ask, and what they are told where no advisories are known.

Reading list: npm's @npmcli/arborist, lib/audit-report.js (the bulk endpoint, gzip); npm 8's
npm-registry-fetch callers, pnpm and yarn 1 (`audits/quick` and `audits`, one document of a tree).

This registry knows no advisories. Clients ask at every installation, so an error would stop or
slow those; who asks by `npm audit` is told in so many words what "0 vulnerabilities" means here.
"""

import asyncio
import zlib
from typing import Any

import msgspec
from starlette.responses import Response

from formats.npm.json_bodies import answer, parse_json
from registry.body import too_large
from registry.packaging.surface import Call, Route
from registry.rest.needs import open_because
from storage.errors import Invalid

SENT_BYTES = 4 * 1024 * 1024
UNPACKED_BYTES = 32 * 1024 * 1024
"""Packages by the ten thousand, with all that is known of each; none of it becomes objects."""
NOTICE = (
    "this registry holds no advisories: finding none says nothing about these packages. "
    "Ask one that does with --registry"
)
_SECURITY = "/-/npm/v1/security"
_OPEN = open_because("it knows no advisories, and answers everybody alike")


class Asked(msgspec.Struct, frozen=True):
    """An object of which nothing is kept."""


class Audits:
    """Answers audits."""

    def routes(self) -> list[Route]:
        """Return the routes of audits."""
        return [
            Route("POST", f"{_SECURITY}/advisories/bulk", self.bulk, _OPEN),
            Route("POST", f"{_SECURITY}/audits/quick", self.quick, _OPEN),
            Route("POST", f"{_SECURITY}/audits", self.quick, _OPEN),
        ]

    async def bulk(self, call: Call) -> Response:
        """POST /-/npm/v1/security/advisories/bulk: {} is "nothing known against these"."""
        await _read(call)
        return answer({}, notice=_notice(call))

    async def quick(self, call: Call) -> Response:
        """POST /-/npm/v1/security/audits/quick, as npm up to 8, pnpm and yarn 1 ask."""
        versions = (await _read(call)).count(b'"version"')
        return answer(render_clean(max(0, versions - 1)), notice=_notice(call))


def render_clean(packages: int) -> dict[str, Any]:
    """Return the report of a quick audit that found nothing."""
    levels = ("info", "low", "moderate", "high", "critical")
    return {
        "actions": [],
        "advisories": {},
        "muted": [],
        "metadata": {
            "vulnerabilities": dict.fromkeys(levels, 0),
            "dependencies": packages,
            "devDependencies": 0,
            "optionalDependencies": 0,
            "totalDependencies": packages,
        },
    }


def unpack(data: bytes, most: int = UNPACKED_BYTES) -> bytes:
    """Return what gzip packed, up to `most` bytes. Raises Invalid, TooLarge."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = unpacking.decompress(data, most + 1)
    except zlib.error as error:
        raise Invalid("the body is not what its Content-Encoding says: gzip") from error
    if len(plain) > most:
        raise too_large(most)
    if not unpacking.eof or unpacking.unused_data:
        raise Invalid("the body is cut short, or is more than one gzip stream")
    return plain


async def _read(call: Call) -> bytes:
    """Return the body, unpacked. Raises Invalid, TooLarge, TransferCut."""
    data = await call.read(SENT_BYTES)
    encoding = call.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        data = await asyncio.to_thread(unpack, data)
    elif encoding != "identity":
        raise Invalid(f"send the body plain or as gzip, not as {encoding[:20]!r}")
    await asyncio.to_thread(parse_json, data, Asked)
    return data


def _notice(call: Call) -> str:
    """Return what npm shows its user, who asked for an audit and nothing else."""
    return NOTICE if call.headers.get("npm-command") == "audit" else ""
