"""`packhouse audit`: who did what, and who was refused."""

import argparse
from datetime import UTC, datetime
from typing import Any

import msgspec

from registry.api.audit import AUDIT, OWNER_AUDIT, AuditLine
from registry.api_client import Api
from registry.tables import print_document, print_rows
from storage.clock import SECOND, rfc3339
from storage.errors import Invalid


def add_audit(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the command."""
    audit = groups.add_parser("audit", parents=[asking], help="who did what, who was refused")
    audit.add_argument("--owner", metavar="NAME", help="what concerns this user or organization")
    audit.add_argument("--since", metavar="TIME", help="2026-11-21, or 2026-11-21T09:40:00Z")
    audit.add_argument("--json", action="store_true", help="print one JSON document a line")
    audit.set_defaults(ask=audit_list)


async def audit_list(api: Api, options: argparse.Namespace) -> None:
    """List the audit, oldest first, a page at a time: it may be long."""
    since = None if options.since is None else rfc3339(parse_time(options.since))
    template, names = (AUDIT, []) if options.owner is None else (OWNER_AUDIT, [options.owner])
    async for page in api.pages(AuditLine, template, *names, since=since):
        lines = [msgspec.structs.asdict(line) for line in page]
        if options.json:
            for line in lines:
                print_document(line)
        else:
            print_rows(lines, as_json=False)


def parse_time(text: str) -> int:
    """Read a day or a time of RFC 3339, in UTC unless it says otherwise. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text)
        return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()) * SECOND
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"{text!r} is not a time: write 2026-11-21, or 2026-11-21T09:40:00Z"
        ) from error
