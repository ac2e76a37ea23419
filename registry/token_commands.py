"""`packhouse token`: made, listed, revoked."""

import argparse
import re
import sys
from collections.abc import Mapping
from typing import Any

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Scope
from registry.app import Services
from registry.tables import print_document, print_rows
from storage.clock import SECOND, rfc3339
from storage.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 36_525 * 86400


def add_tokens(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    token = groups.add_parser("token", help="tokens").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = token.add_parser("create", parents=[common], help="make a token and print it")
    whose = create.add_mutually_exclusive_group()
    whose.add_argument("--user", default="admin", help="whose token (default: admin)")
    whose.add_argument("--project", metavar="OWNER/NAME", help="for this project's jobs: 5m to 24h")
    whose.add_argument("--robot", metavar="OWNER/NAME", help="for this project's robot")
    create.add_argument("--name", default="", help="a note to tell it by")
    create.add_argument(
        "--scope",
        default="read,write",
        help="read, write, delete, admin, split by commas (default: read,write)",
    )
    create.add_argument("--expires", metavar="30d", help="lifetime in s, m, h or d; or never")
    _add_limits(create)
    create.add_argument("--json", action="store_true", help="print its id, text and end as JSON")
    create.set_defaults(command=token_create)
    listing = token.add_parser("list", parents=[common], help="list an account's tokens")
    listing.add_argument("--user", default="admin")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=token_list)
    revoke = token.add_parser("revoke", parents=[common], help="end a token at once")
    revoke.add_argument("id", type=int)
    revoke.set_defaults(command=token_revoke)


def _add_limits(create: argparse.ArgumentParser) -> None:
    create.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="OWNER[/PROJECT]",
        help="good for this alone; several add up",
    )
    create.add_argument(
        "--limit-package",
        action="append",
        default=[],
        metavar="OWNER/NAME",
        help="good for this package alone; several add up",
    )


async def token_create(services: Services, options: argparse.Namespace) -> None:
    """Make a token; its text alone goes to standard output, this once."""
    scope, expires = parse_scope(options.scope), options.expires
    limits = await _limits(services, options)
    if options.project is not None:
        whose, kind, expires = options.project, "job", expires or "1h"
        account_id, project_id = await services.projects.robot(OPERATOR, whose)
    elif options.robot is not None:
        whose, kind = options.robot, "robot"
        account_id, project_id = await services.projects.robot(OPERATOR, whose)
    else:
        whose, kind, project_id = options.user, "user", None
        account_id = (await services.accounts.get(whose, "user")).id
    expires_at = None
    if expires is not None and expires != "never":
        expires_at = services.clock() + parse_duration(expires) * SECOND
    made = await services.tokens.create(
        OPERATOR, account_id, kind, options.name, scope, expires_at, project_id, limits
    )
    print(f"token {made.id} of {whose}: shown this once", file=sys.stderr)
    if options.json:
        print_document({"id": made.id, "token": made.text, "expires": _time(expires_at)})
    else:
        print(made.text)


async def _limits(services: Services, options: argparse.Namespace) -> list[tuple[int, int]]:
    limits = []
    for name in options.limit:
        if "/" in name:
            limits.append((PROJECT, await services.projects.get(name)))
        else:
            limits.append((OWNER, (await services.accounts.get(name, "user", "organization")).id))
    for name in options.limit_package:
        limits.append((PACKAGE, (await services.packages.get(name))["id"]))
    return limits


async def token_list(services: Services, options: argparse.Namespace) -> None:
    """List an account's tokens, without their texts."""
    await services.accounts.get(options.user)
    rows: list[Mapping[str, Any]] = []
    after = 0
    while page := await services.tokens.list(options.user, after):
        after = page[-1]["id"]
        rows += [await _shown(services, row) for row in page]
    print_rows(rows, as_json=options.json)


async def _shown(services: Services, row: Any) -> dict[str, Any]:
    limits = await services.tokens.limits(row["id"]) if row["limit_layers"] else []
    layers: dict[int, list[str]] = {}
    for limit in limits:
        layers.setdefault(limit["layer"], []).append(limit["name"] or "(gone)")
    return {
        "id": row["id"],
        "kind": row["kind"],
        "name": row["name"],
        "scopes": ",".join(s.name.lower() for s in Scope(row["scopes"]) if s.name),
        "limits": " and ".join(",".join(names) for names in layers.values()),
        "created": rfc3339(row["created_at"]),
        "expires": _time(row["expires_at"]),
        "revoked": _time(row["revoked_at"]),
        "used": _time(row["last_used_at"]),
    }


async def token_revoke(services: Services, options: argparse.Namespace) -> None:
    """End a token, and those it made, at once."""
    await services.tokens.revoke(OPERATOR, options.id)
    print(f"token {options.id} revoked", file=sys.stderr)


def parse_duration(text: str) -> int:
    """Read `30d`, `12h`, `15m` or `90s` as seconds. Raises Invalid."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise Invalid(f"{text!r} is not a duration: write 30d, 12h, 15m or 90s")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise Invalid(f"{text!r} is longer than a hundred years: write 'never'")
    return seconds


def parse_scope(text: str) -> Scope:
    """Read `read,write` as a Scope. Raises Invalid."""
    found = Scope.NONE
    for word in text.split(","):
        if word.strip() not in ("read", "write", "delete", "admin"):
            raise Invalid(f"{word!r} is not a scope: use read, write, delete, admin")
        found |= Scope[word.strip().upper()]
    return found


def _time(at: int | None) -> str:
    return "" if at is None else rfc3339(at)
