"""`packhouse token`: made, listed, revoked."""

import argparse
import re
import sys
from typing import Any

from registry.api.caller import CALLER, SCOPES, Caller, ScopeWord
from registry.api.tokens import (
    OF_PROJECT,
    OF_USER,
    TOKEN,
    Limits,
    MadeToken,
    NewProjectToken,
    NewToken,
    Token,
)
from registry.api_client import Api, split_name
from registry.startup import FIRST_USER
from registry.tables import JSON_HELP, print_document, print_rows
from storage.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 36_525 * 86400
_FORM = "OWNER/NAME"


def add_tokens(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    token = groups.add_parser("token", help="tokens").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = token.add_parser("create", parents=[asking], help="make a token and print it")
    whose = create.add_mutually_exclusive_group()
    whose.add_argument("--user", help="whose token (default: admin; on a server: yourself)")
    whose.add_argument("--project", metavar=_FORM, help="for this project's jobs: 5m to 24h")
    whose.add_argument("--robot", metavar=_FORM, help="for this project's robot")
    create.add_argument("--name", default="", help="a note to tell it by")
    create.add_argument(
        "--scope",
        default="read,write",
        help="read, write, delete, admin, split by commas (default: read,write)",
    )
    create.add_argument("--expires", metavar="30d", help="lifetime in s, m, h or d; or never")
    _add_limits(create)
    create.add_argument("--json", action="store_true", help="print its id, text and end as JSON")
    create.set_defaults(ask=token_create)
    listing = token.add_parser("list", parents=[asking], help="list an account's tokens")
    of = listing.add_mutually_exclusive_group()
    of.add_argument("--user", help="whose tokens (default: admin; on a server: your own)")
    of.add_argument("--project", metavar=_FORM, help="those of this project's robot and jobs")
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    listing.set_defaults(ask=token_list)
    revoke = token.add_parser("revoke", parents=[asking], help="end a token at once")
    revoke.add_argument("id", type=int)
    revoke.set_defaults(ask=token_revoke)


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


async def token_create(api: Api, options: argparse.Namespace) -> None:
    """Make a token; its text alone goes to standard output, this once."""
    if options.project is None and options.robot is None:
        whose, made = await _create_for_user(api, options)
    else:
        whose, made = await _create_for_project(api, options)
    print(f"token {made.id} of {whose}: shown this once", file=sys.stderr)
    if options.json:
        print_document({"id": made.id, "token": made.token, "expires": made.expires_at or ""})
    else:
        print(made.token)


async def _create_for_user(api: Api, options: argparse.Namespace) -> tuple[str, MadeToken]:
    new = NewToken(
        options.name,
        parse_scope(options.scope),
        parse_lifetime(options.expires),
        limits=Limits(
            owners=[name for name in options.limit if "/" not in name],
            projects=[name for name in options.limit if "/" in name],
            packages=options.limit_package,
        ),
    )
    user = await _user(api, options)
    return user, await api.ask(MadeToken, "POST", OF_USER, user, body=new)


async def _create_for_project(api: Api, options: argparse.Namespace) -> tuple[str, MadeToken]:
    if options.limit or options.limit_package:
        raise Invalid("a token of a project is limited to that: leave out --limit")
    robot = options.project is None
    if not robot and options.expires == "never":
        raise Invalid("a job's token ends: it lives for 5m at least and 24h at most")
    whose = options.robot if robot else options.project
    new = NewProjectToken(
        "robot" if robot else "job",
        options.name,
        parse_scope(options.scope),
        parse_lifetime(options.expires),
    )
    return whose, await api.ask(MadeToken, "POST", OF_PROJECT, *split_name(whose, _FORM), body=new)


async def _user(api: Api, options: argparse.Namespace) -> str:
    """Return whose tokens are meant: the operator means those of the first user."""
    if options.user is not None:
        return str(options.user)
    caller = await api.get(Caller, CALLER)
    return FIRST_USER if caller.kind == "operator" else caller.name


async def token_list(api: Api, options: argparse.Namespace) -> None:
    """List an account's tokens, without their texts."""
    if options.project is not None:
        names = split_name(options.project, _FORM)
        tokens = await api.all(Token, OF_PROJECT, *names, ended=True)
    else:
        tokens = await api.all(Token, OF_USER, await _user(api, options), ended=True)
    print_rows([_shown(token) for token in tokens], as_json=options.json)


def _shown(token: Token) -> dict[str, Any]:
    layers = [[*one.owners, *one.projects, *one.packages] or ["(gone)"] for one in token.limits]
    return {
        "id": token.id,
        "kind": token.kind,
        "name": token.name,
        "scopes": ",".join(token.scopes),
        "limits": " and ".join(",".join(names) for names in layers),
        "created": token.created_at,
        "expires": token.expires_at or "",
        "revoked": token.revoked_at or "",
        "used": token.last_used_at or "",
    }


async def token_revoke(api: Api, options: argparse.Namespace) -> None:
    """End a token, and those it made, at once."""
    await api.tell("DELETE", TOKEN, str(options.id))
    print(f"token {options.id} revoked", file=sys.stderr)


def parse_lifetime(text: str | None) -> int | None:
    """Read a duration in seconds, None for `never`. Raises Invalid."""
    return None if text is None or text == "never" else parse_duration(text)


def parse_duration(text: str) -> int:
    """Read `30d`, `12h`, `15m` or `90s` as seconds. Raises Invalid."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise Invalid(f"{text!r} is not a duration: write 30d, 12h, 15m or 90s")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise Invalid(f"{text!r} is longer than a hundred years: write 'never'")
    return seconds


def parse_scope(text: str) -> tuple[ScopeWord, ...]:
    """Read `read,write` as scopes. Raises Invalid."""
    said = {word.strip() for word in text.split(",")}
    for word in said - set(SCOPES):
        raise Invalid(f"{word!r} is not a scope: use read, write, delete, admin")
    return tuple(scope for scope in SCOPES if scope in said)
