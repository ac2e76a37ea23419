"""`packhouse audit`: who did what, and who was refused."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.app import Services
from registry.tables import print_document, print_rows
from storage.clock import SECOND, rfc3339
from storage.database import Row
from storage.errors import Invalid


def add_audit(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    audit = groups.add_parser("audit", parents=[common], help="who did what, who was refused")
    audit.add_argument("--owner", metavar="NAME", help="what concerns this user or organization")
    audit.add_argument("--since", metavar="TIME", help="2026-11-21, or 2026-11-21T09:40:00Z")
    audit.add_argument("--json", action="store_true", help="print one JSON document a line")
    audit.set_defaults(command=audit_list)


async def audit_list(services: Services, options: argparse.Namespace) -> None:
    """List the audit, oldest first, a page at a time: it may be long."""
    since = 0 if options.since is None else parse_time(options.since)
    owner_id = None
    if options.owner is not None:
        owner_id = (await services.accounts.get(options.owner, "user", "organization")).id
    after = 0
    while page := await services.audit.list(owner_id, after, since):
        after = page[-1]["id"]
        lines = [_line(row) for row in page]
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


def _line(row: Row) -> Mapping[str, Any]:
    return {
        "id": row["id"],
        "at": rfc3339(row["at"]),
        "account": row["account"] or "",
        "token": row["token_id"],
        "address": row["address"],
        "did": row["kind"],
        "owner": row["owner"] or "",
        "to": row["subject"],
        "result": row["result"],
        "detail": row["detail"],
        "times": row["times"],
        "request": row["request_id"],
    }
